"""CaffeNet, Caffe's reference network: the original AlexNet that pools before it normalises."""

import functools

from vprjax.models.backbones import caffe
from vprjax.models.backbones.alexnet_caffe import CLASSIFIER, POOL, steps
from vprjax.models.backbones.stack import Response, Stack, stages
from vprjax.models.backbones.variant import Backbone, Source

STEPS = steps((POOL, Response()))
prepare = functools.partial(caffe.prepare, pools_first=True)

BACKBONE = Backbone(
    title="CaffeNet",
    module=functools.partial(Stack, STEPS),
    stages=stages(STEPS),
    batch_norm=False,
    sources={
        "caffe": Source(caffe.name, caffe.ILSVRC, flip_first=True, head=CLASSIFIER, prepare=prepare)
    },
    cut_for={64: "conv5", 48: "conv2"},
)
