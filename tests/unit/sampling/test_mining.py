"""Tuples against brute force over all images."""

import numpy as np
import pytest

from vprjax.sampling import mining
from vprjax.sampling.poses import Poses


def route(n=60, laps=2, seed=0):
    rng = np.random.default_rng(seed)
    s = np.arange(n, dtype=float)
    lap = np.stack([s, 3 * np.sin(s / 7)], axis=1)
    positions = np.concatenate([lap + rng.normal(0, 0.3, lap.shape) for _ in range(laps)])
    positions += np.array([620_000.0, 5_735_000.0])  # UTM size: float32 would be off by 0.5 m
    seconds = np.concatenate([s + 1000 * i for i in range(laps)])
    descriptors = rng.normal(size=(len(positions), 16)).astype(np.float32)
    descriptors /= np.linalg.norm(descriptors, axis=1, keepdims=True)
    return positions, (seconds * 1e6).astype(np.int64), descriptors


def stretched(descriptors):
    """The same directions, each of its own length."""
    lengths = np.random.default_rng(1).uniform(0.5, 2, (len(descriptors), 1))
    return (lengths * descriptors).astype(np.float32)


def nothing(positions):
    return mining.nothing_remembered(len(positions), 0)


def to_cache(queries, positives, pool, remembered, best=True, round_number=0):
    drawn = mining.Round(queries, pool, remembered, 0, round_number)
    return mining.images_to_cache(drawn, positives, with_positives=best)


def tuples(queries, positives, positions, cache, pool, **changes):
    """Tuples of a round with the settings of these tests, but for `changes`."""
    seed, number = changes.pop("seed", 0), changes.pop("round_number", 0)
    remembered = changes.pop("remembered", nothing(positions))
    dots = changes.pop("similarities", lambda queries, others: queries @ others.T)
    poses = changes.pop("poses", Poses(positions))
    rule = {"negatives": 4, "negative_radius": 6.0, "place_radius": 2.5} | changes
    drawn = mining.Round(queries, pool, remembered, seed, number)
    return mining.mine(drawn, mining.Rule(**rule), positives, poses, cache, dots)


def first_distinct(order, positions, query, count):
    """By brute force: the first `count` of `order` beyond 6 of the query and 2.5 from one another."""
    far = np.linalg.norm(positions - positions[query], axis=1) > 6.0
    chosen = []
    for index in order:
        apart = all(np.linalg.norm(positions[index] - positions[c]) > 2.5 for c in chosen)
        if far[index] and apart and len(chosen) < count:
            chosen.append(int(index))
    return chosen


def test_visits_split_at_pauses_and_sequences():
    times = np.array([0, 1, 2, 100, 101, 0, 1]) * 10**6
    splits = np.array([0, 0, 0, 0, 0, 1, 1])
    assert mining.visits(times, splits, 50).tolist() == [0, 0, 0, 1, 1, 2, 2]
    assert mining.visits(times, splits, 0).tolist() == list(range(7))


@pytest.mark.parametrize("gap", [0.0, 60.0])
@pytest.mark.parametrize("block", [7, 1000])
def test_positives_are_all_near_images_of_other_visits(gap, block, monkeypatch):
    monkeypatch.setattr(mining, "BLOCK", block)
    positions, times, _ = route()
    visit = mining.visits(times, np.zeros(len(times), int), gap)
    found = mining.Positives(Poses(positions), visit, 2.5)
    distance = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
    for i in range(len(positions)):
        expected = [
            j
            for j in range(len(positions))
            if j != i and distance[i, j] <= 2.5 and visit[j] != visit[i]
        ]
        assert found.of[i].tolist() == expected
    assert found.queries.tolist() == [i for i, row in enumerate(found.of) if len(row)]


