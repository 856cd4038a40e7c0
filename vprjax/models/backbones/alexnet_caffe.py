"""The original AlexNet (Krizhevsky et al. 2012): two groups, response normalisation, Caffe's names."""

import functools

from vprjax.models.backbones import caffe
from vprjax.models.backbones.layers import Conv
from vprjax.models.backbones.stack import Pool, Response, Stack, Step, stages
from vprjax.models.backbones.variant import Backbone, Source

POOL = Pool(3, 2, ceil=True)
CLASSIFIER = r"fc[678]\w*\.(weight|bias)"  # a fine-tuned file has names such as fc8_places


def steps(between: tuple[Pool | Response, ...]) -> tuple[Step, ...]:
    """Returns the stages with these layers behind conv1 and conv2."""
    return (
        Step("conv1", Conv(96, 11, 4, padding="VALID", bias=True)),
        Step("conv2", Conv(256, 5, groups=2, bias=True), between),
        Step("conv3", Conv(384, 3, bias=True), between),
        Step("conv4", Conv(384, 3, groups=2, bias=True)),
        Step("conv5", Conv(256, 3, groups=2, bias=True)),
    )


STEPS = steps((Response(), POOL))
prepare = functools.partial(caffe.prepare, pools_first=False)

BACKBONE = Backbone(
    title="AlexNet (Caffe)",
    module=functools.partial(Stack, STEPS),
    stages=stages(STEPS),
    batch_norm=False,
    sources={
        "caffe": Source(caffe.name, caffe.ILSVRC, flip_first=True, head=CLASSIFIER, prepare=prepare)
    },
    refused={"torch": "torchvision has one tower without normalisation; use backbone alexnet"},
    cut_for={64: "conv5", 48: "conv2"},
)
