"""ONNX, which onnxruntime computes without JAX."""

import importlib.util
import json
import pathlib
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import export

from vprjax.errors import ConfigError
from vprjax.export import onnx_graph
from vprjax.export.program import Size, facts, program
from vprjax.localize.exported import INPUT, OUTPUT
from vprjax.localize.model import Model

PACKAGES = ("jax2onnx", "onnx", "onnxruntime")
LARGEST = 2**31 - 1  # bytes of a protocol buffer


def check_installed() -> None:
    """Raises ConfigError where a package is missing."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(f"--format=onnx needs {', '.join(missing)}: pip install 'vprjax[onnx]'")


def write(model: Model, size: Size, path: pathlib.Path) -> None:
    """Writes the graph.

    Raises:
      ConfigError: the graph is larger than a file of ONNX may be.
      OSError: the file cannot be written.
    """
    # Sides of 32 h and 32 w make every layer's padding known, which the converter asks for.
    sides = "{}, {}".format(*size) if size else "32*h, 32*w"
    images = jax.ShapeDtypeStruct(export.symbolic_shape(f"b, {sides}, 3"), np.uint8)
    graph = convert(program(model, max_pool), {INPUT: images}, [OUTPUT])
    if not size:
        onnx_graph.free_sides(graph)
    for key, value in facts(model, size).items():
        graph.metadata_props.add(key=key, value=json.dumps(value))
    if graph.ByteSize() > LARGEST:
        raise ConfigError(
            f"the model takes {graph.ByteSize():,} bytes, more than an ONNX file may have: lower eval.pca "
            "or use --format=stablehlo"
        )
    path.write_bytes(graph.SerializeToString())


def convert(function: Callable, inputs: Mapping[str, jax.ShapeDtypeStruct], outputs: list[str]):
    """The graph of a function of arrays; `inputs` names its arguments, `outputs` its results."""
    from jax2onnx import to_onnx

    with jax.numpy_rank_promotion("allow"):  # which the converter's own code asks for
        names = {"input_names": [*inputs], "output_names": outputs}
        graph = to_onnx(function, [*inputs.values()], **names)
    onnx_graph.halve_long_sums(graph)
    onnx_graph.join_clips(graph)
    onnx_graph.turn_images_first(graph)
    return graph


def max_pool(x: jax.Array, window, strides, padding=((0, 0), (0, 0))) -> jax.Array:
    """Max pooling in the one form that the converter knows: padded first, then flax's by keywords."""
    if any(map(any, padding)):
        edges = ((0, 0), *padding, (0, 0))
        x = jnp.pad(x, edges, constant_values=-jnp.inf)
    return nn.max_pool(x, window_shape=window, strides=strides, padding="VALID")
