"""Similarity of many descriptors to many others, as matrix products on the device in bounded blocks."""

import jax
import jax.numpy as jnp
import numpy as np

from vprjax.retrieval.scan import dot

BLOCK_BYTES = 1 << 28


def similarities(
    queries: np.ndarray, others: np.ndarray, block_bytes: int = BLOCK_BYTES
) -> np.ndarray:
    """Dot products `(q, n)` float32 of `queries (q, d)` and `others (n, d)`, unit descriptors.

    Plain float32, unlike `retrieval.nearest`, whose exact ranking of every candidate costs more than
    mining gains from it. `others` pass over the device in blocks of at most `block_bytes`, all of one
    shape, so that one size compiles once.
    """
    rows = max(1, min(len(others), block_bytes // (4 * others.shape[1])))
    on_device = jnp.asarray(queries, jnp.float32)
    found = np.empty((len(queries), len(others)), np.float32)
    for first in range(0, len(others), rows):
        # The last block reaches back over the one before, so that it has the same shape.
        first = min(first, len(others) - rows)
        found[:, first : first + rows] = _products(on_device, others[first : first + rows])
    return found


_products = jax.jit(dot)
