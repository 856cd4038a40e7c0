"""ResNet50 v1.5, as torchvision and timm have it."""

from vprjax.models.backbones.resnet import declare

BLOCKS = (3, 4, 6, 3)
BACKBONE = declare("ResNet50", BLOCKS, refused={"keras": "Keras has v1; use backbone resnet50_v1"})
