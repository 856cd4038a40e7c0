"""From lower bounds to the exact ranking, by the distances of the few references left."""

import dataclasses
import hashlib

import numpy as np

from vprjax.retrieval import chunk
from vprjax.retrieval.bounds import Candidates
from vprjax.retrieval.encode import squared_norms
from vprjax.retrieval.exact import Distances, buffer, near, squared_distances
from vprjax.retrieval.rows import Block, Rows
from vprjax.retrieval.threads import on_threads

FEW = 8  # queries of a second search that read rows in a core's cache one after the other
NEAR_BYTES, NEAR_ROWS = 1 << 20, 256  # of one product of a second search, where both fit the budget
DIRECT, LOADING = (
    16,
    60,
)  # time of one exact distance, and of one row's copy, in products of a matrix
STEP = 2  # candidates evaluated after the first k, or an eighth of k; then twice as many each time
MOST_SHARED = 8192  # references of one chunk, whose distances no plan counts


@dataclasses.dataclass(frozen=True)
class Ranked:
    """The first k references of each query.

    Attributes:
      squared: `(q, k)` float64, squared L2.
      indices: `(q, k)` int64.
      sure: `(q,)` bool, whether the bounds rule out every reference outside the candidates.
      evaluated: number of exact distances, over all queries.
    """

    squared: np.ndarray
    indices: np.ndarray
    sure: np.ndarray
    evaluated: int


def rank(queries: Block, references: Rows, candidates: Candidates, k: int) -> Ranked:
    """Ranks candidates by exact distance, in the order of their bounds, up to the k-th distance.

    The bounds rule out the rest (optimal multi-step search, Seidl & Kriegel 1998). Each distance has
    a bound of its error. Float64 decides where these leave the order open; the lower index wins ties.

    Args:
      queries: a block of n queries.
      references: all references.
      candidates: at least k candidates of each query.
      k: number of neighbours.
    """
    n, (count, d) = len(queries), references.shape
    every = candidates.indices.shape[1] == count
    size = chunk.size(d)

    def one(start: int):
        part = slice(start, min(start + size, n))
        own = queries(part)
        some = narrow(own, references, candidates.of(part), k)
        return _rank_chunk(own, references, some, k, every)

    parts = on_threads(one, range(0, n, size))
    squared, indices, sure = (np.concatenate([p[i] for p in parts]) for i in range(3))
    return Ranked(squared, indices, sure, sum(p[3] for p in parts))


def narrow(queries, references: Rows, candidates: Candidates, k: int) -> Candidates:
    """Tightens the bounds of those that may be among the first k by the products of a chunk.

    They are bounds alone: a distance is computed from its own two rows, so that it is the same to the bit
    whatever queries stand beside. Nothing changes where a distance per candidate takes less time or memory.
    """
    reached = np.partition(candidates.upper, k - 1, axis=1)[:, k - 1 : k]
    needed = candidates.lower <= reached
    n, union = len(queries), np.unique(candidates.indices[needed])
    longer = (n + LOADING) * len(union) >= DIRECT * (np.count_nonzero(needed) - n * k)
    if longer or len(union) > MOST_SHARED:
        return candidates
    found = chunk.bounds(queries, references, union)
    places = np.minimum(np.searchsorted(union, candidates.indices), len(union) - 1)
    tight = np.take_along_axis(found, places, axis=1)
    lower = np.where(needed, np.maximum(candidates.lower, tight), candidates.lower)
    order = np.argsort(lower, axis=1, kind="stable")
    lower, upper, indices = (
        np.take_along_axis(x, order, axis=1) for x in (lower, candidates.upper, candidates.indices)
    )
    return Candidates(indices, lower, candidates.rest, upper)


