"""The smallest keys of every query on a CPU: NumPy's partitions take a third of XLA's top-k."""

import dataclasses

import numpy as np

from vprjax.retrieval.bounds import beyond, farthest
from vprjax.retrieval.encode import Encoded
from vprjax.retrieval.product import GROUP
from vprjax.retrieval.threads import on_threads

CACHE_BYTES = 512 << 10  # minima that one thread looks through at once
CROWDED = 4  # times as many keys below the bound as are kept, past which all are partitioned


@dataclasses.dataclass
class Kept:
    """A block of queries' best so far, `(n, kept)`, in no order, and the gallery's extremes.

    `keys` are squared distances less `|q|^2` and `2 reach error`; `error` is the references' own. `last`
    is `(n,)`: no reference left out since `settle` has a smaller key; those before lie past `rest`, squared
    bounds. With `k`, those that cannot be among the first k are left out.
    """

    keys: np.ndarray
    indices: np.ndarray
    error: np.ndarray
    last: np.ndarray
    rest: np.ndarray
    own: Encoded
    reach: float
    k: int
    least_error: float = np.inf
    most_error: float = 0.0
    norm: float = 0.0

    @classmethod
    def nothing(cls, own: Encoded, reach: float, kept: int, k: int) -> "Kept":
        """No references yet, for the queries `own`; `k` is 0 where none may be left out but for `kept`."""
        n = len(own.squared)
        keys, last = np.full((n, kept), np.inf, np.float32), np.full(n, np.inf, np.float32)
        none = np.zeros((n, kept), np.int32), np.zeros((n, kept), np.float32)
        return cls(keys, *none, last, np.full(n, np.inf), own, reach, k)

    @property
    def extremes(self) -> tuple[float, float, float]:
        """Smallest and largest error of the references, and their largest norm."""
        return self.least_error, self.most_error, self.norm

    def take_extremes(self, rows: Encoded) -> None:
        """Widens the extremes by a block of references; NaN stays."""
        self.settle()  # those of a later block would make the bounds of what earlier ones left out loose
        self.least_error = np.minimum(self.least_error, rows.error.min())
        self.most_error = np.maximum(self.most_error, rows.error.max())
        self.norm = np.maximum(self.norm, rows.norm.max())

    def settle(self) -> None:
        """Bounds what was left out by the extremes so far; before the first block there are none."""
        if self.least_error < np.inf:
            rest = beyond(self.last, self.extremes, self.own, self.reach)
            self.rest = np.minimum(self.rest, rest)
            self.last[:] = np.inf

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
        bound = self._bound(own, minima)
        numbers, columns = np.divmod(np.flatnonzero(minima <= bound[:, None]), groups)
        crowded = np.flatnonzero(np.bincount(numbers, minlength=n) > kept)
        if len(crowded):  # their bounds say too little
            bound[crowded] = _smallest(minima[crowded], kept)
            near = minima[numbers, columns] <= bound[numbers]
            numbers, columns = numbers[near], columns[near]
        columns = columns[:, None] + groups * np.arange(GROUP)
        places = np.minimum(columns, m - 1) + (numbers * m)[:, None]
        found = np.take(keys.reshape(-1), places)
        near = np.flatnonzero((found <= bound[numbers][:, None]) & (columns < m))
        numbers, columns, found = numbers[near // GROUP], columns.ravel()[near], found.ravel()[near]
        counts = np.bincount(numbers, minlength=n)
        width = int(counts.max())
        if width > CROWDED * kept:
            columns = np.argpartition(keys, kept - 1, axis=1)[:, :kept]
            more = np.take_along_axis(keys, columns, axis=1)
        else:
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
        self.last[own] = np.minimum(self.last[own], np.minimum(bound, self.keys[own].max(axis=1)))

    def _bound(self, own: slice, minima: np.ndarray) -> np.ndarray:
        """Keys `(n,)` past which no reference of a block is taken."""
        bound = self.keys[own].max(axis=1)
        if not self.k:
            return bound
        nearest = _smallest(self.keys[own], self.k)
        if self.k <= minima.shape[1]:
            nearest = np.minimum(nearest, _smallest(minima, self.k))
        rows = Encoded(*(x[own] for x in self.own))
        with np.errstate(invalid="ignore", over="ignore"):  # the scan refuses what is not finite
            limit = farthest(nearest.astype(np.float64), self.extremes, rows, self.reach)
        return np.fmin(bound, _above(limit))


def _smallest(values: np.ndarray, k: int) -> np.ndarray:
    """The k-th smallest of each row `(n, m)`; NumPy's partition is slow for several k at once."""
    return values.min(axis=1) if k == 1 else np.partition(values, k - 1, axis=1)[:, k - 1]


def _above(values: np.ndarray) -> np.ndarray:
    """Float32 numbers not below float64 ones: NumPy compares two types slowly."""
    return np.nextafter(values.astype(np.float32), np.float32(np.inf))
