"""ResNet101 v1.5, as torchvision and timm have it."""

from vprjax.models.backbones.resnet import declare

BACKBONE = declare("ResNet101", (3, 4, 23, 3))
