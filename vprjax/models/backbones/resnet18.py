"""ResNet18 v1.5, as torchvision and timm have it."""

from vprjax.models.backbones.resnet import declare

BACKBONE = declare("ResNet18", (2, 2, 2, 2), basic=True)
