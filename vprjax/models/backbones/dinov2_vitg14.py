"""DINOv2 ViT-g with patches of 14 x 14 pixels."""

from vprjax.models.backbones.dinov2 import Size, declare

BACKBONE = declare("DINOv2 ViT-g", Size(1536, 40, 24, gated=True))
