"""Weights: readers of files, starts, and released models."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vprjax.weights.released.load import load_released

__all__ = ["load_released"]


def __getattr__(name: str):
    """Imports `load_released` on its first use, so that the catalogue alone stays light."""
    if name not in __all__:
        raise AttributeError(f"module 'vprjax.weights' has no attribute {name!r}")
    return getattr(importlib.import_module("vprjax.weights.released.load"), name)