def _rank_chunk(queries, references: Rows, candidates: Candidates, k: int, every: bool):
    indices, lower = candidates.indices, candidates.lower
    n, kept = indices.shape
    distances = Distances(queries, references)
    exact, error = np.full((n, kept), np.inf), np.zeros((n, kept))
    open_, done, evaluated, step = np.arange(n), 0, 0, max(STEP, k // 8)
    while len(open_) and done < kept:
        columns = slice(done, min(kept, done + (step if done else k)))
        chosen = indices[open_, columns]
        exact[open_, columns], error[open_, columns] = distances(open_, chosen)
        evaluated += chosen.size
        step, done = 2 * step if done else step, columns.stop
        if done < kept:
            reached = np.partition((exact + error)[open_, :done], k - 1, axis=1)[:, k - 1]
            open_ = open_[lower[open_, done] <= reached]
    exact[~np.isfinite(lower)] = np.inf  # padding, if there are fewer references than candidates
    order = np.lexsort((indices, exact), axis=1)
    exact, error, indices = (np.take_along_axis(x, order, axis=1) for x in (exact, error, indices))
    _settle_ties(queries, references, exact, error, indices, k)
    sure = np.full(n, True) if every else candidates.rest > exact[:, k - 1] + error[:, k - 1]
    return exact[:, :k], indices[:, :k], sure, evaluated


@np.errstate(invalid="ignore")  # infinite distances are no ties
def _settle_ties(queries, references, exact, error, indices, k: int) -> None:
    """Sorts again in float64 the neighbours whose distances lie within their errors `(n, kept)`."""
    tied = _tied(exact, error)
    rows = np.flatnonzero(tied[:, :k].any(axis=1))
    squared, found = exact[rows], indices[rows]
    reached = squared[:, k - 1] + 2 * error[rows].max(axis=1)
    numbers, columns = np.nonzero(tied[rows] & (squared <= reached[:, None]))
    squared[numbers, columns] = squared_distances(
        queries, rows[numbers], references, found[numbers, columns]
    )
    order = np.lexsort((found, squared), axis=1)
    exact[rows], indices[rows] = (np.take_along_axis(x, order, axis=1) for x in (squared, found))


def _tied(rising, error) -> np.ndarray:
    """Whether the error of each distance `(..., kept)` reaches that of another, adjacent or not."""
    low, high = rising - error, rising + error
    after = np.minimum.accumulate(low[..., ::-1], axis=-1)[..., ::-1]
    tied = np.zeros(rising.shape, bool)
    tied[..., 1:] = low[..., 1:] <= np.maximum.accumulate(high, axis=-1)[..., :-1]
    tied[..., :-1] |= after[..., 1:] <= high[..., :-1]
    return tied & np.isfinite(rising)


def complete(queries: Block, references: Rows, ranked: Ranked, memory_bytes: int) -> int:
    """Searches the queries that are not `sure` again, among all references that may be near enough.

    A query's k-th distance so far bounds the true one. Float64 ranks each reference whose float32 distance
    may lie below it. Fills `ranked` and returns the number of these queries.
    """
    unsure = np.flatnonzero(~ranked.sure)
    # Black frames, the usual reason, are equal: one of them is enough.
    seen = [hashlib.blake2b(queries(np.array([row])).tobytes()).hexdigest() for row in unsure]
    _, first, same = np.unique(np.array(seen), return_index=True, return_inverse=True)
    rows = unsure[first]
    step = max(1, int(memory_bytes // (16 * references.shape[1])))
    for first in range(0, len(rows), step):
        chosen = rows[first : first + step]
        block = queries(chosen)
        reached = ranked.squared[chosen, -1]
        close = near_enough(block, references, reached, memory_bytes // 4)
        for row, query, found in zip(chosen, block, close, strict=True):
            exact = squared_distances(query[None], np.zeros_like(found), references, found)
            order = np.lexsort((found, exact))[: ranked.squared.shape[1]]
            ranked.squared[row], ranked.indices[row] = exact[order], found[order]
    for array in (ranked.squared, ranked.indices):
        array[unsure] = array[rows][same]
    return len(unsure)


def near_enough(queries, references: Rows, reached, memory_bytes: int) -> list[np.ndarray]:
    """Indices, per query, of the references that may lie within the squared distance `reached` `(n,)`.

    The error of a product grows with the norms. Subtracting the queries' mean from both sides keeps
    distances and shrinks the norms; else all descriptors nearly collapsed to one point are near enough.
    """
    (n, d), count = queries.shape, len(references)
    mean = queries.mean(axis=0)
    queries = queries - mean
    own = squared_norms(queries)[:, None]
    reached = reached[:, None] * (1 + near(d))
    few = n <= FEW
    rows = max(NEAR_BYTES // (4 * d), 1 if few else NEAR_ROWS)
    rows = max(1, min(rows, memory_bytes // (32 * d)))
    numbers, found = [], []
    for first in range(0, count, rows):
        block = references(slice(first, min(first + rows, count)))
        left = np.subtract(block, mean, out=buffer(rows * d).reshape(rows, d)[: len(block)])
        norms = squared_norms(left)[None, :]
        products = np.stack([np.vecdot(left, q) for q in queries]) if few else queries @ left.T
        lower = own + norms - 2 * products
        row, column = np.nonzero(lower - chunk.missed(d, own, norms) <= reached)
        numbers.append(row)
        found.append(first + column)
    numbers, found = np.concatenate(numbers), np.concatenate(found)
    found = found[np.argsort(numbers, kind="stable")]
    return np.split(found, np.cumsum(np.bincount(numbers, minlength=n))[:-1])
