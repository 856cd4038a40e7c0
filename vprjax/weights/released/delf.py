"""DELF (Noh et al. 2017) as a global descriptor: its attention's weighted sum of conv4, L2."""

import re

import numpy as np

from vprjax.data.pictures import Form
from vprjax.models.backbones.resnet50_slim import EPSILON, SCALING, slim_name
from vprjax.models.backbones.variant import Path
from vprjax.weights.released.variant import Arrays, Family, Release

MODEL = {"backbone": "resnet50_slim", "pooling": "delf"}
_ATTENTION = re.compile(r"attention.*/conv1/weights")
_PARTS = {"kernel": "weight", "bias": "bias"}


def _recognise(names: frozenset[str]) -> bool:
    return "resnet_v1_50/conv1/weights" in names and any(map(_ATTENTION.fullmatch, names))


def _prepare(arrays: Arrays) -> Arrays:
    """Brings kernels to PyTorch's layout, and the attention's BatchNorm into its first layer."""
    found = {
        n: a.transpose(3, 2, 0, 1) if n.endswith("/weights") and a.ndim == 4 else a
        for n, a in arrays.items()
    }
    first = min(filter(_ATTENTION.fullmatch, found))
    scope = first.removesuffix("conv1/weights")
    weight = np.asarray(found.pop(first), np.float64)[:, :, 0, 0]
    if f"{scope}conv1/BatchNorm/gamma" in found:
        gamma, beta, mean, var = (
            np.asarray(found.pop(f"{scope}conv1/BatchNorm/{leaf}"), np.float64)
            for leaf in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        a = gamma / np.sqrt(var + EPSILON)
        weight, bias = weight * a[:, None], beta - mean * a
    else:
        bias = found.pop(f"{scope}conv1/biases")
    own = {
        "conv1.weight": weight.astype(np.float32),
        "conv1.bias": np.asarray(bias, np.float32),
        "conv2.weight": found.pop(f"{scope}conv2/weights")[:, :, 0, 0],
        "conv2.bias": found.pop(f"{scope}conv2/biases"),
    }
    return found | {f"attention.{name}": array for name, array in own.items()}


def _name(path: Path) -> str:
    """Returns the name of a variable's array."""
    if path[1] == "backbone":
        return slim_name((path[0], *path[2:]))
    return f"attention.{path[3]}.{_PARTS[path[4]]}"


def _config(arrays: Arrays) -> dict:
    return {**MODEL, "delf.hidden": len(arrays["attention.conv1.bias"])}


FAMILY = Family(
    title="DELF",
    reference="Noh et al.: Large-Scale Image Retrieval with Attentive Deep Local Features, ICCV 2017",
    licence="Apache-2.0",
    releases={
        f"delf_{name}": Release(f"{folder}/variables/variables.index", 1024, 9.1, MODEL)
        for name, folder in (("gld", "delf_gld_20190411"), ("v1", "delf_v1_20171026"))
    },
    recognise=_recognise,
    config=_config,
    name=_name,
    prepare=_prepare,
    unused=r"global_step|resnet_v1_50/(block4|logits)/.*|attention_block/.*",
    form=Form(480, 640),
    input_rule="native size; no resize",
    preprocess=SCALING,
)
