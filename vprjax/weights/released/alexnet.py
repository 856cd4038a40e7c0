"""AlexNet's conv3 (Suenderhauf et al. 2015): the map of a classifier's third convolution, flattened, L2."""

from vprjax.data.pictures import Form
from vprjax.models.backbones import alexnet, alexnet_caffe, caffe, caffenet
from vprjax.models.backbones.sources import IMAGENET
from vprjax.models.backbones.variant import Path
from vprjax.weights.released.variant import Arrays, Family, Release, flipped

_REFERENCE = (
    "Suenderhauf et al.: On the Performance of ConvNet Features for Place Recognition, IROS 2015"
)
_LAYERS = frozenset((*(f"conv{i}.weight" for i in range(1, 6)), "fc6.weight"))
_OTHERS = {"conv6.weight", "classifier.weight"}  # of HybridNet and OverFeat


def model(backbone: str, stage: str = "conv3") -> dict:
    """Returns the `model` keys of a network's map as it is."""
    return {"backbone": backbone, "stage": stage, "pooling": "flatten"}


def own(path: Path) -> Path:
    """Returns a backbone's own path of a model's variable."""
    return (path[0], *path[2:])


def _is_torchvision(names: frozenset[str]) -> bool:
    convolutions = {f"features.{number}.weight" for number in alexnet.NUMBERS.values()}
    return {name for name in names if name.startswith("features.") and "weight" in name} == (
        convolutions
    )


def _pools_first(arrays: Arrays) -> bool:
    at = [arrays.get(caffe.ORDER + layer) for layer in ("pool1", "norm1")]
    return None not in (at[0], at[1]) and at[0] < at[1]


def _caffe(arrays: Arrays) -> dict:
    return model("caffenet" if _pools_first(arrays) else "alexnet_caffe")


def _prepare(arrays: Arrays) -> Arrays:
    of = caffenet if _pools_first(arrays) else alexnet_caffe
    order = {name: array for name, array in arrays.items() if name.startswith(caffe.ORDER)}
    return {**flipped(of.prepare(arrays), "conv1.weight"), **order}


TORCHVISION = Family(
    title="AlexNet conv3",
    reference=_REFERENCE,
    licence="BSD-3-Clause",
    # The map before its ReLU, as VPR_Tutorial takes it.
    releases={
        "alexnet_conv3": Release(
            "alexnet-owt-7be5be79.pth", 64_896, 1.0, model("alexnet", "conv3_linear")
        )
    },
    recognise=_is_torchvision,
    config=lambda arrays: model("alexnet", "conv3_linear"),
    name=lambda path: alexnet.torch_name(own(path)),
    unused=r"(features|classifier)\.\d+\.(weight|bias)",
    form=Form(224, 224),
    input_rule="224x224, stretched",
    preprocess=IMAGENET,
)
CAFFE = Family(
    title="AlexNet conv3 (Caffe)",
    reference=_REFERENCE,
    licence="unrestricted, says the model zoo of Caffe",
    releases={
        f"{name}_conv3": Release(file, 64_896, 1.2, model(name))
        for name, file in (
            ("alexnet_caffe", "bvlc_alexnet.caffemodel"),
            ("caffenet", "bvlc_reference_caffenet.caffemodel"),
        )
    },
    recognise=lambda names: names >= _LAYERS and not names & _OTHERS,
    config=_caffe,
    name=lambda path: caffe.name(own(path)),
    prepare=_prepare,
    unused=r"(conv[45]|fc[678]\w*)\.(weight|bias)",
    form=Form(227, 227),
    input_rule="227x227, stretched",
    preprocess=caffe.ILSVRC,
)
