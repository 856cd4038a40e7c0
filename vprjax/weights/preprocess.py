"""What images are scaled by, which goes with the weights: RGB order, 0..255 scale."""

from collections.abc import Mapping

import numpy as np

from vprjax.models.descriptor import MEAN, STD

TORCH = {"mean": MEAN, "std": STD}
# Of Keras' `preprocess_input(mode="caffe")`.
CAFFE = {"mean": (123.68, 116.779, 103.939), "std": (1.0, 1.0, 1.0)}
# Of torchvision's `VGG16_Weights.IMAGENET1K_FEATURES`: (0.48235, 0.45882, 0.40784) and 1 / 255.
FEATURES = {"mean": (123.0, 117.0, 104.0), "std": (1.0, 1.0, 1.0)}
SYMMETRIC = {"mean": (127.5, 127.5, 127.5), "std": (127.5, 127.5, 127.5)}
OF = {
    "torch": {"vgg16": TORCH, "resnet50": TORCH},
    "keras": {"vgg16": CAFFE, "resnet50_v1": CAFFE, "mobilenetv2": SYMMETRIC},
}


def of(source: str, backbone: str, arrays: Mapping[str, np.ndarray]) -> dict[str, tuple]:
    """`{"mean": (3,), "std": (3,)}` of a file's weights.

    torchvision has two VGG16 of the same names and shapes; the one of features only has no numbers in its
    classifier.
    """
    if (source, backbone) == ("torch", "vgg16"):
        heads = [array for name, array in arrays.items() if name.startswith("classifier.")]
        if not all(np.isfinite(head).all() for head in heads):
            return FEATURES
    return OF[source][backbone]
