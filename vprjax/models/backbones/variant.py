"""The declarations of a backbone's file: the backbone, and its arrays in families of weights files."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from flax import linen as nn

Path = tuple[str, ...]  # in a backbone's own variables: ("params", "conv2_1", "norm1", "scale")
Scaling = Mapping[str, tuple[float, float, float]]  # {"mean": ..., "std": ...}: RGB, 0..255 scale


@dataclasses.dataclass(frozen=True)
class Source:
    """The arrays of a backbone in one family of weights files: "torch", "keras", "caffe" and more.

    Attributes:
      name: path of a variable -> its array's name in the file.
      preprocess: the scaling of images, or a function of the file's arrays that returns it.
      flip_first: whether the first kernel's input channels are BGR.
      head: pattern of the names of a classifier's arrays and counters, which no descriptor needs.
      prepare: the file's arrays -> those that `name` names; it raises ValueError for another network's.
    """

    name: Callable[[Path], str]
    preprocess: Scaling | Callable[[Mapping[str, Any]], Scaling]
    flip_first: bool = False
    head: str = ""
    prepare: Callable[[Mapping[str, Any]], Mapping[str, Any]] = lambda arrays: arrays


@dataclasses.dataclass(frozen=True)
class Backbone:
    """One backbone, `(b, h, w, 3) -> (b, h', w', c)`.

    Attributes:
      title: its name in tables and figures.
      module: makes the Linen module from `stage`, `train_from` and `layers`.
      stages: stage -> its parameter groups, both in the order of computation.
      batch_norm: whether it has BatchNorm.
      sources: family of weights files -> the backbone's arrays there.
      refused: family of weights files that does not fit -> the reason and the remedy.
      class_token: whether its module takes `class_token` and then returns `(map, token (b, c))`.
      low_rank: whether its dense layers take low-rank additions.
      cut_for: image height of a small-image config -> the stage to cut at; else the last stage.
    """

    title: str
    module: Callable[..., nn.Module]
    stages: Mapping[str, tuple[str, ...]]
    batch_norm: bool
    sources: Mapping[str, Source]
    refused: Mapping[str, str] = dataclasses.field(default_factory=dict)
    cut_for: Mapping[int, str] = dataclasses.field(default_factory=dict)
    class_token: bool = False
    low_rank: bool = False
