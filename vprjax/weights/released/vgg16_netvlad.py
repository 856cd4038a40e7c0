"""What the files of VGG16 with NetVLAD share: arrays of the torch layers and zeros for the biases."""

import dataclasses

import numpy as np

from vprjax.data.pictures import Form
from vprjax.models.backbones.sources import torch_leaf
from vprjax.models.backbones.variant import Path
from vprjax.weights.released.cosplace import VGG16
from vprjax.weights.released.variant import Arrays

FORM = Form(480, 640)  # Pitts30k's, which its authors do not resize
STRETCHED = Form(480, 640, kernel="bilinear")
PARAMETERS = 14.8  # millions, without a projection
NO_BIAS = np.zeros(0, np.float32)


@dataclasses.dataclass(frozen=True)
class Names:
    """Names of a project's arrays.

    Attributes:
      encoder: in front of a convolution's number in torchvision's `features`.
      pool: in front of `conv.weight` and `centroids`.
      linear: in front of the projection's `weight` and `bias`.
    """

    encoder: str
    pool: str
    linear: str

    def __call__(self, path: Path) -> str:
        """Returns the name of a variable's array."""
        if path[1] == "backbone":
            return f"{self.encoder}.{VGG16[path[2]]}.{torch_leaf(path)}"
        if path[1] == "projection":
            return f"{self.linear}.{torch_leaf(path)}"
        leaves = {"weights": "conv.weight", "biases": "conv.bias", "centers": "centroids"}
        return f"{self.pool}.{leaves[path[-1]]}"

    def prepare(self, arrays: Arrays) -> Arrays:
        """Adds biases of zero where the file has none, and makes a 1x1 convolution a matrix."""
        bias, weight = f"{self.pool}.conv.bias", f"{self.linear}.weight"
        arrays = {bias: zeros(arrays[f"{self.pool}.centroids"]), **arrays}
        if arrays.get(weight, NO_BIAS).shape[2:] == (1, 1):
            arrays[weight] = arrays[weight][:, :, 0, 0]
        return arrays

    def config(self, arrays: Arrays) -> dict:
        """Returns the `model` keys of a prepared file."""
        bias = arrays.get(f"{self.linear}.bias", NO_BIAS)
        return model(rows(arrays[f"{self.pool}.centroids"]), bias.size)


def model(clusters: int = 64, projection: int = 0) -> dict:
    """Returns the `model` keys of VGG16, without its last ReLU, under NetVLAD."""
    return {
        "backbone": "vgg16",
        "stage": "conv5_linear",
        "pooling": "netvlad",
        "netvlad.clusters": clusters,
        "projection": projection,
    }


def parameters(projection: int) -> float:
    """Returns the millions of parameters with a projection of 64 clusters of 512 channels."""
    return round(PARAMETERS + (64 * 512 + 1) * projection / 1e6, 1)


def rows(centroids: np.ndarray) -> int:
    """Returns the number of clusters; 2, which no file has, for an array that is no matrix."""
    return max((2, *centroids.shape[:1]))


def zeros(centroids: np.ndarray) -> np.ndarray:
    """Returns biases for the clusters of a file that has none."""
    return np.zeros(rows(centroids), np.float32)
