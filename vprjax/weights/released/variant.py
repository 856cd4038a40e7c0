"""The declarations of a family of released models' file."""

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from vprjax.data.pictures import Form
from vprjax.models.backbones.sources import IMAGENET
from vprjax.models.backbones.variant import Path, Scaling

Arrays = Mapping[str, np.ndarray]  # of a file, by name


@dataclasses.dataclass(frozen=True)
class Release:
    """One released file.

    Attributes:
      file: its name where its authors publish it.
      dimension: of its descriptors.
      parameters: their number, in millions, classifiers and counters left out.
      model: the keys of the `model` section that make its module, `{"projection": 512, "gem.p": 3.0}`.
    """

    file: str
    dimension: int
    parameters: float
    model: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Family:
    """Released models of one project, whose files have one layout.

    `config`, `name` and `prepare` see arrays without a checkpoint's wrappers (`state_dict.`, `module.`).

    Attributes:
      title: its name in tables.
      reference: the paper.
      licence: of the released files.
      releases: the released files by the name that the command line takes.
      recognise: whether a file with arrays of these names is of this family.
      config: the file's arrays, prepared -> the keys of the `model` section, as in `Release`.
      name: path of a variable, `("params", "backbone", "conv1", "conv", "kernel")` -> its array's name in
        the prepared file.
      prepare: the file's arrays -> those that `name` names: joined, renamed, sign or order changed.
      unused: pattern of the names that no descriptor needs.
      form: size and rule of the images at its authors' evaluation.
      input_rule: how its authors bring an image to its size, in words.
      preprocess: the scaling of images, or a function of the file's arrays that returns it.
      scaling: names of the arrays that such a function reads.
    """

    title: str
    reference: str
    licence: str
    releases: Mapping[str, Release]
    recognise: Callable[[frozenset[str]], bool]
    config: Callable[[Arrays], Mapping[str, Any]]
    name: Callable[[Path], str]
    form: Form
    input_rule: str
    prepare: Callable[[Arrays], Arrays] = lambda arrays: arrays
    unused: str = r".*\.num_batches_tracked"
    preprocess: Scaling | Callable[[Arrays], Scaling] = dataclasses.field(
        default_factory=lambda: IMAGENET
    )
    scaling: tuple[str, ...] = ()


def flipped(arrays: Arrays, kernel: str) -> Arrays:
    """Returns the arrays with the kernel `(d, 3, h, w)` that takes the image turned from BGR to RGB."""
    found = arrays.get(kernel)
    return arrays if found is None or found.ndim != 4 else {**arrays, kernel: found[:, ::-1]}


def count(pattern: str, names) -> int:
    """Returns how many different first groups of a pattern the names have: a network's blocks."""
    return len({m[1] for m in map(re.compile(pattern).fullmatch, names) if m})
