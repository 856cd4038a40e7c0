"""The smallest keys of every query on a CPU: NumPy's partitions take a third of XLA's top-k."""

import dataclasses

import numpy as np

from vprjax.retrieval.encode import Encoded
from vprjax.retrieval.threads import on_threads

GROUP = 8  # keys per minimum, whose partition bounds the smallest keys
CACHE_BYTES = 512 << 10  # keys that one thread looks through at once
CROWDED = 4  # times as many keys below the bound as are kept, past which all are partitioned


@dataclasses.dataclass
class Kept:
    """A block of queries' best so far, `(n, kept)`, in no order, and the gallery's extremes.

    `keys` are squared distances less `|q|^2` and `2 reach error`; `error` is the references' own.
    """

    keys: np.ndarray
    indices: np.ndarray
    error: np.ndarray
    least_error: float = np.inf
    most_error: float = 0.0
    norm: float = 0.0

    @classmethod
    def nothing(cls, n: int, kept: int) -> "Kept":
        """No references yet."""
        keys = np.full((n, kept), np.inf, np.float32)
        return cls(keys, np.zeros((n, kept), np.int32), np.zeros((n, kept), np.float32))

    def take_extremes(self, rows: Encoded) -> None:
        """Widens the extremes by a block of references; NaN stays."""
        self.least_error = np.minimum(self.least_error, rows.error.min())
        self.most_error = np.maximum(self.most_error, rows.error.max())
        self.norm = np.maximum(self.norm, rows.norm.max())

    def merge(
        self, part: slice, products, own: Encoded, rows: Encoded, shifted, excess, first
    ) -> None:
        """Takes the smallest keys of a block.

        Args:
          part: the queries of the products.
          products: `(part, m)` of the values, float32 or int32.
          own: all queries.
          rows: the m references.
          shifted: `(m,)`, their part of the keys.
          excess: `(m,)` int32, to take from their products, or None.
          first: number of the first of these references.
        """
        step = max(1, CACHE_BYTES // (4 * products.shape[1]))

        def some(start: int) -> None:
            block = products[start : start + step]
            here = slice(part.start + start, part.start + start + len(block))
            if block.dtype == np.int32:
                keys = (block - excess).astype(np.float32)
                keys -= own.bias[here, None]
                keys *= -2 * rows.scale
                keys *= own.scale[here, None]
            else:
                keys = block * np.float32(-2)
            keys += shifted
            self._merge_some(here, keys, rows, first)

        on_threads(some, range(0, len(products), step))

    def _merge_some(self, own: slice, keys: np.ndarray, rows: Encoded, first: int) -> None:
        kept, (n, m) = self.keys.shape[1], keys.shape
        bound = self.keys[own].max(axis=1)
        if m // GROUP >= kept:
            groups = keys[:, : m // GROUP * GROUP].reshape(n, GROUP, -1).min(axis=1)
            bound = np.minimum(bound, np.partition(groups, kept - 1, axis=1)[:, kept - 1])
        found = np.flatnonzero(keys <= bound[:, None])
        numbers, columns = np.divmod(found, m)
        counts = np.bincount(numbers, minlength=n)
        width = int(counts.max())
        if width > CROWDED * kept:
            columns = np.argpartition(keys, kept - 1, axis=1)[:, :kept]
            more = np.take_along_axis(keys, columns, axis=1)
        else:
            places = np.arange(len(found)) - np.repeat(np.cumsum(counts) - counts, counts)
            more, where = np.full((n, width), np.inf, np.float32), np.zeros((n, width), np.int64)
            more[numbers, places], where[numbers, places] = keys.ravel()[found], columns
            columns = where
        every = np.concatenate([self.keys[own], more], axis=1)
        best = np.argpartition(every, kept - 1, axis=1)[:, :kept]
        for name, new in (
            ("keys", more),
            ("indices", first + columns),
            ("error", rows.error[columns]),
        ):
            both = np.concatenate([getattr(self, name)[own], new], axis=1)
            getattr(self, name)[own] = np.take_along_axis(both, best, axis=1)
