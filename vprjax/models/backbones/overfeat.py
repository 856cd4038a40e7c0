"""OverFeat (Sermanet et al. 2014): what its two networks share, and the layout of their raw files."""

import functools
from collections.abc import Mapping

import numpy as np

from vprjax.models.backbones import caffe
from vprjax.models.backbones.stack import Stack, Step, stages
from vprjax.models.backbones.variant import Backbone, Source

# Of all channels, on the 0..255 scale.
_SCALING = {"mean": (118.380948,) * 3, "std": (61.896913,) * 3}
CLASSES = 1000


def layout(steps: tuple[Step, ...]) -> dict[str, tuple[int, ...]]:
    """Returns name -> shape of the arrays of a raw file, in its order: a layer's kernel, then its biases.

    The last layer is the classifier.

    Source: the file's readers in sklearn-theano and in ports of OverFeat's own program.
    """
    found, channels = {}, 3
    shapes = [(step.name, step.conv.features, step.conv.size) for step in steps]
    for name, features, size in [*shapes, ("classifier", CLASSES, 1)]:
        found[f"{name}.weight"] = (features, channels, size, size)
        found[f"{name}.bias"] = (features,)
        channels = features
    return found


def numbers(steps: tuple[Step, ...]) -> int:
    """Returns how many numbers a raw file has."""
    return sum(int(np.prod(shape)) for shape in layout(steps).values())


def raw_name(count: int) -> str:
    """Returns the name under which a raw file's numbers are handed over."""
    return f"{count:,} unnamed numbers"


def prepare(arrays: Mapping[str, np.ndarray], steps: tuple[Step, ...]) -> Mapping[str, np.ndarray]:
    """Cuts a raw file's numbers into arrays; others stay as they are."""
    raw = arrays.get(raw_name(numbers(steps)))
    if raw is None:
        return arrays
    found, first = {}, 0
    for name, shape in layout(steps).items():
        count = int(np.prod(shape))
        found[name] = raw[first : first + count].reshape(shape)
        first += count
    return found


def declare(title: str, steps: tuple[Step, ...], cut_for: Mapping[int, str]) -> Backbone:
    """Declares one of the two networks."""
    cut = functools.partial(prepare, steps=steps)
    return Backbone(
        title=title,
        module=functools.partial(Stack, steps),
        stages=stages(steps),
        batch_norm=False,
        sources={
            "overfeat": Source(caffe.name, _SCALING, head=r"classifier\.(weight|bias)", prepare=cut)
        },
        cut_for=cut_for,
    )
