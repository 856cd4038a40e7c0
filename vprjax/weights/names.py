"""Names, shapes and layouts of a backbone's arrays in the files of each family."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import traverse_util

from vprjax.models import backbone
from vprjax.models.backbones import BACKBONES
from vprjax.models.backbones.variant import Path


@dataclasses.dataclass(frozen=True)
class _Layout:
    """A file's order of the axes of our kernels `(h, w, c, d)`, depthwise and linear ones.

    Depthwise kernels are `(h, w, 1, c)`, those of linear layers `(c, d)`.
    """

    kernel: tuple[int, ...]
    depthwise: tuple[int, ...]
    linear: tuple[int, ...]

    def order(self, path: Path, axes: int) -> tuple[int, ...]:
        if axes == 2:
            return self.linear
        return self.depthwise if path[-2] == "depthwise" else self.kernel


_LAYOUTS = {
    "torch": _Layout(kernel=(3, 2, 0, 1), depthwise=(3, 2, 0, 1), linear=(1, 0)),
    "keras": _Layout(kernel=(0, 1, 2, 3), depthwise=(0, 1, 3, 2), linear=(0, 1)),
    "tensorflow": _Layout(kernel=(0, 1, 2, 3), depthwise=(0, 1, 3, 2), linear=(0, 1)),
    "caffe": _Layout(kernel=(3, 2, 0, 1), depthwise=(3, 2, 0, 1), linear=(1, 0)),
    "overfeat": _Layout(kernel=(3, 2, 0, 1), depthwise=(3, 2, 0, 1), linear=(1, 0)),
}


def names_and_shapes(name: str, source: str) -> dict[Path, tuple[str, tuple[int, ...]]]:
    """Returns path -> (name, shape) in a file of `source`, for every array of the whole backbone `name`.

    Raises:
      KeyError: the backbone has no such source, or `source` no layout.
    """
    naming = BACKBONES[name].sources[source].name
    ours = shapes(backbone(name))
    return {path: (naming(path), _shape(path, shape, source)) for path, shape in ours.items()}


@functools.cache  # a deep network's trace takes a second, and a file is held against every backbone
def shapes(module: nn.Module) -> dict[Path, tuple[int, ...]]:
    """The shape of every array of a backbone, by its path."""
    image = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
    variables = traverse_util.flatten_dict(jax.eval_shape(module.init, jax.random.key(0), image))
    return {path: a.shape for path, a in variables.items()}


def convert(path: Path, array: np.ndarray, source: str) -> np.ndarray:
    """Returns a file's array in our layout, float32: kernels as in `_Layout`.

    Raises:
      KeyError: `source` has no layout.
    """
    array, layout = np.asarray(array, np.float32), _LAYOUTS[source]
    if path[-1] != "kernel":
        return array
    return array.transpose(np.argsort(layout.order(path, array.ndim)))


def _shape(path: Path, shape: tuple[int, ...], source: str) -> tuple[int, ...]:
    layout = _LAYOUTS[source]
    if path[-1] != "kernel":
        return shape
    return tuple(shape[i] for i in layout.order(path, len(shape)))


def unsound(path: Path, array: np.ndarray) -> str:
    """Says what of a variable's array in a file is no sound number, after "it holds"; "" for nothing."""
    if jnp.issubdtype(array.dtype, jnp.integer):
        return "whole numbers, as quantised models do, in place of floats"
    if not jnp.issubdtype(array.dtype, jnp.floating):
        return "values that are not numbers"
    with np.errstate(invalid="ignore"):  # a cast of some NaNs warns
        values = array.astype(np.float64)
    if not (np.abs(values) <= np.finfo(np.float32).max).all():
        return "numbers that are not finite"
    return "variances below 0" if path[-1] == "var" and (values < 0).any() else ""


def torch_array(path: Path, array: np.ndarray) -> np.ndarray:
    """Returns an array of a PyTorch state dict in our layout, float32."""
    return convert(path, array, "torch")


def torch_shape(path: Path, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Returns the shape of a variable's array in a PyTorch state dict."""
    return _shape(path, shape, "torch")
