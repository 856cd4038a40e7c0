"""DINOv2 ViT-L with patches of 14 x 14 pixels."""

from vprjax.models.backbones.dinov2 import Size, declare

BACKBONE = declare("DINOv2 ViT-L", Size(1024, 24, 16))
