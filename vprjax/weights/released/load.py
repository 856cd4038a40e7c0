"""Reads a released model's file to the `model` section and its variables."""

import dataclasses
import pathlib
import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from flax import traverse_util

from vprjax import models
from vprjax.console import log
from vprjax.errors import WeightsError
from vprjax.models.backbones import BACKBONES
from vprjax.models.backbones.variant import Path
from vprjax.models.heads import HEADS
from vprjax.variants import defaults
from vprjax.weights import files, pretrained
from vprjax.weights.hub import resolve
from vprjax.weights.names import torch_array, torch_shape, unsound
from vprjax.weights.released import FAMILIES
from vprjax.weights.released.variant import Arrays, Family, Release
from vprjax.weights.released.wrapped import BESIDE, recognised, unwrapped


@dataclasses.dataclass(frozen=True)
class Released:
    """A released model's file, read.

    Attributes:
      family: a key of `FAMILIES`.
      title: the family's; of all that share the layout, joined by "or", where the file's name says none.
      config: the `model` section.
      variables: NumPy arrays, as `models.build(config)` takes them.
      unused: names of the file's arrays that no descriptor needs.
    """

    family: str
    title: str
    config: ml_collections.ConfigDict
    variables: dict
    unused: tuple[str, ...]


def load_released(path: str) -> tuple[Any, dict]:
    """Returns the module and the variables of a released model's file.

    `module.apply(variables, images)` takes RGB images `(b, h, w, 3)`, 0..255, uint8 or float, and returns
    descriptors `(b, d)` equal to those of the original code; the resize to its size comes before.

    Raises:
      WeightsError: the file is unreadable, of no known family, or its arrays do not fit.
    """
    released = read(path)
    return models.build(released.config), released.variables


def read(path: str) -> Released:
    """Reads a released model's file; see `load_released`."""
    file = resolve(path)
    arrays = files.read(file, "a released model")
    found = find(file, arrays)
    if found is None:
        raise WeightsError(
            f"{path} is no released model that is known (python -m vprjax.weights list names all): it has "
            f"{_some(sorted(arrays)) or 'no arrays'}, a CosPlace file has backbone.0.weight, "
            f"aggregation.1.p{_as_backbone(path, arrays)}"
        )
    return found


def _as_backbone(path: str, arrays: Arrays) -> str:
    """Says in a clause which backbone a file's arrays are, which any config may start from; "" for none."""
    try:
        backbone = pretrained.recognise(path, arrays)
    except WeightsError:
        return ""
    return f"; it holds the backbone {backbone} alone, which another config takes as model.weights"


def find(file: pathlib.Path, arrays: Arrays) -> Released | None:
    """Takes a released model from its file's arrays; None where it is none, as a backbone's weights are.

    Raises:
      WeightsError: the arrays of a released model do not fit.
    """
    arrays = unwrapped(file, arrays)
    able = recognised(arrays)
    able = [name for name in able if name in file.name.lower()] or able
    return _fill(file, able, arrays) if able else None


def dimension(found: Released) -> int:
    """Returns the dimensions of a released model's descriptors."""
    form = FAMILIES[found.family].form
    image = jax.ShapeDtypeStruct((1, form.height, form.width, 3), jnp.uint8)
    module = models.build(found.config)
    return jax.eval_shape(module.apply, found.variables, image).shape[-1]


def other_size(found: Released, height: int, width: int) -> str:
    """Says in one sentence that a dataset's images have another size than the authors'; "" if not."""
    family = FAMILIES[found.family]
    if (height, width) == (family.form.height, family.form.width):
        return ""
    return (
        f"the network sees images of {height} x {width} pixels (height x width), as the dataset stores "
        f"them; {found.title}'s rule is {family.form.height} x {family.form.width} "
        f"({family.input_rule}), and another size changes every figure"
    )


def start_of(found: Released, model_config) -> dict:
    """Returns what `initialise` takes from the released file `model.weights`.

    Beside a backbone's trees, as of `pretrained.load`, it holds "head": the variables of the pooling and
    the projection, where the config asks for the file's own.

    Raises:
      WeightsError: the file has another backbone than the config.
    """
    title, own = found.title, found.config
    if own.backbone != model_config.backbone:
        raise WeightsError(
            f"{model_config.weights} is of {title} with backbone {own.backbone}, not "
            f"{model_config.backbone}: set model.backbone={own.backbone!r} or take {_config_of(found)}"
        )
    v = found.variables
    start = {kind: arrays["backbone"] for kind, arrays in v.items() if kind != "preprocess"}
    start["preprocess"] = v["preprocess"]
    if not other_head(found, model_config):
        start["head"] = {k: tree for k, tree in v["params"].items() if k != "backbone"}
    return start


