"""The only file that maps over devices: `jax.pmap` for steps, a mesh for retrieval."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

AXIS = "batch"  # One name for every mapped function: arrays pass between them without a recompile.


def device_count() -> int:
    """Devices of this process that a step is mapped over."""
    return jax.local_device_count()


def map_over_devices(fn: Callable, donate: tuple[int, ...] = ()) -> Callable:
    """`fn` on every device at once, under the axis name `AXIS`.

    Arguments and results carry a leading device axis.

    Arguments numbered in `donate` give their buffers to the result.
    """
    return jax.pmap(fn, axis_name=AXIS, donate_argnums=donate)


def replicate(tree: Any) -> Any:
    """One copy of `tree` a device, as arrays with a leading device axis."""
    n = device_count()
    stacked = jax.tree.map(lambda x: np.broadcast_to(np.asarray(x), (n, *np.shape(x))), tree)
    return map_over_devices(lambda x: x)(stacked)


def unreplicate(tree: Any) -> Any:
    """The first device's copy of a replicated tree."""
    return jax.tree.map(lambda x: x[0], tree)


def split(tree: Any) -> Any:
    """`(b, ...)` host arrays -> `(devices, b / devices, ...)`, rows in order."""
    n = device_count()
    return jax.tree.map(lambda x: x.reshape(n, x.shape[0] // n, *x.shape[1:]), tree)
