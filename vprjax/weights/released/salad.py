"""SALAD (Izquierdo & Civera 2024): DINOv2 behind its final LayerNorm, and optimal transport."""

import re

import numpy as np

from vprjax.data.pictures import Form
from vprjax.models.backbones import BACKBONES
from vprjax.models.backbones.dinov2 import torch_name
from vprjax.models.backbones.sources import torch_leaf
from vprjax.models.backbones.variant import Path
from vprjax.weights.released.variant import Arrays, Family, Release, count

BACKBONE, HEAD = "backbone.model.", "aggregator."
# A layer of the head -> its name; ReLU and dropout have numbers too.
_LAYERS = {
    "token1": "token_features.0",
    "token2": "token_features.2",
    "features1": "cluster_features.0",
    "features2": "cluster_features.3",
    "score1": "score.0",
    "score2": "score.3",
}
# What `model` reads.
_READ = ("score.3.weight", "cluster_features.3.weight", "token_features.2.weight")


def matrices(arrays: Arrays) -> Arrays:
    """Returns the arrays with 1x1 convolutions as matrices."""
    return {n: a.reshape(a.shape[:2]) if a.shape[2:] == (1, 1) else a for n, a in arrays.items()}


def needs(backbone: str, head: str) -> frozenset[str]:
    """Returns the names that `model` reads, of a file whose two parts have these prefixes."""
    return frozenset((f"{backbone}cls_token", *(head + name for name in _READ)))


def model(arrays: Arrays, backbone: str, head: str) -> dict:
    """Returns the `model` keys of a file whose two parts have these prefixes."""
    score, features, token = (arrays[head + name] for name in _READ)
    width = _length(arrays[f"{backbone}cls_token"], 2)
    depth = count(re.escape(backbone) + r"blocks\.(\d+)\.norm1\.weight", arrays)
    return {
        "backbone": SIZES.get((width, depth), "dinov2_vitb14"),
        "pooling": "salad",
        "salad.clusters": _length(score, 0),
        "salad.cluster_dim": _length(features, 0),
        "salad.token_dim": _length(token, 0),
        "salad.hidden": _length(score, 1),
    }


def _length(array: np.ndarray, axis: int) -> int:
    """The length of an axis, 1 of one that a foreign file lacks."""
    return max(1, (*array.shape, 1, 1, 1)[axis])


def _sizes() -> dict[tuple[int, int], str]:
    names = [name for name in BACKBONES if re.fullmatch(r"dinov2_vit.14", name)]
    sizes = {name: BACKBONES[name].module().size for name in names}
    return {(size.width, size.depth): name for name, size in sizes.items()}


SIZES = _sizes()  # numbers of a token and of blocks -> the backbone


def name(path: Path, backbone: str = BACKBONE, head: str = HEAD) -> str:
    """Returns the name of a variable's array, of a file whose two parts have these prefixes."""
    if path[1] == "backbone":
        return backbone + torch_name((path[0], *path[2:]))
    if path[-1] == "dust_bin":
        return f"{head}dust_bin"
    return f"{head}{_LAYERS[path[2]]}.{torch_leaf(path)}"


FAMILY = Family(
    title="SALAD",
    reference="Izquierdo & Civera: Optimal Transport Aggregation for Visual Place Recognition, CVPR 2024",
    licence="the repository serizba/salad names it",
    releases={
        "salad": Release(
            "dino_salad.ckpt", 8448, 88.0, {"backbone": "dinov2_vitb14", "pooling": "salad"}
        )
    },
    recognise=needs(BACKBONE, HEAD).issubset,
    config=lambda arrays: model(arrays, BACKBONE, HEAD),
    name=name,
    form=Form(322, 322, kernel="bilinear"),
    input_rule="322x322, stretched, bilinear; any sides of more than 64 patches of 14x14",
    prepare=matrices,
    unused=r"backbone\.model\.mask_token",
)
