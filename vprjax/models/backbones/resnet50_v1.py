"""ResNet50 v1, as Keras has it."""

import functools

from vprjax.models.backbones.resnet import ResNet, stages
from vprjax.models.backbones.resnet50 import BLOCKS
from vprjax.models.backbones.sources import CAFFE, keras_leaf
from vprjax.models.backbones.variant import Backbone, Path, Source


def _keras(path: Path) -> str:
    _, group, layer, _ = path
    kind = "bn" if "norm" in layer else "conv"
    if group == "conv1":
        return f"conv1_{kind}/{keras_leaf(path)}"
    i = "0" if layer.startswith("shortcut") else layer[-1]
    return f"{group.replace('_', '_block')}_{i}_{kind}/{keras_leaf(path)}"


BACKBONE = Backbone(
    title="ResNet50 v1",
    module=functools.partial(ResNet, BLOCKS, v1=True),
    stages=stages(BLOCKS),
    batch_norm=True,
    sources={
        "keras": Source(
            _keras, CAFFE, flip_first=True, head="(fc1000|predictions|probs)/(kernel|bias)"
        ),
    },
    refused={"torch": "torchvision and timm have v1.5; use backbone resnet50"},
    cut_for={64: "conv4", 48: "conv3"},
)
