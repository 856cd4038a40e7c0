"""What Caffe's networks share: the scaling of their images, and arrays as their files hold them."""

from collections.abc import Mapping

import numpy as np

from vprjax.models.backbones.sources import torch_leaf
from vprjax.models.backbones.variant import Path

# The mean of ILSVRC 2012's training images by channel, RGB, of Caffe's ilsvrc_2012_mean.npy.
ILSVRC = {"mean": (122.67891434, 116.66876762, 104.00698793), "std": (1.0, 1.0, 1.0)}
ORDER = "meta.order."  # of the layers in a file: "meta.order.pool1" holds its number


def name(path: Path) -> str:
    """Returns the name of a variable's array, which is its layer's."""
    return f"{path[1]}.{torch_leaf(path)}"


def prepare(
    arrays: Mapping[str, np.ndarray],
    pools_first: bool | None = None,
    fully: Mapping[str, tuple[int, ...]] | None = None,
) -> dict[str, np.ndarray]:
    """Returns the arrays without the order of the layers, and fully connected layers as convolutions.

    Args:
      arrays: the file's.
      pools_first: whether the network pools before it normalises (CaffeNet) or behind it (AlexNet); None
        where it does not normalise.
      fully: layer -> its input `(c, h, w)`.

    Raises:
      ValueError: the file has the layers in the other order; both networks share all names and shapes.
    """
    first, second = ("pool1", "norm1") if pools_first else ("norm1", "pool1")
    at = [arrays.get(ORDER + layer) for layer in (first, second)]
    if pools_first is not None and None not in (at[0], at[1]) and at[0] > at[1]:
        raise ValueError(f"its {second} comes before its {first}, expected {first} before {second}")
    found = {n: array for n, array in arrays.items() if not n.startswith(ORDER)}
    for layer, shape in (fully or {}).items():
        weight = found.get(f"{layer}.weight")
        if weight is not None and weight.ndim == 2 and weight.shape[1] == np.prod(shape):
            found[f"{layer}.weight"] = weight.reshape(-1, *shape)
    return found
