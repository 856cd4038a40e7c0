"""DINOv2 ViT-S with patches of 14 x 14 pixels."""

from vprjax.models.backbones.dinov2 import Size, declare

BACKBONE = declare("DINOv2 ViT-S", Size(384, 12, 6))
