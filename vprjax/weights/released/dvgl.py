"""DVGL, the deep visual geo-localization benchmark (Berton et al. 2022): GeM, NetVLAD and CRN."""

import re

from vprjax.data.pictures import Form
from vprjax.models.backbones.variant import Path
from vprjax.weights.released import cosplace, resnets, vgg16_netvlad
from vprjax.weights.released.variant import Arrays, Family, Release

_HEAD = {
    ("p",): "1.p",
    ("weights",): "conv.weight",
    ("biases",): "conv.bias",
    ("centers",): "centroids",
    **{
        (ours, leaf): f"crn.{theirs}.{named}"
        for ours, theirs in (
            ("context3", "filter_3_3"),
            ("context5", "filter_5_5"),
            ("context7", "filter_7_7"),
            ("accumulate", "acc_w"),
        )
        for leaf, named in (("kernel", "weight"), ("bias", "bias"))
    },
    ("kernel",): "1.weight",
    ("bias",): "1.bias",
}


def _name(path: Path) -> str:
    """Returns the name of a variable's array."""
    if path[1] == "backbone":
        return cosplace.name(path)
    return f"aggregation.{_HEAD[path[2:]]}"


def _prepare(arrays: Arrays) -> Arrays:
    """Takes off what a linear layer puts in front of its head's names, and adds biases of zero."""
    plain = {re.sub(r"^aggregation\.0\.", "aggregation.", n): a for n, a in arrays.items()}
    if "aggregation.centroids" in plain:
        zeros = vgg16_netvlad.zeros(plain["aggregation.centroids"])
        plain = {"aggregation.conv.bias": zeros, **plain}
    return plain


def model(backbone: str, pooling: str, projection: int = 0, **own) -> dict:
    """Returns the `model` keys of a backbone, cut at conv4 if it is a ResNet, under a head."""
    norms = {"norms": ("local", "descriptor") if projection else ("local",)}
    return {
        "backbone": backbone,
        "stage": "conv5_linear" if backbone == "vgg16" else "conv4",
        "pooling": pooling,
        **(norms if pooling == "gem" else {f"{pooling}.clusters": 64}),
        "projection": projection,
        **own,
    }


def _config(arrays: Arrays) -> dict:
    bias = arrays.get("aggregation.1.bias", vgg16_netvlad.NO_BIAS)
    backbone, own = resnets.backbone_of(arrays, "backbone.6", otherwise="vgg16"), {}
    if any(name.startswith("backbone.7.0.") for name in arrays):
        own["stage"] = "conv5"
    pooling = "gem"
    if "aggregation.centroids" in arrays:
        pooling = "crn" if any(".crn." in name for name in arrays) else "netvlad"
        own[f"{pooling}.clusters"] = vgg16_netvlad.rows(arrays["aggregation.centroids"])
    return model(backbone, pooling, bias.size, **own)


def _recognise(names: frozenset[str]) -> bool:
    head = r"aggregation\.(0\.)?(1\.p|centroids)"
    return (
        "backbone.0.weight" in names
        and "aggregation.3.weight" not in names  # CosPlace's
        and any(re.fullmatch(head, name) for name in names)
    )


# Backbone -> channels of its map, and millions of parameters up to there.
_BACKBONES = {
    "vgg16": (512, 14.71),
    "resnet18": (256, 2.78),
    "resnet50": (1024, 8.54),
    "resnet101": (1024, 27.54),
}


def _release(backbone: str, pooling: str, projection: int = 0) -> Release:
    channels, millions = _BACKBONES[backbone]
    dimension = channels if pooling == "gem" else 64 * channels
    extra = {"gem": 0, "netvlad": 128 * channels, "crn": (128 + 288 + 800 + 980) * channels}
    extra = extra[pooling] + projection * (dimension + 1)
    return Release(
        "best_model.pth",
        projection or dimension,
        round(millions + extra / 1e6, 1),
        model(backbone, pooling, projection),
    )


FAMILY = Family(
    title="DVGL",
    reference="Berton et al.: Deep Visual Geo-localization Benchmark, CVPR 2022",
    licence="MIT",
    releases={
        **{
            f"dvgl_{b}_{head}": _release(b, head) for b in _BACKBONES for head in ("gem", "netvlad")
        },
        "dvgl_resnet50_crn": _release("resnet50", "crn"),
        "dvgl_resnet50_gem_2048": _release("resnet50", "gem", 2048),
        "dvgl_resnet50_gem_65536": _release("resnet50", "gem", 65536),
    },
    recognise=_recognise,
    config=_config,
    name=_name,
    prepare=_prepare,
    form=Form(480, 640, kernel="bilinear"),
    input_rule="stretched to 480 x 640, bilinear",
)
