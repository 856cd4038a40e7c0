"""Training tuples from poses and cached descriptors: pure functions of their arguments.

A tuple is a row of image indices `(query, positive, negative_1 .. negative_n)`. Positions compare in
float64, descriptors in float32.
"""

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
from scipy.spatial import cKDTree

from vprjax.sampling.poses import Poses

NONE = -1  # no image, in the hard-negative memory
# With a pool, mining looks at this number of a query's positives at least, or at all that it has.
POSITIVES = 3
# Bytes at work at once: of queries' descriptors, and of their similarities to a whole pool.
SIMILARITY_BYTES = 1 << 28
BLOCK = 1000  # images whose neighbours are found at once, in lists of 40 bytes per neighbour


def visits(timestamps: np.ndarray, splits: np.ndarray, gap_seconds: float) -> np.ndarray:
    """Numbers the visit of every image `(n,)`; each split and each pause >= the gap starts a new one.

    A positive from another visit shows the place at another time, unlike a neighbouring frame. With
    `gap_seconds=0` every image is its own visit, so that any image may be a positive.

    Units: `timestamps` `(n,)` in microseconds, `gap_seconds` in seconds.
    """
    if gap_seconds <= 0:
        return np.arange(len(timestamps))
    starts = (np.diff(timestamps) >= gap_seconds * 1e6) | (np.diff(splits) != 0)
    return np.concatenate([[0], np.cumsum(starts)])


class Positives:
    """Per image, the images of the same place on another visit: within the radius, and not looking away.

    Attributes:
      of: per image, the ascending indices of its positives.
      queries: indices of the images that have a positive.
    """

    def __init__(self, poses: Poses, visit: np.ndarray, radius: float):
        """Finds them with a k-d tree: `visit (n,)`, `radius` in position units."""
        positions = poses.positions
        tree, every = cKDTree(positions), np.arange(len(positions))
        self.of = []
        for rows in np.split(every, every[BLOCK::BLOCK]):
            near = tree.query_ball_point(positions[rows], radius, return_sorted=True)
            for i, found in zip(rows, (np.array(row, np.int64) for row in near), strict=True):
                found = found[(found != i) & (visit[found] != visit[i])]
                self.of.append(found[~poses.away(found, i)])
        self.queries = np.array([i for i, row in enumerate(self.of) if len(row)], np.int64)


