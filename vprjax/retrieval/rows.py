"""Descriptor rows of arrays and memory maps, as float32, in bounded resident memory."""

import bisect
import mmap
from collections.abc import Sequence

import numpy as np

from vprjax.retrieval.encode import squared_norms

CHUNK_BYTES = 64 << 20


class Rows:
    """Reads rows of an array or memory map of any float type, unchanged or as unit vectors."""

    def __init__(self, array, unit: bool = False):
        """Wraps `(n, d)` descriptors, an array or `Parts`; `unit` costs one pass over them for their norms.

        Raises:
          ValueError: a descriptor is zero and `unit` is set.
        """
        self.array, self.shape = array, array.shape
        self._map = _map_of(array)
        self._scale = self._squared = None
        if unit:
            self._scale = self._inverse_norms()

    @property
    def in_memory(self) -> bool:
        """Whether `array` holds these rows as they are."""
        whole = isinstance(self.array, np.ndarray) and self._map is None and self._scale is None
        return whole and self.array.dtype == np.float32

    def __len__(self) -> int:
        return self.shape[0]

    def __call__(self, rows, columns: slice = slice(None)) -> np.ndarray:
        """Rows `(m, c)` at a slice or at `(m,)` numbers; a memory map is copied and drops its pages."""
        whole = columns == slice(None)
        found = self.array[rows] if whole else self.array[rows, columns]
        out = np.asarray(found, np.float32) if self._map is None else np.array(found, np.float32)
        if self._map is not None:
            del found
            # A file's pages count as resident: unless dropped, a search grows to the file's size.
            self._map.madvise(mmap.MADV_DONTNEED)
        return out if self._scale is None else out * self._scale[rows, None]

    def gather(self, numbers: np.ndarray, out: np.ndarray) -> None:
        """Copies the rows at `numbers` `(m,)` into `out` `(m, d)`."""
        if self.in_memory:
            np.take(self.array, numbers, axis=0, out=out, mode="clip")  # other modes buffer
        else:
            out[...] = self(numbers)

    def squared(self, numbers: np.ndarray) -> np.ndarray:
        """Squared norms `numbers.shape` float64 of rows `in_memory`, each computed once."""
        if self._squared is None:
            self._squared = np.full(len(self), np.nan)
        for number in np.unique(numbers[np.isnan(self._squared[numbers])]):
            self._squared[number] = squared_norms(self.array[number])
        return self._squared[numbers]

    def _inverse_norms(self) -> np.ndarray:
        n, d = self.shape
        step = max(1, CHUNK_BYTES // (4 * d))
        norms = [np.linalg.norm(self(slice(i, i + step)), axis=1) for i in range(0, n, step)]
        norm = np.concatenate([np.empty(0, np.float32), *norms])
        if not norm.all():
            raise ValueError(
                f"descriptor {np.flatnonzero(norm == 0)[0]} is zero: its cosine is undefined"
            )
        return (1 / norm).astype(np.float32)


class Parts:
    """Several `(r_i, d)` arrays, one after the other, as one: rows are read, never joined.

    `Rows` leaves the pages of these parts, memory maps too, in memory: whoever searches again wants them.

    Attributes:
      shape: `(r, d)`.
      ndim: 2.
      dtype: of the parts.
    """

    def __init__(self, parts: Sequence[np.ndarray]):
        """Takes at least one part."""
        self._parts = list(parts)
        self._firsts = np.cumsum([0, *map(len, self._parts)]).tolist()
        self.shape = (self._firsts[-1], self._parts[0].shape[1])
        self.ndim, self.dtype = 2, self._parts[0].dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key) -> np.ndarray:
        """Rows at a slice or at `(m,)` numbers, and their `key[1]` columns where there are two keys."""
        rows, columns = key if isinstance(key, tuple) else (key, slice(None))
        if isinstance(rows, slice):
            start, stop, step = rows.indices(len(self))
            number = bisect.bisect_right(self._firsts, start) - 1
            if step == 1 and number < len(self._parts) and stop <= self._firsts[number + 1]:
                first = self._firsts[number]
                return self._parts[number][start - first : stop - first, columns]
            rows = np.arange(start, stop, step)
        rows = np.asarray(rows)
        numbers = np.searchsorted(self._firsts, rows, side="right") - 1
        out = np.empty((len(rows), len(range(self.shape[1])[columns])), self.dtype)
        for number in np.unique(numbers):
            own = numbers == number
            out[own] = self._parts[number][rows[own] - self._firsts[number], columns]
        return out


class Block:
    """A stretch of `Rows`, numbered from its start."""

    def __init__(self, rows: Rows, part: slice, hold: bool):
        """Takes `part`, a slice with start and stop, and reads it into memory if `hold`."""
        self._rows, self._first, self._count = rows, part.start, part.stop - part.start
        self._held = rows(part) if hold else None

    def __len__(self) -> int:
        return self._count

    def __call__(self, rows, columns: slice = slice(None)) -> np.ndarray:
        """Rows `(m, c)`, as `Rows` gives them."""
        if self._held is not None:
            return self._held[rows, columns]
        if isinstance(rows, slice):
            start, stop, _ = rows.indices(self._count)
            return self._rows(slice(self._first + start, self._first + stop), columns)
        return self._rows(rows + self._first, columns)


def _map_of(array) -> mmap.mmap | None:
    while array is not None and not isinstance(array, mmap.mmap):
        array = getattr(array, "base", None)
    return array
