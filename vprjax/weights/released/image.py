"""ImAge (Lu et al. 2025): aggregation tokens inside DINOv2 with registers, and no aggregator."""

from vprjax.data.pictures import Form
from vprjax.models.backbones.dinov2 import AGGREGATION_TOKENS, torch_name
from vprjax.models.backbones.variant import Path
from vprjax.weights.released.variant import Family, Release

BACKBONE = "backbone."
MODEL = {"backbone": "dinov2_vitb14_tokens", "pooling": "class_token"}


def _name(path: Path) -> str:
    """Returns the name of a variable's array: the tokens stand beside the backbone."""
    name = torch_name((path[0], *path[2:]))
    return name if name == AGGREGATION_TOKENS else BACKBONE + name


FAMILY = Family(
    title="ImAge",
    reference="Lu et al.: Towards Implicit Aggregation: Robust Image Representation for Place Recognition "
    "in the Transformer Era, NeurIPS 2025",
    licence="none stated",
    releases={
        "image_merged": Release("ImAge_Merged.pth", 6144, 86.6, MODEL),
        "image_gsv": Release("ImAge_GSV.pth", 6144, 86.6, MODEL),
    },
    recognise={AGGREGATION_TOKENS, f"{BACKBONE}register_tokens"}.issubset,
    config=lambda arrays: MODEL,
    name=_name,
    form=Form(322, 322, kernel="bilinear"),
    input_rule="322x322, stretched, bilinear, with antialias",
    unused=r"backbone\.mask_token",
)