def lacks_layers(found: Released, model_config) -> bool:
    """Whether a config takes its backbone at a later stage than the released model, which is cut before."""
    if found.config.backbone != model_config.backbone:
        return False
    stages = BACKBONES[model_config.backbone].stages
    names = [*stages]
    before = names[: names.index(model_config.stage or names[-1]) + 1]
    needed = {group for stage in before for group in stages[stage]}
    return not needed <= found.variables["params"]["backbone"].keys()


def other_head(found: Released, model_config) -> str:
    """Says in one sentence that a config asks for another head than the file's; "" where it does not.

    A config from JSON has lists for tuples; keys that only training reads make no other head.
    """
    own = found.config
    last = [*BACKBONES[own.backbone].stages][-1]

    def values(config) -> dict[str, Any]:
        head = HEADS[own.pooling].keys.items()
        return {
            "stage": config.stage or last,
            "pooling": config.pooling,
            "norms": tuple(config.norms),
            "projection": config.projection,
            **{f"{own.pooling}.{k}": config[own.pooling][k] for k, key in head if not key.free},
        }

    file, asked = values(own), values(model_config)
    key = next((key for key in file if file[key] != asked[key]), "")
    if not key:
        return ""
    return (
        f"{model_config.weights} gives its backbone alone, and {found.title}'s head is left out: "
        f"model.{key}={asked[key]!r} differs from the file's {file[key]!r}; {_config_of(found)} has it"
    )


def _config_of(found: Released) -> str:
    """Returns the config that has a file's model, by a release's name where it is one."""
    names = released_as(found)
    return f"configs/released.py:{names[0]}" if names else "configs/released.py"


def released_as(found: Released) -> list[str]:
    """Returns the names of the releases that have a file's `model` section."""
    return [
        name
        for family in FAMILIES.values()
        if family.title in found.title.split(" or ")  # projects that share the layout
        for name, release in family.releases.items()
        if _same(release, found.config)
    ]


def _same(release: Release, config) -> bool:
    """Whether a file's `model` section is that of a release."""
    for key, value in release.model.items():
        of = config
        for part in key.split("."):
            of = of[part]
        if (tuple(of) if isinstance(of, tuple | list) else of) != value:
            return False
    return True


def section(keys: Mapping[str, Any]) -> ml_collections.ConfigDict:
    """Returns the `model` section of a released model's keys, `{"projection": 512, "gem.p": 3.0}`."""
    config = ml_collections.ConfigDict(
        {
            "stage": "",
            "train_from": "",
            "batch_norm": "frozen",
            "weights": "",
            "released": "",
            "partial_weights": False,
            **defaults(HEADS),
            "norms": models.USUAL_NORMS,
            "scales": models.multi_scale.ONE,
            "scales_power": 1.0,
            "projection": 0,
            "projection_start": "pca",
            "compute_dtype": "float32",
            "lora_rank": 0,
            "remat": False,
        }
    )
    for key, value in keys.items():
        inner, _, last = key.rpartition(".")
        (config[inner] if inner else config)[last] = value
    return config


