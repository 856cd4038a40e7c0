"""CosPlace (Berton et al. 2022): L2 per position, GeM, a linear layer, L2."""

from vprjax.data.pictures import Form
from vprjax.models.backbones.sources import torch_leaf
from vprjax.models.backbones.variant import Path
from vprjax.weights.released import resnets
from vprjax.weights.released.variant import Arrays, Family, Release

_HEAD = {"p": "aggregation.1.p", "kernel": "aggregation.3.weight", "bias": "aggregation.3.bias"}


def model(backbone: str, dimension: int) -> dict:
    """Returns the `model` keys of a backbone under this head."""
    return {
        "backbone": backbone,
        "stage": "conv5_linear" if backbone == "vgg16" else "",
        "pooling": "gem",
        "norms": ("local", "descriptor"),
        "projection": dimension,
    }


def config(arrays: Arrays) -> dict:
    """Returns the `model` keys of a file."""
    backbone = resnets.backbone_of(arrays, "backbone.6", otherwise="vgg16")
    return model(backbone, len(arrays["aggregation.3.bias"]))


def name(path: Path) -> str:
    """Returns the name of a variable's array."""
    if path[1] != "backbone":
        return _HEAD[path[-1]]
    if path[2].count("_") and len(path) == 4:  # VGG16: ("params", "backbone", "conv1_1", "kernel")
        return f"backbone.{VGG16[path[2]]}.{torch_leaf(path)}"
    return f"backbone.{resnets.numbered(path)}"


# Layer -> its number in torchvision's `features`.
VGG16 = dict(
    zip(
        [f"conv{s}_{i}" for s in range(1, 6) for i in range(1, 3 if s < 3 else 4)],
        (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28),
        strict=True,
    )
)


def recognise(names: frozenset[str]) -> bool:
    """Whether a file is of this layout, which CosPlace and EigenPlaces share."""
    return {"backbone.0.weight", "aggregation.1.p", "aggregation.3.weight"} <= names


# Backbone -> dimensions of the released files and millions of parameters without the linear layer.
_RELEASED = {
    "vgg16": ("VGG16", (64, 128, 256, 512), 14.7, 512),
    "resnet18": ("ResNet18", (32, 64, 128, 256, 512), 11.2, 512),
    "resnet50": ("ResNet50", (32, 64, 128, 256, 512, 1024, 2048), 23.5, 2048),
    "resnet101": ("ResNet101", (32, 64, 128, 256, 512, 1024, 2048), 42.5, 2048),
    "resnet152": ("ResNet152", (32, 64, 128, 256, 512, 1024, 2048), 58.1, 2048),
}


def releases(project: str, dimensions: dict[str, tuple[int, ...]]) -> dict[str, Release]:
    """Returns the releases `PROJECT_BACKBONE_DIMENSION` of these backbones and dimensions."""
    return {
        f"{project}_{backbone}_{d}": Release(
            f"{_RELEASED[backbone][0]}_{d}_{project}.pth",
            d,
            round(_RELEASED[backbone][2] + (_RELEASED[backbone][3] + 1) * d / 1e6, 1),
            model(backbone, d),
        )
        for backbone, own in dimensions.items()
        for d in own
    }


FAMILY = Family(
    title="CosPlace",
    reference="Berton et al.: Rethinking Visual Geo-localization for Large-Scale Applications, CVPR 2022",
    licence="MIT",
    releases=releases("cosplace", {backbone: own[1] for backbone, own in _RELEASED.items()}),
    recognise=recognise,
    config=config,
    name=name,
    form=Form(480, 640),
    input_rule="native size; no resize",
)
