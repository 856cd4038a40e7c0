"""AlexNet as torchvision has it: one tower, no normalisation (Krizhevsky 2014)."""

import functools

from vprjax.models.backbones.layers import Conv
from vprjax.models.backbones.sources import IMAGENET, torch_leaf
from vprjax.models.backbones.stack import Pool, Stack, Step, stages
from vprjax.models.backbones.variant import Backbone, Path, Source

_POOL = (Pool(3, 2),)
STEPS = (
    Step("conv1", Conv(64, 11, 4, padding=((2, 2), (2, 2)), bias=True)),
    Step("conv2", Conv(192, 5, bias=True), _POOL),
    Step("conv3", Conv(384, 3, bias=True), _POOL),
    Step("conv4", Conv(256, 3, bias=True)),
    Step("conv5", Conv(256, 3, bias=True)),
)
# Layer -> its number in torchvision's `features`.
NUMBERS = dict(zip((step.name for step in STEPS), (0, 3, 6, 8, 10), strict=True))


def torch_name(path: Path) -> str:
    """Returns the name of a variable in torchvision's file."""
    return f"features.{NUMBERS[path[1]]}.{torch_leaf(path)}"


BACKBONE = Backbone(
    title="AlexNet",
    module=functools.partial(Stack, STEPS),
    stages=stages(STEPS),
    batch_norm=False,
    sources={"torch": Source(torch_name, IMAGENET, head=r"classifier\.\d+\.(weight|bias)")},
    refused={"caffe": "Caffe has the grouped network; use backbone alexnet_caffe"},
    cut_for={64: "conv5", 48: "conv2"},
)
