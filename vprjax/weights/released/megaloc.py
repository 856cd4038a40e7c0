"""MegaLoc (Berton & Masone 2025): SALAD with longer clusters, a linear layer, L2."""

from vprjax.data.pictures import Form
from vprjax.models.backbones.sources import torch_leaf
from vprjax.models.backbones.variant import Path
from vprjax.weights.released import salad
from vprjax.weights.released.variant import Arrays, Family, Release

_BACKBONE, _HEAD, _LINEAR = "backbone.", "aggregator.agg.", "aggregator.linear."
# The model of version 1.0 has SALAD's backbone inside.
_FIRST = salad.BACKBONE


def recognise(names: frozenset[str]) -> bool:
    """Whether a file is of this layout, new or of version 1.0."""
    parts = [salad.needs(backbone, _HEAD) for backbone in (_BACKBONE, _FIRST)]
    return f"{_LINEAR}bias" in names and any(part <= names for part in parts)


def _prepare(arrays: Arrays) -> Arrays:
    arrays = {
        _BACKBONE + name.removeprefix(_FIRST) if name.startswith(_FIRST) else name: array
        for name, array in arrays.items()
    }
    return salad.matrices(arrays)


def _config(arrays: Arrays) -> dict:
    projection = arrays[f"{_LINEAR}bias"].size
    return {**salad.model(arrays, _BACKBONE, _HEAD), "projection": projection}


def _name(path: Path) -> str:
    if path[1] == "projection":
        return _LINEAR + torch_leaf(path)
    return salad.name(path, _BACKBONE, _HEAD)


_MODEL = {
    "backbone": "dinov2_vitb14",
    "pooling": "salad",
    "salad.cluster_dim": 256,
    "projection": 8448,
}

FAMILY = Family(
    title="MegaLoc",
    reference="Berton & Masone: MegaLoc: One Retrieval to Place Them All, CVPRW 2025",
    licence="MIT",
    releases={
        "megaloc": Release("model.safetensors", 8448, 228.6, _MODEL),
        "megaloc_v1.0": Release("megaloc.torch", 8448, 228.6, _MODEL),
    },
    recognise=recognise,
    config=_config,
    name=_name,
    form=Form(322, 322, kernel="bilinear"),
    input_rule="322x322, stretched, bilinear; a side of no multiple of 14 becomes the nearest one",
    prepare=_prepare,
    unused=r"backbone\.mask_token",
)
