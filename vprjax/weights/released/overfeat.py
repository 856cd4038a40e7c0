"""OverFeat (Sermanet et al. 2014): the 4,096 numbers before the classifier, L2."""

import functools

from vprjax.data.pictures import Form
from vprjax.models.backbones import caffe, overfeat, overfeat_accurate, overfeat_fast
from vprjax.models.backbones.stack import Step
from vprjax.models.backbones.variant import Backbone, Path
from vprjax.weights.released.variant import Family, Release


def _name(path: Path) -> str:
    """Returns the name of a variable's array."""
    return caffe.name((path[0], *path[2:]))


def _family(
    name: str, file: str, side: int, parameters: float, backbone: Backbone, steps: tuple[Step, ...]
) -> Family:
    source = backbone.sources["overfeat"]
    keys = {"backbone": name, "pooling": "flatten"}
    raw = overfeat.raw_name(overfeat.numbers(steps))
    return Family(
        title=backbone.title,
        reference="Sermanet et al.: OverFeat, Integrated Recognition, Localization and Detection using "
        "Convolutional Networks, ICLR 2014",
        licence="its own, for research",
        releases={name: Release(file, 4096, parameters, keys)},
        recognise=lambda names: raw in names or set(overfeat.layout(steps)) <= names,
        config=lambda arrays: keys,
        name=_name,
        prepare=functools.partial(overfeat.prepare, steps=steps),
        unused=source.head,
        form=Form(side, side),
        input_rule=f"{side}x{side}, stretched",
        preprocess=source.preprocess,
    )


FAST = _family(
    "overfeat_fast", "net_weight_0", 231, 141.8, overfeat_fast.BACKBONE, overfeat_fast.STEPS
)
ACCURATE = _family(
    "overfeat_accurate",
    "net_weight_1",
    221,
    140.6,
    overfeat_accurate.BACKBONE,
    overfeat_accurate.STEPS,
)