def _fill(file: pathlib.Path, able: list[str], arrays: Arrays) -> Released:
    """Fits the file's arrays into the module's variables, every one of them.

    The families that are `able` to read it share their layout, so that the first reads it.
    """
    name, family = able[0], FAMILIES[able[0]]
    title = " or ".join(FAMILIES[other].title for other in able)
    try:
        prepared = family.prepare(arrays)
        config = section({**family.config(prepared), "weights": str(file)})
        shapes, expected = _layout(family, config)
    except Exception as e:  # arrays that are missing or mis-shaped make a family raise anything
        cause = f"{e.args[0]} is missing" if isinstance(e, KeyError) else _first_line(e)
        cause = str(e) if isinstance(e, WeightsError) else cause
        raise WeightsError(
            f"{file} is no sound {title} file: {cause}; {_usual(family, arrays)}"
        ) from e
    problem = _misfit(family, shapes, expected, prepared)
    if problem:
        raise WeightsError(f"{file} is no sound {title} file: {problem}")
    flat = {
        path: torch_array(path, prepared[array]).reshape(shapes[path].shape)
        for path, array in expected.items()
    }
    scaling = _scaling(family, prepared)
    if not (np.isfinite([scaling["mean"], scaling["std"]]).all() and scaling["std"].all()):
        raise WeightsError(
            f"{file} is no sound {title} file: the mean of its images is {scaling['mean'].tolist()}, their "
            f"deviation {scaling['std'].tolist()}, but 0 or an infinite one scales none"
        )
    flat |= {("preprocess", k): array for k, array in scaling.items()}
    unused = tuple(sorted(set(prepared) - {*expected.values(), *family.scaling}))
    told = [n for n in unused if not n.endswith("num_batches_tracked")]
    told = [n for n in told if not n.startswith(BESIDE)]
    if told:
        log(
            f"weights: {file.name} holds arrays that no descriptor needs ({len(told)}): {_some(told)}"
        )
    return Released(name, title, config, traverse_util.unflatten_dict(flat), unused)


def _scaling(family: Family, arrays: Arrays) -> dict[str, np.ndarray]:
    """Returns the mean and deviation of images, the file's own where the family reads them."""
    found = family.preprocess(arrays) if callable(family.preprocess) else family.preprocess
    return {name: np.array(value, np.float32) for name, value in found.items()}


def _layout(family: Family, config) -> tuple[dict[Path, Any], dict[Path, str]]:
    """Returns the shapes of a module's variables, and the names of their arrays in the prepared file."""
    image = jax.ShapeDtypeStruct((1, family.form.height, family.form.width, 3), jnp.float32)
    module = models.build(config)
    shapes = traverse_util.flatten_dict(jax.eval_shape(module.init, jax.random.key(0), image))
    return shapes, {path: family.name(path) for path in shapes if path[0] != "preprocess"}


def _first_line(error: Exception) -> str:
    return f"no network has arrays of these shapes ({str(error).partition(chr(10))[0]})"


def _usual(family: Family, arrays: Arrays) -> str:
    """Says which arrays a file has, and which the family's release that is most like it has."""
    one_each = {release.model["backbone"]: release for release in family.releases.values()}
    names = {
        release.file: _layout(family, section(release.model))[1].values()
        for release in one_each.values()
    }
    like = max(names, key=lambda file: sum(name in arrays for name in names[file]))
    unused = re.compile(family.unused)
    unknown = [n for n in sorted(arrays) if n not in set(names[like]) and not unused.fullmatch(n)]
    missing = [name for name in names[like] if name not in arrays]
    return (
        f"it has {_some([*unknown, *sorted(arrays)])}, {like} has {_some([*missing, *names[like]])}"
    )


def _misfit(
    family: Family, shapes: Mapping[Path, Any], expected: Mapping[Path, str], arrays: Arrays
) -> str:
    """Says in one clause which arrays are missing, unknown, mis-shaped or no sound numbers; "" for none."""
    needed = {*expected.values(), *family.scaling}
    missing = [n for n in (*expected.values(), *family.scaling) if n not in arrays]
    unused = re.compile(family.unused)
    extra = [n for n in arrays if n not in needed and not unused.fullmatch(n)]
    extra = [n for n in extra if not n.startswith(BESIDE)]
    if missing or extra:
        return (
            f"{len(missing)} arrays are missing ({_some(missing) or 'none'}) and {len(extra)} are unknown; "
            f"it has {_some([*sorted(extra), *sorted(arrays)])}, expected are "
            f"{_some([*missing, *expected.values()])}"
        )
    for path, n in expected.items():
        shape = torch_shape(path, shapes[path].shape)
        if arrays[n].shape != shape and (arrays[n].size != np.prod(shape) or path[-1] == "kernel"):
            return f"{n} has shape {arrays[n].shape}, expected {shape}"
        if words := unsound(path, arrays[n]):
            return f"{n} holds {words}"
        if path[-2:] == ("pooling", "p") and (arrays[n] <= 0).any():
            return f"{n} is GeM's exponent and must be above 0"
    return ""


def _some(names, most: int = 2) -> str:
    names = list(dict.fromkeys(names))
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
