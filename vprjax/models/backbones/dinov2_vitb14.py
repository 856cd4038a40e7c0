"""DINOv2 ViT-B with patches of 14 x 14 pixels."""

from vprjax.models.backbones.dinov2 import Size, declare

BACKBONE = declare("DINOv2 ViT-B", Size(768, 12, 12))
