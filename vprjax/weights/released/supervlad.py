"""SuperVLAD (Lu et al. 2024): DINOv2 behind its final LayerNorm, and sums by cluster without centres.

The released model with a cross-image encoder is another one: its descriptors depend on the other images of
the batch, so that its file is refused.
"""

import re

from vprjax.data.pictures import Form
from vprjax.errors import WeightsError
from vprjax.models.backbones.dinov2 import torch_name
from vprjax.models.backbones.variant import Path
from vprjax.weights.released import salad
from vprjax.weights.released.variant import Arrays, Family, Release, count

BACKBONE, WEIGHTS = "backbone.", "aggregation.conv.weight"
GHOSTS = 1  # of the released models with more than one cluster; one of one cluster has two


def _config(arrays: Arrays) -> dict:
    width = arrays[f"{BACKBONE}cls_token"].shape[-1]
    depth = count(re.escape(BACKBONE) + r"blocks\.(\d+)\.norm1\.weight", arrays)
    rows = len(arrays[WEIGHTS])
    ghosts = GHOSTS if rows != 3 else 2
    return {
        "backbone": salad.SIZES.get((width, depth), "dinov2_vitb14"),
        "pooling": "supervlad",
        "supervlad.clusters": rows - ghosts,
        "supervlad.ghosts": ghosts,
    }


def _prepare(arrays: Arrays) -> Arrays:
    if any(name.startswith("encoder.") for name in arrays):
        raise WeightsError(
            "it has a cross-image encoder, whose descriptors depend on the other images of the batch"
        )
    return salad.matrices(arrays)


def _name(path: Path) -> str:
    """Returns the name of a variable's array."""
    return WEIGHTS if path[1] == "pooling" else BACKBONE + torch_name((path[0], *path[2:]))


FAMILY = Family(
    title="SuperVLAD",
    reference="Lu et al.: SuperVLAD: Compact and Robust Image Descriptors for Visual Place Recognition, "
    "NeurIPS 2024",
    licence="none stated",
    releases={
        "supervlad": Release(
            "SuperVLAD.pth", 3072, 86.6, {"backbone": "dinov2_vitb14", "pooling": "supervlad"}
        )
    },
    recognise={f"{BACKBONE}cls_token", WEIGHTS}.issubset,
    config=_config,
    name=_name,
    prepare=_prepare,
    form=Form(322, 322, kernel="bilinear"),
    input_rule="322x322, stretched, bilinear, with antialias",
    unused=r"backbone\.mask_token",
)
