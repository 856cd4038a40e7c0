"""OverFeat's accurate network, for images of 221x221 pixels (Sermanet et al. 2014)."""

from vprjax.models.backbones.layers import Conv
from vprjax.models.backbones.overfeat import declare
from vprjax.models.backbones.stack import Pool, Step

STEPS = (
    Step("conv1", Conv(96, 7, 2, padding="VALID", bias=True)),
    Step("conv2", Conv(256, 7, padding="VALID", bias=True), (Pool(3, 3),)),
    Step("conv3", Conv(512, 3, bias=True), (Pool(2, 2),)),
    Step("conv4", Conv(512, 3, bias=True)),
    Step("conv5", Conv(1024, 3, bias=True)),
    Step("conv6", Conv(1024, 3, bias=True)),
    Step("fc7", Conv(4096, 5, padding="VALID", bias=True), (Pool(3, 3),)),
    Step("fc8", Conv(4096, 1, bias=True)),
)
BACKBONE = declare("OverFeat accurate", STEPS, {64: "conv6", 48: "conv2"})
