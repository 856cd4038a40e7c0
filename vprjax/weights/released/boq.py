"""BoQ, bag of queries (Ali-bey et al. 2024), behind a ResNet up to layer3 or behind DINOv2's last block."""

from vprjax.data.pictures import Form
from vprjax.models.backbones import dinov2
from vprjax.models.backbones.sources import torch_leaf
from vprjax.models.backbones.variant import Path
from vprjax.models.heads.boq import HEAD_CHANNELS
from vprjax.weights.released import resnets, salad
from vprjax.weights.released.variant import Arrays, Family, Release, count

_RESNET, _DINOV2 = "backbone.net", "backbone.dino"
_REFERENCE = "Ali-bey et al.: BoQ: A Place is Worth a Bag of Learnable Queries, CVPR 2024"
_LAYERS = {"reduce": "proj_c", "norm": "norm_input", "rows_out": "fc"}
_BLOCK = {
    "encoder": "encoder",
    "attention": "self_attn",
    "wide": "linear1",
    "narrow": "linear2",
    "norm1": "norm1",
    "norm2": "norm2",
    "norm_queries": "norm_q",
    "self_attention": "self_attn",
    "cross_attention": "cross_attn",
    "norm_found": "norm_out",
    "out": "out_proj",
}


def _head(arrays: Arrays) -> dict:
    return {
        "pooling": "boq",
        "boq.heads": len(arrays["aggregator.norm_input.bias"]) // HEAD_CHANNELS,
        "boq.queries": arrays["aggregator.boqs.0.queries"].shape[1],
        "boq.blocks": count(r"aggregator\.boqs\.(\d+)\..*", arrays),
        "boq.rows": len(arrays["aggregator.fc.bias"]),
    }


def _head_name(path: Path) -> str:
    """Returns the name of an array of the head: `("params", "pooling", "block1", "encoder", ...)`."""
    first, *inner = path[2:]
    if first in _LAYERS:
        return f"aggregator.{_LAYERS[first]}.{torch_leaf(path)}"
    block = f"aggregator.boqs.{int(first.removeprefix('block')) - 1}"
    if inner == ["queries"]:
        return f"{block}.queries"
    layers = ".".join(_BLOCK[layer] for layer in inner[:-1])
    # PyTorch holds the three maps of an attention as one array without a module of its own.
    packed = "in_proj_" if inner[-2].endswith("attention") else ""
    return f"{block}.{layers}.{packed}{torch_leaf(path)}"


def _resnet_config(arrays: Arrays) -> dict:
    layers = count(rf"{_RESNET}\.([4-7])\..*", arrays)
    backbone = resnets.backbone_of(arrays, f"{_RESNET}.6")
    return {"backbone": backbone, "stage": f"conv{layers + 1}"} | _head(arrays)


def _resnet_name(path: Path) -> str:
    if path[1] == "backbone":
        return f"{_RESNET}.{resnets.numbered(path)}"
    return _head_name(path)


def _recognise(backbone: str):
    return lambda names: {backbone, "aggregator.proj_c.weight", "aggregator.fc.weight"} <= names


def _dinov2_config(arrays: Arrays) -> dict:
    width = arrays[f"{_DINOV2}.cls_token"].shape[-1]
    depth = count(rf"{_DINOV2}\.blocks\.(\d+)\.norm1\.weight", arrays)
    backbone = salad.SIZES.get((width, depth), "dinov2_vitb14")
    # The file holds a final LayerNorm that its code never applies.
    return {"backbone": backbone, "stage": f"block{depth}"} | _head(arrays)


def _dinov2_name(path: Path) -> str:
    if path[1] == "backbone":
        return f"{_DINOV2}.{dinov2.torch_name((path[0], *path[2:]))}"
    return _head_name(path)


RESNET = Family(
    title="BoQ",
    reference=_REFERENCE,
    licence="MIT",
    releases={
        "boq_resnet50_16384": Release(
            "resnet50_16384.pth",
            16384,
            23.8,
            {"backbone": "resnet50", "stage": "conv4", "pooling": "boq"},
        )
    },
    recognise=_recognise(f"{_RESNET}.0.weight"),
    config=_resnet_config,
    name=_resnet_name,
    form=Form(384, 384, kernel="bicubic"),
    input_rule="384x384, stretched, bicubic",
)

DINOV2 = Family(
    title="BoQ (DINOv2)",
    reference=_REFERENCE,
    licence="MIT",
    releases={
        "boq_dinov2_12288": Release(
            "dinov2_12288.pth",
            12288,
            95.2,
            {
                "backbone": "dinov2_vitb14",
                "stage": "block12",
                "pooling": "boq",
                "boq.heads": 6,
            },
        )
    },
    recognise=_recognise(f"{_DINOV2}.cls_token"),
    config=_dinov2_config,
    name=_dinov2_name,
    form=Form(322, 322, kernel="bicubic"),
    input_rule="322x322, stretched, bicubic",
    unused=r"backbone\.dino\.(mask_token|norm\.(weight|bias))",
)