@pytest.mark.parametrize("unit", [True, False])
def test_hard_mining_takes_the_best_positive_and_the_nearest_distinct_negatives(unit):
    positions, times, descriptors = route()
    descriptors = descriptors if unit else stretched(descriptors)
    visit = mining.visits(times, np.zeros(len(times), int), 60.0)
    positives = mining.Positives(Poses(positions), visit, 2.5)
    pool = np.arange(len(positions))
    queries = positives.queries[::7]
    cached = to_cache(queries, positives, pool, nothing(positions))
    cache = mining.Cache(cached, descriptors[cached], unit)
    table = tuples(queries, positives, positions, cache, pool, negatives=5)
    for row in table:
        q, p, negatives = row[0], row[1], row[2:]
        squared = ((descriptors.astype(np.float64) - descriptors[q]) ** 2).sum(axis=1)
        candidates = positives.of[q]
        assert p == candidates[np.argmin(squared[candidates])]
        assert negatives.tolist() == first_distinct(np.argsort(squared), positions, q, 5)


def test_a_positive_at_random_goes_with_the_same_hard_negatives():
    positions, times, descriptors = route()
    visit = mining.visits(times, np.zeros(len(times), int), 60.0)
    positives = mining.Positives(Poses(positions), visit, 2.5)
    queries, pool = positives.queries[::7], np.arange(0, len(positions), 3)
    tables = {}
    for best in (True, False):
        cached = to_cache(queries, positives, pool, nothing(positions), best)
        tables[best] = tuples(
            queries,
            positives,
            positions,
            mining.Cache(cached, descriptors[cached]),
            pool,
            best_positive=best,
        )
    assert set(cached) == {*queries, *pool}  # no positive is described for it
    assert (tables[True][:, 2:] == tables[False][:, 2:]).all()
    assert all(p in positives.of[q] for q, p in tables[False][:, :2])
    differs = tables[True][:, 1] != tables[False][:, 1]
    several = np.array([len(positives.of[q]) > 1 for q in queries])
    assert several.any() and differs.any() and not differs[~several].any()
    everything = mining.Cache(np.arange(len(positions)), descriptors)
    drawn = [
        tuples(queries, positives, positions, everything, pool, best_positive=False, seed=seed)
        for seed in (0, 1)
    ]
    assert (drawn[0] == tables[False]).all() and (drawn[0][:, 1] != drawn[1][:, 1]).any()


@pytest.mark.parametrize(("best", "unit"), [(True, True), (False, True), (True, False)])
def test_semi_hard_negatives_are_the_nearest_beyond_the_positive(best, unit):
    positions, times, descriptors = route()
    descriptors = descriptors if unit else stretched(descriptors)
    visit = mining.visits(times, np.zeros(len(times), int), 60.0)
    positives = mining.Positives(Poses(positions), visit, 2.5)
    queries, pool = positives.queries[::3], np.arange(len(positions))
    cache = mining.Cache(pool, descriptors, unit)
    table, hard = (
        tuples(queries, positives, positions, cache, pool, best_positive=best, semi_hard=semi_hard)
        for semi_hard in (True, False)
    )
    assert (table[:, :2] == hard[:, :2]).all() and (table[:, 2:] != hard[:, 2:]).any()
    for q, p, *negatives in table:
        squared = ((descriptors.astype(np.float64) - descriptors[q]) ** 2).sum(axis=1)
        nearest_first = np.argsort(squared)
        # Where too few lie beyond the positive, those before it follow, the farthest first.
        no_farther = squared[nearest_first] <= squared[p]
        order = [*nearest_first[~no_farther], *nearest_first[no_farther][::-1]]
        assert negatives == first_distinct(order, positions, q, 4)


def test_where_nothing_lies_beyond_the_positive_semi_hard_negatives_are_the_farthest():
    cosines = np.array([0.9, 0.2, 0.5, 0.7])
    assert mining.hardest_first(cosines).tolist() == [0, 3, 2, 1]
    assert mining.hardest_first(cosines, 0.6).tolist() == [2, 1, 3, 0]
    assert mining.hardest_first(cosines, 0.1).tolist() == [1, 2, 3, 0]
    assert mining.hardest_first(cosines, 0.5).tolist() == [1, 2, 3, 0]  # as far is no farther


