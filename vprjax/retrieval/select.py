"""The smallest keys of every query on a CPU: NumPy's partitions take a third of XLA's top-k."""

import dataclasses

import numpy as np

from vprjax.retrieval.encode import Encoded
from vprjax.retrieval.product import GROUP
from vprjax.retrieval.threads import on_threads

CACHE_BYTES = 512 << 10  # minima that one thread looks through at once
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

    def merge(self, first: int, keys, minima, rows: Encoded, start: int) -> None:
        """Takes the smallest keys of a block.

        Args:
          first: number of the first query.
          keys: `(n, m)`, of `product.keys`, and so are the `minima`.
          minima: `(n, groups)`, of every `groups`-th key.
          rows: the m references.
          start: number of the first of these references.
        """
        step = max(1, CACHE_BYTES // (4 * minima.shape[1]))

        def some(top: int) -> None:
            part = slice(top, min(top + step, len(keys)))
            own = slice(first + part.start, first + part.stop)
            self._merge_some(own, keys[part], minima[part], rows, start)

        on_threads(some, range(0, len(keys), step))

    def _merge_some(self, own: slice, keys, minima, rows: Encoded, start: int) -> None:
        kept, (n, m), groups = self.keys.shape[1], keys.shape, minima.shape[1]
        bound = self.keys[own].max(axis=1)
        if groups >= kept:
            bound = np.minimum(bound, np.partition(minima, kept - 1, axis=1)[:, kept - 1])
        numbers, columns = np.divmod(np.flatnonzero(minima <= bound[:, None]), groups)
        columns = (columns[:, None] + groups * np.arange(GROUP)).ravel()
        numbers = np.repeat(numbers, GROUP)
        columns, numbers = columns[columns < m], numbers[columns < m]
        found = keys[numbers, columns]
        near = found <= bound[numbers]
        numbers, columns, found = numbers[near], columns[near], found[near]
        counts = np.bincount(numbers, minlength=n)
        width = int(counts.max())
        if width > CROWDED * kept:
            columns = np.argpartition(keys, kept - 1, axis=1)[:, :kept]
            more = np.take_along_axis(keys, columns, axis=1)
        else:
            order = np.argsort(numbers, kind="stable")
            numbers, columns, found = numbers[order], columns[order], found[order]
            places = np.arange(len(found)) - np.repeat(np.cumsum(counts) - counts, counts)
            more, where = np.full((n, width), np.inf, np.float32), np.zeros((n, width), np.int64)
            more[numbers, places], where[numbers, places] = found, columns
            columns = where
        every = np.concatenate([self.keys[own], more], axis=1)
        best = np.argpartition(every, kept - 1, axis=1)[:, :kept]
        for name, new in (
            ("keys", more),
            ("indices", start + columns),
            ("error", rows.error[columns]),
        ):
            both = np.concatenate([getattr(self, name)[own], new], axis=1)
            getattr(self, name)[own] = np.take_along_axis(both, best, axis=1)
