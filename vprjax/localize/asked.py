"""What a map is asked: pictures, or descriptors."""

import os
from collections.abc import Iterable

import numpy as np

from vprjax.errors import ConfigError, DataError


def is_one(images) -> bool:
    """Whether this is one picture, not several."""
    if isinstance(images, np.ndarray):
        return images.ndim == 3
    return isinstance(images, str | os.PathLike) or not isinstance(images, Iterable)


def check_k(k) -> None:
    """Raises DataError where a number of places is none, before anything is described."""
    if not isinstance(k, int | np.integer) or isinstance(k, bool) or k < 1:
        raise DataError(f"k is {k!r}; give a whole number, 1 or more")


def rows(descriptors, known: tuple[int, int]) -> np.ndarray:
    """The descriptors `(q, d)` of queries to a map whose own have the shape `known`.

    Raises:
      ConfigError: they are no float array `(q, d)`, or hold NaN or infinity.
      DataError: they have another number of dimensions.
    """
    if not hasattr(descriptors, "__array__"):
        raise ConfigError(
            f"descriptors are a {type(descriptors).__name__}: give a float array (q, d), such as "
            "model.describe returns"
        )
    found = np.asarray(descriptors)
    if found.ndim != 2 or not np.issubdtype(found.dtype, np.floating):
        advice = ", one descriptor as descriptor[None]" if found.ndim == 1 else ""
        raise ConfigError(
            f"descriptors are {found.dtype} {found.shape}: give a float array (q, d){advice}"
        )
    if found.shape[1] != known[1]:
        raise DataError(
            f"descriptors {found.shape} do not fit the map's {known}: describe with the map's own model"
        )
    wrong = np.flatnonzero(~np.isfinite(found).all(axis=1))
    if len(wrong):
        raise ConfigError(
            f"{len(wrong):,} of {len(found):,} descriptors hold NaN or infinity, the first at row "
            f"{wrong[0]}: leave them out"
        )
    return found
