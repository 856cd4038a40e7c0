"""ResNet152 v1.5, as torchvision and timm have it."""

from vprjax.models.backbones.resnet import declare

BACKBONE = declare("ResNet152", (3, 8, 36, 3))
