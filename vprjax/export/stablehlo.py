"""StableHLO for CPU, CUDA and TPU in one file, which jax alone loads."""

import importlib.util
import json
import pathlib
import zipfile
from collections.abc import Callable

import jax
import numpy as np
from jax import export

from vprjax.errors import ConfigError
from vprjax.export.program import Size, facts, program
from vprjax.localize.exported import FACTS, LEAST, PROGRAM
from vprjax.localize.model import Model

PLATFORMS = ("cpu", "cuda", "tpu")


def check_installed() -> None:
    """Raises ConfigError where a package is missing."""
    if importlib.util.find_spec("flatbuffers") is None:
        raise ConfigError("--format=stablehlo needs flatbuffers: pip install flatbuffers")


def write(model: Model, size: Size, path: pathlib.Path) -> None:
    """Writes the archive.

    Raises:
      InconclusiveDimensionOperation: free sizes do not work for the network.
      OSError: the file cannot be written.
    """
    sides, least = (
        ("{}, {}".format(*size), []) if size else ("h, w", [f"h >= {LEAST}", f"w >= {LEAST}"])
    )
    shape = export.symbolic_shape(f"b, {sides}, 3", constraints=least)
    images = jax.ShapeDtypeStruct(shape, np.uint8)
    code = convert(program(model), images)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(FACTS, json.dumps(facts(model, size), indent=1) + "\n")
        archive.writestr(PROGRAM, code)


def convert(function: Callable, *inputs: jax.ShapeDtypeStruct) -> bytearray:
    """The serialized program of a function of arrays, for all of `PLATFORMS`."""
    return export.export(jax.jit(function), platforms=PLATFORMS)(*inputs).serialize()
