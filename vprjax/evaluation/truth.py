"""Which references are right answers to a query: by their poses, or by the dataset's own lists."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from vprjax.evaluation import fcm


@dataclasses.dataclass(frozen=True)
class Poses:
    """Positions of the `m` queries that have one and of the references.

    Attributes:
      known: `(m,)` numbers of these queries among all `q`.
      count: `q`.
      queries: `(m, 2)`.
      references: `(r, 2)`.
      headings: `(m,)` and `(r,)` where they count.
      turn: their tolerance in radians.
    """

    known: np.ndarray
    count: int
    queries: np.ndarray
    references: np.ndarray
    headings: tuple[np.ndarray, np.ndarray] | None
    turn: float

    def errors(self, matched: np.ndarray) -> np.ndarray:
        """`(q,)` distances of queries to references `matched` `(q,)`, NaN without a position."""
        if not len(self.known):
            return np.full(self.count, np.nan)
        own = matched[self.known]
        headings = self.headings and (self.headings[0], self.headings[1][own])
        found = fcm.match_errors(self.queries, self.references[own], headings, self.turn)
        return self._of_all(found, np.nan)

    def nearest(self) -> tuple[np.ndarray, np.ndarray]:
        """`(q,)` distances and numbers of the references nearest in position; NaN and -1 without one."""
        if not len(self.known):
            return np.full(self.count, np.nan), np.full(self.count, -1)
        found = fcm.nearest_true(self.queries, self.references, self.headings, self.turn)
        return self._of_all(found[0], np.nan), self._of_all(found[1], -1)

    def recall(self, indices: np.ndarray, radius: float, ns: Sequence[int]) -> np.ndarray:
        """Recall@N, percent, `(m,)`."""
        sides = self.queries, self.references
        return fcm.recall_at(*sides, indices[self.known], radius, ns, self.headings, self.turn)

    def _of_all(self, values: np.ndarray, missing: float) -> np.ndarray:
        out = np.full(self.count, missing, values.dtype)
        out[self.known] = values
        return out


class Lists:
    """Right references by number, listed for every query; an empty list has no right answer.

    There are no distances: a right answer has the error 0, a wrong one infinity.
    """

    def __init__(self, lists: Sequence[np.ndarray]):
        """Keeps `(k,)` numbers of right references per query."""
        self._lists = [np.asarray(right, np.int64) for right in lists]
        self.known = np.arange(len(lists))  # every query counts
        self.count = len(lists)

    def errors(self, matched: np.ndarray) -> np.ndarray:
        """`(q,)` 0 where `matched` `(q,)` is right, else infinity."""
        return np.where(self._right(matched[:, None])[:, 0], 0.0, np.inf)

    def nearest(self) -> tuple[np.ndarray, np.ndarray]:
        """`(q,)` 0 and the first right reference; infinity and -1 where there is none."""
        first = np.array([right[0] if len(right) else -1 for right in self._lists], np.int64)
        return np.where(first < 0, np.inf, 0.0), first

    def recall(self, indices: np.ndarray, radius: float, ns: Sequence[int]) -> np.ndarray:
        """Recall@N, percent, `(m,)`; the radius plays no part."""
        del radius
        hits = np.logical_or.accumulate(self._right(indices), axis=1)
        return np.array([100 * hits[:, min(n, indices.shape[1]) - 1].mean() for n in ns])

    def _right(self, indices: np.ndarray) -> np.ndarray:
        rows = zip(indices, self._lists, strict=True)
        return np.array([np.isin(found, right) for found, right in rows])


Truth = Poses | Lists
