"""The network of AMOSNet and HybridNet (Chen et al. 2017): CaffeNet with a sixth convolution and fc7.

`fc7_new` is a 6x6 convolution without padding: at 227x227 pixels its map has one position.
"""

import functools

from vprjax.models.backbones import caffe
from vprjax.models.backbones.alexnet_caffe import POOL
from vprjax.models.backbones.caffenet import STEPS as CAFFENET
from vprjax.models.backbones.layers import Conv
from vprjax.models.backbones.stack import Stack, Step, stages
from vprjax.models.backbones.variant import Backbone, Source

STEPS = (
    *CAFFENET,
    Step("conv6", Conv(256, 3, groups=2, bias=True)),
    Step("fc7_new", Conv(4096, 6, padding="VALID", bias=True), (POOL,)),
)
prepare = functools.partial(caffe.prepare, pools_first=True, fully={"fc7_new": (256, 6, 6)})

BACKBONE = Backbone(
    title="HybridNet",
    module=functools.partial(Stack, STEPS),
    stages=stages(STEPS),
    batch_norm=False,
    sources={
        "caffe": Source(
            caffe.name,
            caffe.ILSVRC,  # theirs is an image of its own file, amosnet_mean.npy
            flip_first=True,
            head=r"fc8_new\.(weight|bias)",
            prepare=prepare,
        )
    },
    cut_for={64: "conv6", 48: "conv2"},
)
