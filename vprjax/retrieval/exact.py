"""Exact squared distances, each from its own two rows: the same to the bit whatever rows stand beside."""

import math
import threading

import numpy as np

from vprjax.retrieval import chunk
from vprjax.retrieval.encode import LANES, TINY, rounding, squared_norms
from vprjax.retrieval.rows import Rows

CACHE_BYTES = 1 << 20  # of one thread and step: after shorter ones it waits for the interpreter
FEWEST_LANES = 64  # numbers per sum, below which calls take longer than sums
FINE = 16  # times a difference's error, up to which a product is as good
PAIRS = 4096  # products of rows whose sums are added up at once


def near(d: int) -> float:
    """Bound, with a margin, of the relative error of a distance over `d` dimensions."""
    return rounding(min(d, LANES)) / 2


class Distances:
    """Squared distances of some queries to chosen references.

    `|q - r|^2 = |q|^2 + |r|^2 - 2 q r` reads each row once and keeps the references' norms. Where two rows
    lie too close together for it, the squares of their differences are added up.
    """

    def __init__(self, queries: np.ndarray, references: Rows):
        """Takes `(n, d)` float32 queries."""
        self._queries, self._references = queries, references
        d = queries.shape[1]
        self._lanes = math.gcd(d, LANES)
        long = d >= chunk.DIMENSIONS and self._lanes >= FEWEST_LANES
        self._multiplies = long and references.in_memory
        self._own = squared_norms(queries) if self._multiplies else None

    def __call__(self, numbers: np.ndarray, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Those of the queries `numbers` `(m,)` to the references `chosen` `(m, c)`, float64 `(m, c)`.

        The second array bounds their errors.
        """
        out, error = np.empty(chosen.shape), np.zeros(chosen.shape)
        if self._multiplies:
            self._multiply(numbers, chosen, out, error)
        else:
            self._gather(numbers, chosen, out, error)
        return out, error

    def _gather(self, numbers, chosen, out, error) -> None:
        """Fills `out` and `error` by rows gathered in one small buffer of this thread.

        Fresh memory per step costs more than the sums.
        """
        (m, c), d = chosen.shape, self._queries.shape[1]
        width = min(c, max(1, CACHE_BYTES // (4 * d)))
        height = max(1, CACHE_BYTES // (4 * d * width))
        room = buffer(height * width * d)
        for top in range(0, m, height):
            for left in range(0, c, width):
                part = slice(top, top + height), slice(left, left + width)
                some = chosen[part]
                rows = room[: some.size * d].reshape(some.size, d)
                self._references.gather(some.ravel(), rows)
                rows, own = rows.reshape(*some.shape, d), numbers[part[0]]
                rows -= self._queries[own, None, :]
                out[part] = squared_norms(rows)
        error[...] = self._error(out)

    def _multiply(self, numbers, chosen, out, error) -> None:
        """Fills `out` and `error` by long rows where they are, one reference after the other."""
        flat, c = chosen.ravel(), chosen.shape[1]
        cut = [self._queries[number].reshape(-1, self._lanes) for number in numbers]
        order, products = np.argsort(flat, kind="stable"), np.empty(chosen.size)
        sums = np.empty((min(PAIRS, chosen.size), len(cut[0])), np.float32)
        places, last = [*sums], None
        for first in range(0, chosen.size, PAIRS):
            some = order[first : first + PAIRS]
            pairs = zip(places, flat[some].tolist(), (some // c).tolist(), strict=False)
            for place, other, number in pairs:
                if other != last:
                    last, row = other, self._references.array[other].reshape(-1, self._lanes)
                np.vecdot(row, cut[number], out=place)
            products[some] = sums[: len(some)].sum(axis=1, dtype=np.float64)
        ours, others = self._own[numbers][:, None], self._references.squared(chosen)
        np.subtract(ours + others, 2 * products.reshape(chosen.shape), out=out)
        relative, left = near(self._queries.shape[1]), buffer(self._queries.shape[1])
        np.multiply(relative, (np.sqrt(others) + np.sqrt(ours)) ** 2, out=error)
        for row, column in np.argwhere(~(error <= FINE * relative * out)):
            other = self._references.array[chosen[row, column]]
            np.subtract(other, self._queries[numbers[row]], out=left)
            out[row, column] = squared_norms(left)
            error[row, column] = self._error(out[row, column])

    def _error(self, squared):
        d = self._queries.shape[1]
        return near(d) * squared + TINY * d


def squared_distances(queries, own, references: Rows, others) -> np.ndarray:
    """Squared L2 distances `(p,)` of pairs, in float64.

    Args:
      queries: `(n, d)` float32.
      own: `(p,)`, the pairs' rows of `queries`.
      references: all references.
      others: `(p,)`, the pairs' references.
    """
    d, out = queries.shape[1], np.empty(len(others))
    step = max(1, min(CACHE_BYTES // (4 * d), len(others)))
    room = buffer(4 * step * d).reshape(4, step, d)
    gap = room[:2].reshape(-1).view(np.float64).reshape(step, d)
    for first in range(0, len(others), step):
        part = slice(first, first + step)
        left, rows, ours = (x[: len(others[part])] for x in (gap, *room[2:]))
        references.gather(others[part], rows)
        np.take(queries, own[part], axis=0, out=ours, mode="clip")
        out[part] = squared_norms(np.subtract(rows, ours, out=left, dtype=np.float64))
    return out


_local = threading.local()


def buffer(size: int) -> np.ndarray:
    """Room for `size` float32 numbers, the same memory at every call of this thread."""
    if getattr(_local, "buffer", np.empty(0)).size < size:
        _local.buffer = np.empty(size, np.float32)
    return _local.buffer[:size]
