"""Pretrained weights of a backbone -> variables, with a strict report of its arrays.

    loaded = load("resnet50.safetensors", "resnet50")
    variables = insert(variables, loaded)

A file's family decides its names, its layout and its preprocessing. The backbone's own file states
names and preprocessing. The preprocessing travels with the weights (collection "preprocess").
"""

import collections
import pathlib
import re
from collections.abc import Collection, Iterable, Mapping

import jax.numpy as jnp
import numpy as np
from absl import logging
from flax import traverse_util

from vprjax.console import log
from vprjax.errors import WeightsError
from vprjax.models.backbones import BACKBONES
from vprjax.models.backbones.low_rank import ADDED
from vprjax.models.backbones.variant import Backbone, Path
from vprjax.weights import files
from vprjax.weights.hub import resolve
from vprjax.weights.names import convert, names_and_shapes, unsound

Arrays = Mapping[str, np.ndarray]  # of a file, by name


def load(path: str, backbone: str, partial: bool = False, arrays: Arrays | None = None) -> dict:
    """Reads the weights of a whole backbone, as NumPy arrays.

    Args:
      path: `.safetensors`, `.pth`, `.pt`, `.pth.tar` or `.ckpt` with torchvision or timm names; Keras
        `.h5`, `.weights.h5` or `.keras`; `.npz` with Keras names; `.caffemodel`; OverFeat's `net_weight_0`
        and `net_weight_1`; or a Hugging Face hub id with its revision, `timm/resnet50.tv_in1k@<commit>`.
        Every name may have one common prefix.
      backbone: a name of `models.BACKBONES`.
      partial: returns only the layers in the file; missing ones are no error.
      arrays: the file's, where they are read already.

    Returns:
      `{"params": ..., "batch_stats": ..., "preprocess": {"mean": (3,), "std": (3,)}}`, the trees
      *without* the level "backbone". `models.backbone(name)` applies them as they are; `insert` places
      them into a descriptor.

    Raises:
      WeightsError: the file is unreadable or of another backbone. The error lists all missing, extra,
        mis-shaped and unsound arrays.
    """
    if backbone not in BACKBONES:
        raise WeightsError(f"backbone {backbone!r} is not known; known: {', '.join(BACKBONES)}")
    file, variant = resolve(path), BACKBONES[backbone]
    source = files.source(file)
    _check_source(file, backbone, source)
    if arrays is None:
        arrays = files.read(file, f"backbone {backbone}")
    try:
        arrays = variant.sources[source].prepare(arrays)
    except ValueError as e:
        raise WeightsError(f"{file} does not fit backbone {backbone}: {e}") from e
    arrays = _unwrapped(file, backbone, source, arrays, partial)
    _check_keys(file, backbone, source, arrays, partial)
    names = names_and_shapes(backbone, source)
    flat = {p: convert(p, arrays[n], source) for p, (n, _) in names.items() if n in arrays}
    if variant.sources[source].flip_first:
        _flip_first(flat, variant)
    scaling = variant.sources[source].preprocess
    scaling = scaling(arrays) if callable(scaling) else scaling
    statistics = {("preprocess", k): np.array(v, np.float32) for k, v in scaling.items()}
    return traverse_util.unflatten_dict(flat | statistics)


def recognise(path: str, arrays: Arrays | None = None) -> str:
    """Returns the name of the backbone whose arrays a weights file holds, all or most of them.

    Vision transformers of several sizes share names, so shapes count too. Of two backbones that the file
    fits alike, the one with more arrays has it: a ResNet101 has every name of a ResNet50. `arrays` are the
    file's, where they are read already.

    Raises:
      WeightsError: the file is unreadable or of no backbone.
    """
    file = resolve(path)
    source = files.source(file)
    known = {name: v for name, v in BACKBONES.items() if source in v.sources}
    if arrays is None:
        arrays = files.read(file, f"backbone {' or '.join(known)}")
    shares = {}
    for name, variant in known.items():
        try:
            prepared = variant.sources[source].prepare(arrays)
        except ValueError:  # of another network with the same names
            continue
        shaped = [f"{array} {values.shape}" for array, values in prepared.items()]
        table = names_and_shapes(name, source).values()
        expected = {f"{array} {shape}" for array, shape in table}
        held = max(_held(shaped, expected).values(), default=0)
        shares[name] = held / len(expected), held
    best = max(shares, key=lambda name: shares[name], default="")
    if not best or 2 * shares[best][0] < 1:
        raise WeightsError(
            f"{file} holds the arrays of no backbone that is known from such files ({', '.join(known)}); "
            f"it has {_some(arrays) or 'none'}"
        )
    return best


def insert(variables: Mapping, loaded: Mapping, partial: bool = False) -> dict:
    """Places `load`'s trees into a descriptor's initialised variables; types stay the variables'.

    A model cut at a stage ignores weights of later layers. With `partial`, layers that `loaded` lacks
    keep their start values, and the log lists them.

    Raises:
      WeightsError: `loaded` lacks layers, or holds those of another backbone.
    """
    gaps = missing(variables, loaded)
    if gaps and not partial:
        raise WeightsError(
            f"the weights lack {len(gaps)} arrays of the backbone (model.partial_weights=True "
            f"starts these from random values): {', '.join(gaps)}"
        )
    if gaps:
        logging.warning("%d arrays stay as initialised: %s", len(gaps), ", ".join(gaps))
    flat = traverse_util.flatten_dict(variables)
    new = traverse_util.flatten_dict(loaded)
    for path, old in flat.items():
        array = new.get(_inner(path))
        if array is not None:
            if array.shape != old.shape:
                raise WeightsError(
                    f"{'/'.join(path)} is {old.shape} in the model but {array.shape} in the "
                    "weights; they belong to another backbone"
                )
            flat[path] = jnp.asarray(array, old.dtype)
    return traverse_util.unflatten_dict(flat)


