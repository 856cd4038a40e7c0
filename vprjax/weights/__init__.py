"""Weights: readers of files, starts, and released models."""

from vprjax.weights.released.load import load_released

__all__ = ["load_released"]
