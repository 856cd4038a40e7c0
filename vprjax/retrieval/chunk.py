"""Bounds of a chunk of queries' distances to the references that they share, by matrix products.

Queries of a chunk are often of one place and share candidates: one product then takes less time than a
distance per candidate.
"""

import math

import jax
import numpy as np

from vprjax.retrieval import encode
from vprjax.retrieval.encode import EPS, LANES, TINY, rounding, squared_norms
from vprjax.retrieval.rows import Rows

SHORT, LONG = 256, 64  # queries of a chunk, of few and of many dimensions
DIMENSIONS = 4096  # from which on there are many
UNION = 4 << 20  # numbers of the rows that one product takes


def size(d: int) -> int:
    """Queries of a chunk."""
    return SHORT if d < DIMENSIONS else LONG


def bounds(queries: np.ndarray, references: Rows, union: np.ndarray) -> np.ndarray:
    """Lower bounds `(n, u)` float64 of squared distances of n queries to the references `union` `(u,)`.

    Products of at most `LANES` dimensions each are added up in float64, so that long rows lose no more than
    short ones. Subtracting the queries' mean from both sides keeps distances and shrinks the errors, which
    grow with the norms.
    """
    n, d = queries.shape
    blocks = math.ceil(d / LANES)
    mean, most = queries.mean(axis=0), max(1, min(SHORT, UNION // d))
    rows, centred = np.empty((most, d), np.float32), queries - mean
    own, out = squared_norms(centred)[:, None], np.empty((n, len(union)))
    left = _Cut(size(d), d, blocks).of(centred)  # one shape compiles once
    right = _Cut(most, d, blocks)
    for first in range(0, len(union), most):
        part = union[first : first + most]
        found = rows[: len(part)]
        references.gather(part, found)
        found -= mean
        norms = squared_norms(found)[None, :]
        products = np.asarray(_products(left, right.of(found)))[:, :n, : len(part)]
        squared = own + norms - 2 * products.sum(axis=0, dtype=np.float64)
        error = missed(right.width, own, norms) + 4 * TINY * d
        out[:, first : first + len(part)] = squared - error
    return out


def missed(d: int, own: np.ndarray, norms: np.ndarray) -> np.ndarray:
    """Bound on the error of `|q|^2 + |r|^2 - 2 q r` of shifted rows, from the squared norms."""
    return (rounding(d) + 4 * EPS) * (np.sqrt(own) + np.sqrt(norms)) ** 2 + 4 * TINY * d


class _Cut:
    """Rows `(n, d)` as `(blocks, most, width)`, filled up with zeros."""

    def __init__(self, most: int, d: int, blocks: int):
        self.width = math.ceil(d / blocks)
        self._values = encode.aligned((blocks, most, self.width), np.float32)
        self._values[:] = 0

    def of(self, rows: np.ndarray) -> np.ndarray:
        """The same array at every call; rows of an earlier call may follow."""
        for number, block in enumerate(self._values):
            piece = rows[:, number * self.width : (number + 1) * self.width]
            block[: len(rows), : piece.shape[1]] = piece
        return self._values


@jax.jit
def _products(queries: jax.Array, references: jax.Array) -> jax.Array:
    """Products `(b, n, l), (b, m, l) -> (b, n, m)`."""
    kind = (((2,), (2,)), ((0,), (0,)))
    return jax.lax.dot_general(queries, references, kind, precision=jax.lax.Precision.HIGHEST)
