"""VGG16 convolutions, conv1_1 to conv5_3 (Simonyan & Zisserman 2015)."""

import functools
from collections.abc import Mapping

import jax
import numpy as np
from flax import linen as nn
from jax import lax

from vprjax.models.backbones import caffe
from vprjax.models.backbones.layers import Conv, Layers
from vprjax.models.backbones.sources import CAFFE, IMAGENET, keras_leaf, torch_leaf
from vprjax.models.backbones.variant import Backbone, Path, Scaling, Source

CHANNELS = {"conv1": 64, "conv2": 128, "conv3": 256, "conv4": 512, "conv5": 512}
_GROUPS = {
    stage: tuple(f"{stage}_{i + 1}" for i in range(2 if stage < "conv3" else 3))
    for stage in CHANNELS
}
LINEAR = (
    "conv5_linear"  # conv5 without its last ReLU, where most released place recognition models end
)
# Stage -> its parameter groups. A stage ends behind its last ReLU, before its pool.
STAGES = {
    **{stage: _GROUPS[stage] for stage in CHANNELS if stage != "conv5"},
    LINEAR: _GROUPS["conv5"],
    "conv5": _GROUPS["conv5"],
}


class VGG16(nn.Module):
    """`(b, h, w, 3) -> (b, h / 2^i, w / 2^i, c)` (floor): the last ReLU stays, pool5 is dropped.

    The module creates no layers behind `stage`. No gradient passes the input of `train_from`.
    """

    stage: str = "conv5"
    train_from: str = ""
    layers: Layers = Layers()

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """Returns the map of `stage`; VGG16 has no BatchNorm, so `train` changes nothing."""
        for stage in CHANNELS:
            if stage == self.train_from.removesuffix("_linear"):
                x = lax.stop_gradient(x)
            x = self.layers.stage(self, functools.partial(_stage, name=stage), x)
            if stage == self.stage.removesuffix("_linear"):
                return x
        raise ValueError(f"VGG16 has no stage {self.stage!r}; known: {', '.join(STAGES)}")


def _stage(vgg: VGG16, x: jax.Array, name: str) -> jax.Array:
    if name != "conv1":
        x = vgg.layers.max_pool(x, (2, 2), strides=(2, 2))
    for layer in _GROUPS[name]:
        x = vgg.layers.conv(layer, Conv(CHANNELS[name], 3, bias=True))(x)
        if vgg.stage != LINEAR or layer != _GROUPS["conv5"][-1]:
            x = nn.relu(x)
    return x


_LAYERS = [layer for layers in _GROUPS.values() for layer in layers]
_INDEX = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)  # in torchvision's `features`
# Of torchvision's `VGG16_Weights.IMAGENET1K_FEATURES`: (0.48235, 0.45882, 0.40784) and 1 / 255.
_FEATURES = {"mean": (123.0, 117.0, 104.0), "std": (1.0, 1.0, 1.0)}


def _torch(path: Path) -> str:
    return f"features.{_INDEX[_LAYERS.index(path[1])]}.{torch_leaf(path)}"


def _torch_scaling(arrays: Mapping[str, np.ndarray]) -> Scaling:
    """Returns the scaling of one of torchvision's two VGG16, which share names and shapes.

    The one for features alone has no finite numbers in its classifier.
    """
    heads = [array for name, array in arrays.items() if name.startswith("classifier.")]
    return IMAGENET if all(np.isfinite(head).all() for head in heads) else _FEATURES


def _keras(path: Path) -> str:
    stage, _, i = path[1].removeprefix("conv").partition("_")
    return f"block{stage}_conv{i}/{keras_leaf(path)}"


BACKBONE = Backbone(
    title="VGG16",
    module=VGG16,
    stages=STAGES,
    batch_norm=False,
    sources={
        "torch": Source(
            _torch,
            _torch_scaling,
            head=r"(classifier\.\d+|pre_logits\.fc[12]|head\.fc)\.(weight|bias)",
        ),
        "keras": Source(_keras, CAFFE, flip_first=True, head="(fc1|fc2|predictions)/(kernel|bias)"),
        "caffe": Source(
            caffe.name,
            CAFFE,
            flip_first=True,
            head=r"fc[678]\.(weight|bias)",
            prepare=caffe.prepare,
        ),
    },
    cut_for={64: "conv5", 48: "conv3"},
)
