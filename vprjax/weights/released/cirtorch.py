"""Radenovic et al.'s retrieval networks (cnnimageretrieval-pytorch): GeM, L2, a whitening layer, L2."""

import re

import numpy as np

from vprjax.data.pictures import Form
from vprjax.models.backbones.sources import IMAGENET, torch_leaf
from vprjax.models.backbones.variant import Path, Scaling
from vprjax.weights.released import resnets
from vprjax.weights.released.cosplace import VGG16
from vprjax.weights.released.variant import Arrays, Family, Release


def model(backbone: str, projection: int, pooling: str = "gem") -> dict:
    """Returns the `model` keys of a network; VGG16 keeps its last ReLU."""
    return {"backbone": backbone, "pooling": pooling, "projection": projection}


def _recognise(names: frozenset[str]) -> bool:
    return "features.0.weight" in names and bool({"pool.p", "pool.rpool.p"} & names)


def _prepare(arrays: Arrays) -> Arrays:
    """Names regional GeM's exponent as GeM's, and makes a whitening learnt afterwards a layer.

    That is `P (x - m)`, in the file's `meta`; the one of a single scale is taken.
    """
    prepared = {re.sub(r"^pool\.rpool\.", "pool.", name): a for name, a in arrays.items()}
    learnt = sorted(n for n in prepared if re.fullmatch(r"meta\.Lw\..+\.ss\.P", n))
    if learnt and "whiten.weight" not in prepared:
        p = np.asarray(prepared[learnt[0]], np.float64)
        m = np.asarray(prepared[learnt[0].removesuffix("P") + "m"], np.float64)
        prepared |= {"whiten.weight": p, "whiten.bias": -(p @ m.reshape(-1))}
    return prepared


def _config(arrays: Arrays) -> dict:
    pooling = "regional_gem" if "pool.whiten.weight" in arrays else "gem"
    own = {"gem.per_channel": True} if arrays["pool.p"].size > 1 else {}
    backbone = resnets.backbone_of(arrays, "features.6", otherwise="vgg16")
    return model(backbone, len(arrays.get("whiten.weight", ())), pooling) | own


def _name(path: Path) -> str:
    """Returns the name of a variable's array."""
    if path[1] == "projection":
        return f"whiten.{torch_leaf(path)}"
    if path[1] == "pooling":
        return ".".join(("pool", *path[2:-1], torch_leaf(path)))
    if len(path) == 4:  # VGG16: ("params", "backbone", "conv1_1", "kernel")
        return f"features.{VGG16[path[2]]}.{torch_leaf(path)}"
    return f"features.{resnets.numbered(path)}"


def scaling(arrays: Arrays, where: str) -> Scaling:
    """Returns the mean and standard deviation that a file states under `where`, else ImageNet's."""
    mean, std = (arrays.get(f"{where}.{name}") for name in ("mean", "std"))
    if mean is None or std is None:
        return IMAGENET
    return {"mean": tuple(255 * mean), "std": tuple(255 * std)}


# Backbone -> millions of parameters without the whitening layer of 2048 outputs.
_RESNETS = {"resnet50": 23.5, "resnet101": 42.5, "resnet152": 58.1}
_ENDINGS = {
    "rSfM120k": {"resnet50": "97bf910", "resnet101": "a155e54", "resnet152": "f39cada"},
    "gl18": {"resnet50": "83fdc30", "resnet101": "a4d43db", "resnet152": "21278d5"},
}
_LEARNT_AFTERWARDS = {
    "cirtorch_sfm120k_vgg16_lw": Release(
        "retrievalSfM120k-vgg16-gem-b4dcdc6.pth", 512, 15.0, model("vgg16", 512)
    ),
    "cirtorch_sfm120k_resnet101_lw": Release(
        "retrievalSfM120k-resnet101-gem-b80fb85.pth", 2048, 46.7, model("resnet101", 2048)
    ),
}


def _releases() -> dict[str, Release]:
    return {
        f"cirtorch_{data.lower().removeprefix('r')}_{backbone}": Release(
            f"{data}-tl-{backbone}-gem-w-{ending}.pth",
            2048,
            round(_RESNETS[backbone] + 4.2, 1),
            model(backbone, 2048),
        )
        for data, endings in _ENDINGS.items()
        for backbone, ending in endings.items()
    }


FAMILY = Family(
    title="cnnimageretrieval",
    reference="Radenovic et al.: Fine-tuning CNN Image Retrieval with No Human Annotation, TPAMI 2018",
    licence="MIT",
    releases=_releases() | _LEARNT_AFTERWARDS,
    recognise=_recognise,
    config=_config,
    name=_name,
    prepare=_prepare,
    form=Form(768, 1024),
    input_rule="longer side at most 1024, aspect kept, never enlarged; Pillow's thumbnail (Lanczos)",
    preprocess=lambda arrays: scaling(arrays, "meta"),
)
