"""Deep image retrieval (Revaud et al. 2019): GeM, a linear layer, L2, a PCA's whitening, L2."""

import numpy as np

from vprjax.data.pictures import Form
from vprjax.models.backbones.resnet import torch_name
from vprjax.models.backbones.sources import torch_leaf
from vprjax.models.backbones.variant import Path
from vprjax.weights.released import resnets
from vprjax.weights.released.cirtorch import scaling
from vprjax.weights.released.variant import Arrays, Family, Release

POWER = 0.25  # of the variances, as in the README and in hloc; the code's default is 0.5


def whitening(mean: np.ndarray, components: np.ndarray, variance: np.ndarray, power: float = POWER):
    """Returns `(W, w)` with `W x + w = components (x - mean) / variance^power`; an L2 follows."""
    mean, components, variance = (np.asarray(a, np.float64) for a in (mean, components, variance))
    weight = components / variance[:, None] ** power
    return weight, -(weight @ mean)


def model(backbone: str, linear: int, whitened: int) -> dict:
    """Returns the `model` keys of a network; `whitened` is 0 without a PCA."""
    return {
        "backbone": backbone,
        "pooling": "gem_linear",
        "gem_linear.dimension": linear,
        "projection": whitened,
    }


def _recognise(names: frozenset[str]) -> bool:
    return {"conv1.weight", "adpool.p", "fc.weight"} <= names


def _prepare(arrays: Arrays) -> Arrays:
    """Makes the PCA that lies beside the state dict a layer."""
    found = sorted(n.removesuffix("components_") for n in arrays if n.endswith(".components_"))
    if not found:
        return arrays
    of = next((name for name in found if "Landmarks_clean" in name), found[0])
    fields = (arrays[of + field] for field in ("mean_", "components_", "explained_variance_"))
    weight, bias = whitening(*fields)
    return {**arrays, "pca.weight": weight, "pca.bias": bias}


def _config(arrays: Arrays) -> dict:
    backbone = resnets.backbone_of(arrays, "layer3")
    return model(backbone, len(arrays["fc.weight"]), len(arrays.get("pca.weight", ())))


def _name(path: Path) -> str:
    """Returns the name of a variable's array."""
    if path[1] == "backbone":
        return torch_name((path[0], *path[2:]))
    if path[1] == "projection":
        return f"pca.{torch_leaf(path)}"
    return "adpool.p" if path[-1] == "p" else f"fc.{torch_leaf(path)}"


FAMILY = Family(
    title="Deep image retrieval",
    reference="Revaud et al.: Learning with Average Precision: Training Image Retrieval with a Listwise "
    "Loss, ICCV 2019",
    licence="BSD-3-Clause",
    releases={
        "dir_resnet101_apgem": Release(
            "Resnet-101-AP-GeM.pt", 2048, 50.9, model("resnet101", 2048, 2048)
        )
    },
    recognise=_recognise,
    config=_config,
    name=_name,
    prepare=_prepare,
    form=Form(768, 1024),
    input_rule="native size; in hloc longer side at most 1024, aspect kept, areas averaged",
    preprocess=lambda arrays: scaling(arrays, "preprocess"),
)
