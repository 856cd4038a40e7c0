"""AMOSNet and HybridNet (Chen et al. 2017): the spatial pyramid of conv5, L2."""

from vprjax.data.pictures import Form
from vprjax.models.backbones import caffe, hybridnet
from vprjax.models.backbones.variant import Path
from vprjax.weights.released.variant import Arrays, Family, Release, flipped

MODEL = {"backbone": "hybridnet", "stage": "conv5", "pooling": "spatial_pyramid"}


def _prepare(arrays: Arrays) -> Arrays:
    return flipped(hybridnet.prepare(arrays), "conv1.weight")


def _name(path: Path) -> str:
    """Returns the name of a variable's array."""
    return caffe.name((path[0], *path[2:]))


FAMILY = Family(
    title="AMOSNet, HybridNet",
    reference="Chen et al.: Deep Learning Features at Scale for Visual Place Recognition, ICRA 2017",
    licence="none stated",
    releases={
        name.lower(): Release(f"{name}.caffemodel", 7680, 2.3, MODEL)
        for name in ("AmosNet", "HybridNet")
    },
    recognise=lambda names: {"conv1.weight", "conv6.weight", "fc7_new.weight"} <= names,
    config=lambda arrays: MODEL,
    name=_name,
    prepare=_prepare,
    unused=r"(conv6|fc7_new|fc8_new)\.(weight|bias)",
    form=Form(227, 227),
    input_rule="227x227, stretched",
    preprocess=caffe.ILSVRC,
)
