"""What training scripts put around a released model's state dict and in front of its names."""

import pathlib
import re

from vprjax.console import log
from vprjax.errors import WeightsError
from vprjax.weights.released import FAMILIES
from vprjax.weights.released.variant import Arrays

# Levels around a state dict; what stands beside them is no weights.
_WRAPPERS = ("state_dict.", "model_state_dict.")
_PARALLEL = "module."
_NESTED = 3  # further levels, of any name
BESIDE = ("meta.", "preprocess.", "pca.")  # what a family may need of it all the same


def recognised(arrays: Arrays) -> list[str]:
    """Returns the families that arrays are of, by their names."""
    names = frozenset(arrays)
    return [name for name, family in FAMILIES.items() if family.recognise(names)]


def unwrapped(file: pathlib.Path, arrays: Arrays) -> Arrays:
    """Returns a file's state dict without what a training script put around it and in front of its names.

    Arrays below `meta`, `preprocess` and `pca` beside it stay, under their own names.

    Raises:
      WeightsError: it holds several models.
    """
    beside = {name: array for name, array in arrays.items() if name.startswith(BESIDE)}
    arrays = {name: array for name, array in arrays.items() if name not in beside}
    for wrapper in _WRAPPERS:
        arrays = _behind(wrapper, arrays) or arrays
    if all(name.startswith(_PARALLEL) for name in arrays):
        arrays = _behind(_PARALLEL, arrays)
    arrays = {**arrays, **beside}
    if recognised(arrays) or not (prefix := _prefix(file, arrays)):
        return arrays
    found = _behind(prefix, arrays)
    log(
        f"weights: {len(found)} arrays of {file.name} lie behind {prefix!r}; "
        f"{len(arrays) - len(found)} others are not read"
    )
    return {**found, **beside}


def _prefix(file: pathlib.Path, arrays: Arrays) -> str:
    """Returns what stands in front of a released model's names, `model.state_dict.`; "" for none.

    Raises:
      WeightsError: several prefixes have a model behind them.
    """
    level = {""}
    for _ in range(_NESTED):
        inner = [re.compile(rf"{re.escape(prefix)}[^.]+\.") for prefix in level]
        level = {m[0] for pattern in inner for name in arrays if (m := pattern.match(name))}
        able = sorted(prefix for prefix in level if recognised(_behind(prefix, arrays)))
        if len(able) > 1:
            raise WeightsError(
                f"{file} holds released models behind {', '.join(able)}: save one of them alone"
            )
        if able:
            return able[0]
    return ""


def _behind(prefix: str, arrays: Arrays) -> Arrays:
    return {n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)}
