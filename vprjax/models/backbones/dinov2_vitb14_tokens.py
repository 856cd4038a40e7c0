"""DINOv2 ViT-B with registers, and ImAge's eight aggregation tokens from block 9 on (Lu et al. 2025)."""

from vprjax.models.backbones.dinov2 import Size, declare

BACKBONE = declare("DINOv2 ViT-B tokens", Size(768, 12, 12, registers=4, tokens=8, tokens_from=9))