def queries_at(queries: np.ndarray, seed: int, first: int, count: int) -> np.ndarray:
    """Returns entries `first .. first + count` of an endless stream of shuffled passes over `queries`.

    The stream is a pure function of `(seed, first)`: pass `e` is a permutation drawn from `(seed, e)`.
    """
    n = len(queries)
    places = np.arange(first, first + count)
    out = np.empty(count, np.int64)
    for epoch in np.unique(places // n):
        order = np.random.default_rng((seed, 1, int(epoch))).permutation(n)
        chosen = places // n == epoch
        out[chosen] = queries[order[places[chosen] % n]]
    return out


@dataclasses.dataclass(frozen=True)
class Cache:
    """Descriptors `(m, d)` float32 of the images `indices` `(m,)` (ascending), at a round's start.

    Their similarities rank as L2 does: dot products where descriptors are of `unit` length, else less half
    of the squared length of the image that a query is compared with.
    """

    indices: np.ndarray
    descriptors: np.ndarray
    unit: bool = True

    def of(self, images: np.ndarray) -> np.ndarray:
        """Returns the descriptors of `images`, without a copy where they are all that is cached.

        Raises:
          KeyError: an image is not cached.
        """
        if np.array_equal(images, self.indices):
            return self.descriptors
        rows = self._rows(images)
        if not np.array_equal(self.indices[rows], images):
            raise KeyError(f"no descriptor is cached of one of the images {images}")
        return self.descriptors[rows]

    def half_squares(self, images: np.ndarray) -> np.ndarray | float:
        """Returns what the dot products of a query and `images` hold too much `(m,)`; 0 of unit length."""
        if self.unit:
            return 0.0
        found = self.of(images)
        return np.einsum("...d,...d->...", found, found) / 2

    def similar(self, images: np.ndarray, query: int) -> np.ndarray:
        """Returns the similarities `(m,)` of `images` to a query."""
        dots = self.of(images) @ self.of(query)
        return dots if self.unit else dots - self.half_squares(images)

    def among(self, images: np.ndarray) -> np.ndarray:
        """Returns those of `images` that are cached."""
        return images[self.indices[self._rows(images)] == images]

    def _rows(self, images: np.ndarray) -> np.ndarray:
        return np.searchsorted(self.indices, images).clip(max=len(self.indices) - 1)


@dataclasses.dataclass(frozen=True)
class Round:
    """The images that one mining round draws from, before any descriptor.

    Attributes:
      queries: `(rows,)` image indices, one per tuple.
      pool: `(m,)` ascending indices of the images that may be negatives.
      remembered: `(images, count)` hard-negative memory, `NONE` where empty.
      seed: the run's seed.
      number: the round's number.
    """

    queries: np.ndarray
    pool: np.ndarray
    remembered: np.ndarray
    seed: int
    number: int


@dataclasses.dataclass(frozen=True)
class Rule:
    """The rule that chooses a tuple.

    Attributes:
      negatives: number of negatives per tuple.
      negative_radius: negatives lie farther from the query, in position units, or look away from it.
      place_radius: two negatives of a tuple lie farther apart, in position units, or look away.
      best_positive: takes the positive nearest in descriptor space (the paper's best match), else a
        random one.
      semi_hard: ranks negatives last that are no farther from the query than its positive.
    """

    negatives: int
    negative_radius: float
    place_radius: float
    best_positive: bool = True
    semi_hard: bool = False


def images_to_cache(
    drawn: Round, positives: Positives, *, with_positives: bool, fewest: int = POSITIVES
) -> np.ndarray:
    """Returns ascending indices of all images whose descriptors a mining round reads.

    With positives, the round reads a query's positives in the pool or among the queries. Where these are
    fewer than `fewest`, it draws more of them at random.
    """
    kept = drawn.remembered[drawn.queries].ravel()
    known = np.zeros(len(drawn.remembered), bool)
    known[drawn.pool] = known[drawn.queries] = known[kept[kept != NONE]] = True
    cached, rng = known.copy(), np.random.default_rng((drawn.seed, 4, drawn.number))
    for query in np.unique(drawn.queries) if with_positives else ():
        near = positives.of[query]
        others = near[~known[near]]
        wanted = max(0, fewest - (len(near) - len(others)))
        cached[others if len(others) <= wanted else rng.choice(others, wanted, False)] = True
    return np.flatnonzero(cached)


def nothing_remembered(images: int, count: int) -> np.ndarray:
    """Returns an empty hard-negative memory `(images, count)` int32: one row per query."""
    return np.full((images, count), NONE, np.int32)


def remember(remembered: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Returns the hard-negative memory with the hardest negatives of a round in place of older ones.

    Shapes: `remembered` `(images, count)`, `table` `(rows, 2 + n)` as `mine` returns it, `n >= count`.
    """
    kept = remembered.copy()
    kept[table[:, 0]] = table[:, 2 : 2 + remembered.shape[1]]
    return kept


def spread_negatives(ranked: np.ndarray, poses: Poses, query: int, rule: Rule) -> np.ndarray:
    """Returns the first of `ranked` beyond the query's negative radius, at most one per place.

    Two negatives within the place radius show one place. Where places run out, the next images of
    `ranked` fill the tuple.

    Raises:
      ValueError: too few images lie beyond the radius.
    """
    radius, count = rule.negative_radius, rule.negatives
    far = ranked[poses.distances(ranked, query) > radius]
    if len(far) < count:
        raise ValueError(
            f"only {len(far)} of the {len(ranked)} mined images lie beyond the negative radius "
            f"{radius:g} of image {query}, but {count} are needed: lower tuples.negatives or "
            "tuples.negative_radius, or enlarge tuples.mining_pool"
        )
    chosen: list[int] = []
    for index in far:
        if len(chosen) == count:
            break
        if (poses.distances(np.array(chosen, np.int64), index) > rule.place_radius).all():
            chosen.append(int(index))
    if len(chosen) < count:
        rest = far[np.isin(far, chosen, invert=True)]
        chosen += rest[: count - len(chosen)].tolist()
    return np.array(chosen, np.int64)


def mine(
    drawn: Round,
    rule: Rule,
    positives: Positives,
    poses: Poses,
    cache: Cache | None,
    similarities: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> np.ndarray:
    """Mines the tuples `(len(queries), 2 + negatives)` int32 of one round.

    With a cache, positives and negatives follow `rule`. Negatives are the nearest of the pool and of the
    hard-negative memory, at most one per place. Without a cache both are random.

    Args:
      drawn: the round.
      rule: the rule that chooses a tuple.
      positives: the positives of every image.
      poses: the poses of every image.
      cache: descriptors of `images_to_cache`, or None.
      similarities: descriptors `(q, d)`, `(n, d)` -> their dot products `(q, n)`.

    Raises:
      ValueError: too few images lie beyond the negative radius.
    """
    rng = np.random.default_rng((drawn.seed, 2, drawn.number))
    table = np.empty((len(drawn.queries), 2 + rule.negatives), np.int32)
    candidates = iter(())
    if cache is not None and rule.negatives:
        candidates = _candidates(drawn, cache, similarities)
    for row, query in enumerate(drawn.queries):
        positive = _positive(query, rule, positives, cache, rng)
        table[row, 0], table[row, 1] = query, positive
        if not rule.negatives:
            continue
        if cache is None:
            ranked = drawn.pool[rng.permutation(len(drawn.pool))]
        else:
            images, found = next(candidates)
            bound = float(cache.similar(positive, query)) if rule.semi_hard else None
            ranked = images[hardest_first(found, bound)]
        table[row, 2:] = spread_negatives(ranked, poses, query, rule)
    return table


def _positive(query: int, rule: Rule, positives: Positives, cache: Cache | None, rng) -> int:
    """Returns the positive of a query."""
    near = positives.of[query]
    if cache is not None and (rule.best_positive or rule.semi_hard):
        near = cache.among(near)
    if cache is None or not rule.best_positive:
        return near[rng.integers(len(near))]
    return near[np.argmax(cache.similar(near, query))]


def hardest_first(similarities: np.ndarray, bound: float | None = None) -> np.ndarray:
    """Orders negatives `(n,)` by their `similarities` `(n,)` to the query, nearest first.

    With a `bound`, the positive's, the order is semi-hard. Negatives farther than the positive come
    first, nearest first; the others follow, farthest first.

    Source: Schroff et al. 2015.
    """
    order = np.argsort(-similarities, kind="stable")
    if bound is None:
        return order
    no_farther = np.count_nonzero(similarities >= bound)
    return np.concatenate([order[no_farther:], order[:no_farther][::-1]])


def _candidates(
    drawn: Round, cache: Cache, similarities: Callable
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields per query the images of the pool and of its hard-negative memory, and their similarities."""
    queries, pool = drawn.queries, drawn.pool
    descriptors, known, half = cache.of(pool), set(pool.tolist()), cache.half_squares(pool)
    widest = max(descriptors.shape)  # numbers per query: its similarities, or its own descriptor
    block = max(1, SIMILARITY_BYTES // (4 * widest))
    for first in range(0, len(queries), block):
        some = queries[first : first + block]
        for query, row in zip(some, similarities(cache.of(some), descriptors), strict=True):
            more = [i for i in drawn.remembered[query].tolist() if i != NONE and i not in known]
            images, row = pool, row if cache.unit else row - half
            if more:
                images = np.concatenate([pool, more])
                row = np.concatenate([row, cache.similar(np.array(more), query)])
            yield images, row


def pool_at(n: int, size: int, seed: int, round_number: int) -> np.ndarray:
    """Returns sorted indices of the images that a round looks at: all `n`, or `size` drawn at random."""
    if size <= 0 or size >= n:
        return np.arange(n)
    rng = np.random.default_rng((seed, 3, round_number))
    return np.sort(rng.choice(n, size, replace=False))
