"""MixVPR (Ali-bey et al. 2023): a ResNet up to layer3, mixers over the positions, two linear layers."""

from vprjax.data.pictures import Form
from vprjax.models.backbones.resnet import torch_name
from vprjax.models.backbones.sources import torch_leaf
from vprjax.models.backbones.variant import Path
from vprjax.weights.released import resnets
from vprjax.weights.released.variant import Arrays, Family, Release, count

BACKBONE = "backbone.model"
_MIXER = {"norm": "0", "wide": "1", "narrow": "3"}
_LAST = {"channels_out": "channel_proj", "rows_out": "row_proj"}


def backbone(arrays: Arrays) -> dict:
    """Returns the `model` keys of the backbone: a ResNet of torchvision without its last layers."""
    layers = count(rf"{BACKBONE}\.layer(\d)\..*", arrays)
    return {
        "backbone": resnets.backbone_of(arrays, f"{BACKBONE}.layer3"),
        "stage": f"conv{layers + 1}",
    }


def backbone_name(path: Path) -> str:
    """Returns the name of an array of the backbone."""
    return f"{BACKBONE}.{torch_name((path[0], *path[2:]))}"


def _config(arrays: Arrays) -> dict:
    first = "aggregator.mix.0.mix"
    return {
        **backbone(arrays),
        "pooling": "mixvpr",
        "mixvpr.channels": len(arrays["aggregator.channel_proj.bias"]),
        "mixvpr.rows": len(arrays["aggregator.row_proj.bias"]),
        "mixvpr.blocks": count(r"aggregator\.mix\.(\d+)\..*", arrays),
        "mixvpr.ratio": len(arrays[f"{first}.1.bias"]) // len(arrays[f"{first}.3.bias"]),
    }


def name(path: Path) -> str:
    """Returns the name of a variable's array."""
    if path[1] == "backbone":
        return backbone_name(path)
    if path[2] in _LAST:
        return f"aggregator.{_LAST[path[2]]}.{torch_leaf(path)}"
    block = int(path[2].removeprefix("mixer")) - 1
    return f"aggregator.mix.{block}.mix.{_MIXER[path[3]]}.{torch_leaf(path)}"


def _recognise(names: frozenset[str]) -> bool:
    return {f"{BACKBONE}.conv1.weight", "aggregator.channel_proj.weight"} <= names


def _release(channels: int, rows: int, parameters: float) -> Release:
    dimension = channels * rows
    return Release(
        f"resnet50_MixVPR_{dimension}_channels({channels})_rows({rows}).ckpt",
        dimension,
        parameters,
        {
            "backbone": "resnet50",
            "stage": "conv4",
            "pooling": "mixvpr",
            "mixvpr.channels": channels,
            "mixvpr.rows": rows,
        },
    )


FAMILY = Family(
    title="MixVPR",
    reference="Ali-bey et al.: MixVPR: Feature Mixing for Visual Place Recognition, WACV 2023",
    licence="none stated",
    releases={
        "mixvpr_resnet50_4096": _release(1024, 4, 10.9),
        "mixvpr_resnet50_512": _release(256, 2, 10.1),
        "mixvpr_resnet50_128": _release(64, 2, 9.9),
    },
    recognise=_recognise,
    config=_config,
    name=name,
    form=Form(320, 320, kernel="bilinear"),
    input_rule="320x320, stretched, bilinear",
)
