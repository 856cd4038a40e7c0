"""Exact neighbours of few queries at a time, over references that stay where they are.

`retrieval.search` copies each block of references to the devices and gives a file's pages back, which many
queries pay once. Here one matrix product per part reads the rows in place, a memory map's too: a query
alone costs one pass over the map. Bounds and ranking are the search's, so are neighbours and distances.
"""

import functools
from collections.abc import Callable, Sequence

import jax
import numpy as np

from vprjax.retrieval import codes, encode, exact, product, refine
from vprjax.retrieval.bounds import Candidates, apart, slack
from vprjax.retrieval.choose import SPARE
from vprjax.retrieval.rows import Block, Parts, Rows

MOST_BYTES = 32 << 20  # of one product: more queries are searched in several
CODED, MOST_CODED = (
    1 << 24,
    1 << 30,
)  # numbers of the references from and up to which codes are made
CODED_SPARE = 24  # candidates kept beyond k, whose bounds are looser
SAMPLE = 512  # references whose mean the codes leave out
FEWEST = 2  # queries of one product of codes: XLA takes one alone by a slow loop


class Few:
    """Searches the same references again and again."""

    def __init__(self, parts: Sequence[np.ndarray]):
        """Takes the references, one part after the other: `(r_i, d)` float32 arrays or memory maps."""
        self._parts = [np.asarray(part) for part in parts]  # a memory map's slices are slow objects
        self.references = Parts(self._parts)
        self._rows = Rows(self.references)

    def __call__(
        self, queries: np.ndarray, k: int, left_out: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Distances float32 and indices int64 `(q, k)` of the `k` references nearest to each query.

        Args:
          queries: `(q, d)` float32.
          k: number of neighbours, 1..r.
          left_out: `(q, r)` bool, references that do not count for a query. Where fewer than `k` are left,
            infinite distances follow.

        Raises:
          ValueError: `k` is not in 1..r, or a descriptor is not finite.
        """
        return self.with_next(queries, k, None, left_out)[:2]

    def with_next(
        self,
        queries: np.ndarray,
        k: int,
        beside: Callable[[np.int64], np.ndarray] | None,
        left_out: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Distances, indices, and the distances `(q,)` float32 to the nearest not beside the first.

        Args:
          queries: as in `__call__`, and so are `k` and `left_out`.
          k: number of neighbours.
          beside: from the index of a query's first neighbour to `(r,)` bool, the references beside it.
            Where these are all, the distance is infinite; so is it without `beside`.
          left_out: references that do not count.

        Raises:
          ValueError: as in `__call__`.
        """
        (count, _), (r, _) = queries.shape, self.references.shape
        if not 1 <= k <= r:
            raise ValueError(f"k={k} must be between 1 and the {r} references")
        distances, indices = np.empty((count, k), np.float32), np.empty((count, k), np.int64)
        others, step = np.full(count, np.inf, np.float32), max(1, MOST_BYTES // (4 * r))
        for first in range(0, count, step):
            part = slice(first, min(first + step, count))
            own = np.ascontiguousarray(queries[part], np.float32)
            scanned, below = self._scan(own) if self._codes is None else self._scan_codes(own)
            if left_out is not None:
                scanned[left_out[part]] = np.inf
            distances[part], indices[part] = self._ranked(own, scanned, below, k)
            if beside is not None:
                for row, number in enumerate(indices[part, 0]):
                    scanned[row, beside(number)] = np.inf
                others[part] = self._ranked(own, scanned, below, 1)[0][:, 0]
        return distances, indices, others

    def all_of(self, query: np.ndarray) -> np.ndarray:
        """Distances `(r,)` of one query `(d,)` to all references, as float32 gives them."""
        products, _ = self._scan(np.asarray(query, np.float32)[None])
        return np.sqrt(np.maximum(products[0] + np.float32(query @ query), 0))

    @functools.cached_property
    def _squares(self) -> np.ndarray:
        """Squared norms `(r,)` of the references."""
        return np.concatenate([np.einsum("nd,nd->n", part, part) for part in self._parts])

    @functools.cached_property
    def _codes(self) -> tuple[np.ndarray, encode.Encoded, jax.Array] | None:
        """Mean, codes and their values on the device; None where the rows are as quick, or too many."""
        r, d = self.references.shape
        if jax.default_backend() != "cpu" or not CODED <= r * d <= MOST_CODED:
            return None
        chosen = np.unique(np.linspace(0, r - 1, min(SAMPLE, r)).astype(np.int64))
        mean = self._rows(chosen).mean(axis=0)
        parts = [codes.int8(part, mean, codes.REFERENCES) for part in self._parts]
        whole = parts[0] if len(parts) == 1 else encode.joined(parts)
        return mean, whole, jax.device_put(whole.values)

    def _scan_codes(self, queries) -> tuple[np.ndarray, float]:
        """Lower bounds `(q, r)` of squared distances, and 0."""
        mean, rows, placed = self._codes
        own = codes.int8(queries, mean, codes.QUERIES)
        if not (np.isfinite(own.squared).all() and np.isfinite(rows.squared).all()):
            raise ValueError("descriptors hold NaN or infinity")
        values = product.whole_numbers(own.values)
        values = np.resize(values, (max(FEWEST, len(values)), values.shape[1]))
        products = np.asarray(product.of_rows(values, placed))[: len(queries)]
        keys = (products - product.excess(values, rows)).astype(np.float32)
        keys -= own.bias[:, None]
        keys *= -2 * rows.scale
        keys *= own.scale[:, None]
        keys += rows.squared
        squared, error, norm = (
            x.astype(np.float64)[:, None] for x in (own.squared, own.error, own.norm)
        )
        rounded = slack(rows.values, norm + np.float64(rows.norm.max()), 0.0)
        return apart(keys + (squared - rounded), error, rows.error, rows.values), 0.0

    def _ranked(self, queries, scanned, below, k: int) -> tuple[np.ndarray, np.ndarray]:
        spare = SPARE if self._codes is None else CODED_SPARE
        kept = min(k + spare, scanned.shape[1])
        nearest = np.argpartition(scanned, kept - 1, axis=1)[:, :kept]
        values = np.take_along_axis(scanned, nearest, axis=1)
        order = np.argsort(values, axis=1, kind="stable")
        lower = np.take_along_axis(values, order, axis=1).astype(np.float64) - below
        lower = np.maximum(lower, 0)
        upper = np.full_like(lower, np.inf)
        found = Candidates(np.take_along_axis(nearest, order, axis=1), lower, lower[:, -1], upper)
        whole = Rows(queries)
        block = Block(whole, slice(0, len(queries)), hold=True)
        ranked = refine.rank(block, self._rows, found, k)
        for row in np.flatnonzero(~ranked.sure):
            lower = scanned[row] - (below[row] if np.ndim(below) else below)
            self._complete(queries[row], lower, ranked, row)
        return np.sqrt(ranked.squared).astype(np.float32), ranked.indices

    def _scan(self, queries) -> tuple[np.ndarray, np.ndarray]:
        """`|r|^2 - 2 q r` `(q, r)` float32, and `(q, 1)`: less it, they bound squared distances below."""
        if len(queries) == 1:  # a matrix times a vector reads the rows at memory's speed
            products = np.concatenate([part @ queries[0] for part in self._parts])[None]
        else:
            products = np.concatenate([queries @ part.T for part in self._parts], axis=1)
        products *= -2
        products += self._squares[None]
        own = np.einsum("qd,qd->q", queries, queries, dtype=np.float64)[:, None]
        norm = np.sqrt(np.float64(self._squares.max()))
        if not np.isfinite(norm) or not np.isfinite(own).all():
            raise ValueError("descriptors hold NaN or infinity")
        slack = encode.rounding(queries.shape[1]) * (np.sqrt(own) + norm) ** 2
        return products, slack - own

    def _complete(self, query, lower, ranked: refine.Ranked, row: int) -> None:
        """Ranks, in float64, all references that may be nearer than the k-th so far: many lie as near."""
        reached = ranked.squared[row, -1] * (1 + exact.near(len(query)))
        close = np.flatnonzero((lower <= reached) & np.isfinite(lower))
        squared = exact.squared_distances(query[None], np.zeros_like(close), self._rows, close)
        order = np.lexsort((close, squared))[: ranked.squared.shape[1]]
        ranked.squared[row, : len(order)] = squared[order]
        ranked.indices[row, : len(order)] = close[order]
