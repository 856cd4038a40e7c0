"""Conv-AP (Ali-bey et al. 2022): a ResNet, a 1x1 convolution, the means of 2x2 regions."""

from vprjax.data.pictures import Form
from vprjax.models.backbones.sources import torch_leaf
from vprjax.models.backbones.variant import Path
from vprjax.weights.released import mixvpr
from vprjax.weights.released.variant import Arrays, Family, Release

_HEAD = "aggregator.channel_pool"
_SIDE = 2  # of the grid of regions; no file says it, and all released ones have 2x2


def _model(channels: int) -> dict:
    return {
        "pooling": "convap",
        "convap.channels": channels,
        "convap.rows": _SIDE,
        "convap.columns": _SIDE,
    }


def _config(arrays: Arrays) -> dict:
    return mixvpr.backbone(arrays) | _model(len(arrays[f"{_HEAD}.bias"]))


def name(path: Path) -> str:
    """Returns the name of a variable's array."""
    if path[1] == "backbone":
        return mixvpr.backbone_name(path)
    return f"{_HEAD}.{torch_leaf(path)}"


def _recognise(names: frozenset[str]) -> bool:
    return {f"{mixvpr.BACKBONE}.conv1.weight", f"{_HEAD}.weight"} <= names


FAMILY = Family(
    title="Conv-AP",
    reference="Ali-bey et al.: GSV-Cities: Toward Appropriate Supervised Visual Place Recognition, "
    "Neurocomputing 2022",
    licence="none stated",
    releases={
        f"convap_resnet50_{d * _SIDE**2}": Release(
            f"resnet50_ConvAP_{d}_2x2.ckpt",
            d * _SIDE**2,
            round(23.5 + 2049 * d / 1e6, 1),
            {"backbone": "resnet50", "stage": "conv5"} | _model(d),
        )
        for d in (128, 512, 1024, 2048)
    },
    recognise=_recognise,
    config=_config,
    name=name,
    form=Form(320, 320, kernel="bilinear"),
    input_rule="320x320, stretched, bilinear",
)
