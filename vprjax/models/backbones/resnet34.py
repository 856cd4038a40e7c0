"""ResNet34 v1.5, as torchvision and timm have it."""

from vprjax.models.backbones.resnet import declare

BACKBONE = declare("ResNet34", (3, 4, 6, 3), basic=True)