def test_an_image_that_is_not_cached_is_refused():
    cache = mining.Cache(np.array([2, 5, 9]), np.eye(3, dtype=np.float32))
    assert (cache.of(np.array([9, 2])) == np.eye(3)[[2, 0]]).all() and cache.of(5)[1] == 1
    for missing in (4, 10, [2, 6]):
        with pytest.raises(KeyError, match="no descriptor is cached"):
            cache.of(np.array(missing))


def test_mining_from_a_pool_only_returns_pool_images_as_negatives():
    positions, _, descriptors = route()
    positives = mining.Positives(Poses(positions), np.arange(len(positions)), 2.5)
    pool = mining.pool_at(len(positions), 40, seed=3, round_number=2)
    assert len(pool) == 40 and (np.diff(pool) > 0).all()
    queries = mining.queries_at(positives.queries, seed=3, first=0, count=10)
    cached = to_cache(queries, positives, pool, nothing(positions))
    table = tuples(
        queries,
        positives,
        positions,
        mining.Cache(cached, descriptors[cached]),
        pool,
        seed=3,
        round_number=2,
    )
    assert np.isin(table[:, 2:], pool).all()
    assert np.isin(table[:, 0], queries).all()


@pytest.mark.parametrize("semi_hard", [False, True])
def test_with_a_pool_few_of_many_positives_are_looked_at(semi_hard):
    positions, _, descriptors = route(n=600)
    positives = mining.Positives(Poses(positions), np.arange(len(positions)), 12.0)  # about 40 each
    pool, queries = np.arange(0, len(positions), 12), positives.queries[::9]
    cached = to_cache(queries, positives, pool, nothing(positions))
    assert len(cached) <= len(pool) + len(queries) + mining.POSITIVES * len(queries)
    assert (cached == to_cache(queries, positives, pool, nothing(positions))).all()
    other = to_cache(queries[:30], positives, pool[:1], nothing(positions), round_number=1)
    assert not np.isin(to_cache(queries[:30], positives, pool[:1], nothing(positions)), other).all()
    for query in queries:
        seen = np.intersect1d(positives.of[query], cached)
        assert len(seen) >= mining.POSITIVES
        assert np.isin(np.intersect1d(positives.of[query], pool), seen).all()
    cache = mining.Cache(cached, descriptors[cached])
    for best in (True, False):
        table = tuples(
            queries,
            positives,
            positions,
            cache,
            pool,
            negative_radius=30.0,
            best_positive=best or not semi_hard,
            semi_hard=semi_hard,
        )
        for query, positive in table[:, :2]:
            seen = np.intersect1d(positives.of[query], cached)
            assert positive in seen
            if best:
                assert positive == seen[np.argmax(descriptors[seen] @ descriptors[query])]


def test_with_a_pool_all_of_few_positives_are_looked_at():
    positions, _, _ = route()
    positives = mining.Positives(Poses(positions), np.arange(len(positions)), 0.9)  # at most 3 each
    assert max(map(len, positives.of)) <= mining.POSITIVES
    cached = to_cache(positives.queries, positives, np.arange(3), nothing(positions))
    every = np.concatenate([positives.of[q] for q in positives.queries])
    assert (cached == np.unique(np.concatenate([every, positives.queries, np.arange(3)]))).all()


def test_random_mining_keeps_the_radii_and_differs_by_round():
    positions, _, _ = route()
    positives = mining.Positives(Poses(positions), np.arange(len(positions)), 2.5)
    pool = np.arange(len(positions))
    queries = positives.queries
    tables = [tuples(queries, positives, positions, None, pool, round_number=r) for r in (0, 0, 1)]
    assert (tables[0] == tables[1]).all() and (tables[0] != tables[2]).any()
    for row in tables[0]:
        to_query = np.linalg.norm(positions[row] - positions[row[0]], axis=1)
        assert to_query[1] <= 2.5 and (to_query[2:] > 6.0).all()


