"""Dot products of many descriptors with many others, on the device in bounded blocks."""

import jax
import jax.numpy as jnp
import numpy as np

from vprjax.retrieval.product import dot

BLOCK_BYTES = 1 << 28


def similarities(
    queries: np.ndarray, others: np.ndarray, block_bytes: int = BLOCK_BYTES
) -> np.ndarray:
    """Dot products `(q, n)` float32 of unit descriptors `queries (q, d)` and `others (n, d)`.

    Mining gains nothing from `retrieval.nearest`'s exact ranking. `others` cross the device in blocks of at
    most `block_bytes` and of one shape, so that one size compiles once.
    """
    rows = max(1, min(len(others), block_bytes // (4 * others.shape[1])))
    on_device = jnp.asarray(queries, jnp.float32)
    found = np.empty((len(queries), len(others)), np.float32)
    for first in range(0, len(others), rows):
        # The last block overlaps the one before and so has the same shape.
        first = min(first, len(others) - rows)
        found[:, first : first + rows] = products(on_device, others[first : first + rows])
    return found


@jax.jit
def products(queries: jax.Array, others: jax.Array) -> jax.Array:
    """Dot products `(q, n)` float32 of one block; each shape compiles once."""
    return dot(queries, others)
