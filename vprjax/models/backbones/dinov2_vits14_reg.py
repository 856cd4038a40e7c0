"""DINOv2 ViT-S with patches of 14 x 14 pixels and four registers."""

from vprjax.models.backbones.dinov2 import Size, declare

BACKBONE = declare("DINOv2 ViT-S reg", Size(384, 12, 6, registers=4))