def test_too_few_negatives_is_an_error_with_a_remedy():
    positions = np.zeros((5, 2))
    positives = mining.Positives(Poses(positions), np.arange(5), 1.0)
    with pytest.raises(
        ValueError, match=r"lower tuples\.negatives or .*enlarge tuples\.mining_pool"
    ):
        tuples(
            positives.queries,
            positives,
            positions,
            None,
            np.arange(5),
            negatives=1,
            place_radius=1.0,
        )


def test_query_stream_visits_every_query_once_a_pass_and_is_seekable():
    queries = np.arange(100, 117)
    stream = mining.queries_at(queries, seed=1, first=0, count=51)
    for e in range(3):
        assert sorted(stream[17 * e : 17 * (e + 1)]) == queries.tolist()
    assert (stream[:17] != stream[17:34]).any()
    assert (mining.queries_at(queries, seed=1, first=20, count=9) == stream[20:29]).all()


@pytest.mark.parametrize("unit", [True, False])
def test_remembered_negatives_stand_beside_the_pool_while_they_are_the_hardest(unit):
    positions, _, descriptors = route()
    descriptors = descriptors if unit else stretched(descriptors)
    positives = mining.Positives(Poses(positions), np.arange(len(positions)), 2.5)
    queries, everything = positives.queries[:9], np.arange(len(positions))

    def mined(pool, remembered, count=4):
        cached = to_cache(queries, positives, pool, remembered)
        return tuples(
            queries,
            positives,
            positions,
            mining.Cache(cached, descriptors[cached], unit),
            pool,
            negatives=count,
            remembered=remembered,
        )

    hardest = mined(everything, nothing(positions))
    before = mining.nothing_remembered(len(positions), 3)
    remembered = mining.remember(before, hardest)
    assert (before == mining.NONE).all() and (remembered[queries] == hardest[:, 2:5]).all()
    others = np.setdiff1d(everything, queries)
    assert (remembered[others] == mining.NONE).all()
    pool = np.setdiff1d(everything, hardest[:, 2:])[::3]
    # The three hardest come back though the pool lacks them, and with them the best of the pool.
    found, without = mined(pool, remembered), mined(pool, nothing(positions))
    assert (found[:, 2:5] == hardest[:, 2:5]).all() and np.isin(found[:, 5], pool).all()
    assert not np.isin(without[:, 2:], hardest[:, 2:]).any()
    # In the pool, too, they are not taken twice.
    assert (mined(everything, remembered) == hardest).all()


def test_mining_holds_few_similarities_at_once(monkeypatch):
    positions, _, descriptors = route()
    positives = mining.Positives(Poses(positions), np.arange(len(positions)), 2.5)
    asked, tables, everything = [], [], np.arange(len(positions))

    def similarities(queries, others):
        asked.append(len(queries))
        return queries @ others.T

    wide = np.pad(descriptors, ((0, 0), (0, 3 * len(positions) - descriptors.shape[1])))
    for limit, cached in (
        (1 << 28, descriptors),
        (4 * len(positions) * 7, descriptors),
        (4 * len(positions) * 21, wide),  # what bounds it then is the descriptors themselves
    ):
        monkeypatch.setattr(mining, "SIMILARITY_BYTES", limit)
        tables.append(
            tuples(
                positives.queries[:20],
                positives,
                positions,
                mining.Cache(everything, cached),
                everything,
                similarities=similarities,
            )
        )
    assert asked == [20, 7, 7, 6, 7, 7, 6] and all((t == tables[0]).all() for t in tables)


def test_the_nearest_negatives_fill_up_where_places_run_out():
    positions = np.array([[0.0, 0], [30, 0], [31, 0], [32, 0], [50, 0], [51, 0]])
    found = mining.spread_negatives(
        np.array([2, 1, 5, 3, 4]), Poses(positions), 0, mining.Rule(4, 20, 5)
    )
    assert found.tolist() == [2, 5, 1, 3]
