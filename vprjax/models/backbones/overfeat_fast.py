"""OverFeat's fast network, for images of 231x231 pixels (Sermanet et al. 2014)."""

from vprjax.models.backbones.layers import Conv
from vprjax.models.backbones.overfeat import declare
from vprjax.models.backbones.stack import Pool, Step

_POOL = (Pool(2, 2),)
STEPS = (
    Step("conv1", Conv(96, 11, 4, padding="VALID", bias=True)),
    Step("conv2", Conv(256, 5, padding="VALID", bias=True), _POOL),
    Step("conv3", Conv(512, 3, bias=True), _POOL),
    Step("conv4", Conv(1024, 3, bias=True)),
    Step("conv5", Conv(1024, 3, bias=True)),
    Step("fc6", Conv(3072, 6, padding="VALID", bias=True), _POOL),
    Step("fc7", Conv(4096, 1, bias=True)),
)
BACKBONE = declare("OverFeat fast", STEPS, {64: "conv5", 48: "conv2"})