def missing(variables: Mapping, loaded: Mapping) -> tuple[str, ...]:
    """Returns the names of backbone arrays that `loaded` lacks: `"params/conv5_1/kernel"`."""
    inner = (_inner(path) for path in traverse_util.flatten_dict(variables))
    new = traverse_util.flatten_dict(loaded)
    return tuple("/".join(path) for path in inner if path and path not in new)


def fingerprint(path: str) -> str:
    """Returns the SHA-256 of a weights file, hexadecimal: the weights' id in every result."""
    return files.sha256(resolve(path))


def _check_source(file: pathlib.Path, backbone: str, source: str) -> None:
    """Raises WeightsError where a backbone has no weights in files of this family."""
    variant = BACKBONES[backbone]
    if source in variant.sources:
        return
    known = f"known sources: {', '.join(variant.sources) or 'none'}"
    reason = variant.refused.get(source, f"it has no names for files of {source}; {known}")
    raise WeightsError(f"{file} cannot load into {backbone}: {reason}")


def _flip_first(flat: dict[Path, np.ndarray], variant: Backbone) -> None:
    """Turns BGR to RGB: reverses the input channels of the kernel that takes the image."""
    group = next(iter(variant.stages.values()))[0]
    for path, array in flat.items():
        if path[:2] == ("params", group) and path[-1] == "kernel" and array.shape[2] == 3:
            flat[path] = array[:, :, ::-1, :]


def _unwrapped(
    file: pathlib.Path,
    backbone: str,
    source: str,
    arrays: Mapping[str, np.ndarray],
    partial: bool,
) -> Mapping[str, np.ndarray]:
    """Returns the arrays behind the prefix that holds the backbone: `state_dict.module.`, or none.

    A prefix counts where it holds half the backbone's arrays, or any with `partial`; none is the default.

    Raises:
      WeightsError: several prefixes hold the backbone.
    """
    expected = {name for name, _ in names_and_shapes(backbone, source).values()}
    holds = _held(arrays, expected)
    most = max(holds.values(), default=0)
    if holds[""] == most or (2 * most < len(expected) and not partial):
        return arrays
    best = sorted(prefix for prefix, count in holds.items() if count == most)
    if len(best) > 1:
        raise WeightsError(
            f"{file} holds backbone {backbone} {len(best)} times, behind {', '.join(best)}: save one of "
            "them alone"
        )
    found = {
        name.removeprefix(best[0]): a for name, a in arrays.items() if name.startswith(best[0])
    }
    log(
        f"weights: {len(found)} arrays of {file} lie behind {best[0]!r}; {len(arrays) - len(found)} others "
        "are not read"
    )
    return found


def _held(arrays: Iterable[str], expected: Collection[str]) -> collections.Counter:
    """Counts, by prefix of the arrays' names, those behind it that have an expected name."""
    holds = collections.Counter()
    for name in arrays:
        for cut in (0, *(m.end() for m in re.finditer(r"[./]", name))):
            holds[name[:cut]] += name[cut:] in expected
    return holds


def _some(names: Iterable[str]) -> str:
    """The first names, few enough to read."""
    names = list(names)
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _check_keys(
    file: pathlib.Path,
    backbone: str,
    source: str,
    arrays: Mapping[str, np.ndarray],
    partial: bool,
) -> None:
    """Raises one WeightsError that counts the arrays that do not fit, and names the first of each kind."""
    expected = dict(names_and_shapes(backbone, source).values())
    if not expected.keys() & arrays.keys():
        others = [b for b, v in BACKBONES.items() if source in v.sources and b != backbone]
        fits = [b for b in others if _holds(arrays, b, source)]
        hint = f"; they are of {' or '.join(fits)}" if fits else ""
        raise WeightsError(
            f"{file} holds no weights of backbone {backbone}: none of its {len(arrays)} arrays has "
            f"one of its names; it has {_some(arrays) or 'none'}, expected are {_some(expected)}{hint}"
        )
    head = _head(source)
    problems = {
        "missing": [] if partial else [n for n in expected if n not in arrays],
        "extra": [n for n in arrays if n not in expected and not head.fullmatch(n)],
        "mis-shaped": [
            f"{n} {arrays[n].shape} instead of {shape}"
            for n, shape in expected.items()
            if n in arrays and arrays[n].shape != shape
        ],
    }
    for path, (n, _) in names_and_shapes(backbone, source).items():
        if n in arrays and (words := unsound(path, arrays[n])):
            problems.setdefault(words, []).append(n)
    kinds = [f"{kind} ({len(v)}): {_some(v)}" for kind, v in problems.items() if v]
    if kinds:
        raise WeightsError(
            f"{file} does not fit backbone {backbone}: {'; '.join(kinds)}; it has {_some(arrays)}, "
            f"expected are {_some(expected)}"
        )


def _head(source: str) -> re.Pattern:
    """Returns a pattern of all backbones' classifier arrays: a file may carry another backbone's."""
    heads = [v.sources[source].head for v in BACKBONES.values() if source in v.sources]
    return re.compile("|".join(filter(None, heads)))


def _holds(arrays: Mapping[str, np.ndarray], backbone: str, source: str) -> bool:
    return all(name in arrays for name, _ in names_and_shapes(backbone, source).values())


def _inner(path: Path) -> Path:
    """Turns a descriptor's variable path into `load`'s; () where a file holds nothing of it."""
    if path[0] == "preprocess":
        return path
    if path[-1] in ADDED:  # no file holds them
        return ()
    return (path[0], *path[2:]) if path[1] == "backbone" else ()
