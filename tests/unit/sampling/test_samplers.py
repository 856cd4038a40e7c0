"""Samplers are pure in (seed, step)."""

import tracemalloc

import numpy as np
import pytest

from configs import base
from tests.helpers.memory_places import drive, standing
from vprjax import sampling
from vprjax.console import Progress
from vprjax.sampling import mining


def config(loss="triplet"):
    c = base.get_config()
    c.loss.name = loss
    c.tuples.update(batch=2, negatives=3, mining_interval=5, other_visit_seconds=100.0)
    c.places.update(batch_places=3, images_per_place=2, min_images=2)
    return c


def describe(images):
    rng = np.random.default_rng(0)
    return rng.normal(size=(80, 4)).astype(np.float32)[images]


def test_images_come_in_any_order_with_repeats():
    places = drive()
    images = places.images(np.array([[3, 3], [70, 0]]))
    assert images.shape == (2, 2, 8, 10, 3) and images[..., 0, 0, 0].tolist() == [[3, 3], [70, 0]]


def test_tuples_of_a_step_are_the_mined_rows():
    sampler = sampling.make_sampler(config(), drive())
    sampler.mine(5, describe)
    for step in range(5, 10):
        levels = sampler.batch(step)["images"][..., 0, 0, 0]
        assert (levels == sampler.table[2 * (step - 5) : 2 * (step - 4)]).all()
    query, positive = sampler.table[:, 0], sampler.table[:, 1]
    assert (query % 40 - positive % 40 <= 1).all() and (query // 40 != positive // 40).all()


@pytest.mark.parametrize(
    ("norms", "projection", "unit"),
    [(("local",), 0, False), (("pooled",), 16, False), (("pooled",), 0, True)],
)
def test_descriptors_of_any_length_are_mined_by_l2(norms, projection, unit):
    """As evaluation ranks them; those of length 1 by dot products, which rank alike."""
    c = config()
    c.model.update(norms=norms, projection=projection)
    sampler = sampling.make_sampler(c, drive())
    sampler.mine(0, describe)
    every, apart = describe(np.arange(80)), 0
    for query, positive, *_ in sampler.table:
        near = sampler.positives.of[query]
        by_l2 = near[np.argmin(((every[near] - every[query]) ** 2).sum(axis=1))]
        by_dots = near[np.argmax(every[near] @ every[query])]
        assert positive == (by_dots if unit else by_l2)
        apart += by_l2 != by_dots
    assert apart


def test_a_round_is_the_same_whatever_came_before():
    first, second = (sampling.make_sampler(config(), drive()) for _ in range(2))
    first.mine(0, describe)
    before = first.table.copy()
    first.mine(5, describe)
    second.mine(5, describe)
    assert (first.table == second.table).all() and (before != first.table).any()
    assert sampler_rounds(first) == [(0, 5), (5, 10)]


def test_remembered_negatives_go_along_with_the_mined_state():
    c = config()
    c.tuples.update(mining_pool=20, remembered=2)
    first, second = (sampling.make_sampler(c, drive()) for _ in range(2))
    first.mine(0, describe)
    second.restore({name: array.copy() for name, array in first.mined.items()})
    for sampler in (first, second):
        sampler.mine(5, describe)
    fresh = sampling.make_sampler(c, drive())
    fresh.mine(5, describe)
    assert (first.table == second.table).all() and (first.remembered == second.remembered).all()
    assert (first.remembered != fresh.remembered).any()
    assert "remembered" not in sampling.make_sampler(config(), drive()).mined


@pytest.mark.parametrize("pool", [0, 30])
def test_a_round_holds_no_more_descriptors_than_it_says(pool, monkeypatch):
    monkeypatch.setattr(mining, "SIMILARITY_BYTES", 1 << 22)  # of queries' at a time, beside them
    c, size = config(), 1 << 18
    c.tuples.mining_pool = pool
    sampler = sampling.make_sampler(c, drive())
    held = 4 * size * sampler.cached_images(0)
    tracemalloc.start()
    sampler.mine(0, lambda images: np.random.default_rng(0).random((len(images), size), np.float32))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 0.9 * held < peak < 1.1 * held + 2 * mining.SIMILARITY_BYTES


def test_what_is_remembered_in_later_rounds_is_told_before_the_first():
    c, described = config(), []
    c.tuples.update(mining_pool=20, remembered=2)
    sampler = sampling.make_sampler(c, drive())
    told = sampler.cached_images(0)

    def note(images):
        described.append(len(images))
        return describe(images)

    for step in range(0, 60, 5):
        sampler.mine(step, note)
    assert described[0] + 20 < max(described) + 20 <= told <= 80 + 20  # the pool's are copied out
    assert sampler.cached_images(0) == told  # a run that goes on is not told more


def test_ranking_shows_how_far_it_is(monkeypatch):
    shown, c = [], config()
    monkeypatch.setattr(Progress, "advance", lambda self, n=1: shown.append((self._total, n)))
    sampler = sampling.make_sampler(c, drive())
    sampler.mine(0, describe)
    rows = len(sampler.table)
    assert sum(n for _, n in shown) == rows and {total for total, _ in shown} == {rows}


def test_a_random_positive_is_not_described_for_mining():
    c, other = config(), config()
    c.tuples.mining_pool = other.tuples.mining_pool = 20
    other.tuples.positive = "random"
    best, drawn = (sampling.make_sampler(x, drive()) for x in (c, other))
    assert drawn.cached_images(0) < best.cached_images(0)
    best.mine(0, describe)
    drawn.mine(0, describe)
    assert (best.table[:, [0, 2]] == drawn.table[:, [0, 2]]).all()
    assert (best.table[:, 1] != drawn.table[:, 1]).any()
    # Semi-hard negatives are told by the positive's distance, so that it is described after all.
    other.tuples.mining = "semi_hard"
    semi_hard = sampling.make_sampler(other, drive())
    assert semi_hard.cached_images(0) == best.cached_images(0)
    semi_hard.mine(0, describe)
    assert (semi_hard.table[:, :2] == drawn.table[:, :2]).all()
    assert (semi_hard.table[:, 2:] != drawn.table[:, 2:]).any()


@pytest.mark.parametrize("mining_pool", [0, 20])
def test_without_mined_negatives_queries_and_positives_alone_are_described(mining_pool):
    c, described = config(), []
    c.tuples.update(negatives=0, in_batch="hardest", mining_pool=mining_pool, positive_radius=45.0)

    def note(images):
        described.append(images)
        return describe(images)

    sampler = sampling.make_sampler(c, drive())
    sampler.mine(0, note)
    queries, positive = sampler.table.T
    near = np.concatenate([sampler.positives.of[q] for q in queries])
    asked = np.union1d(queries, near)
    assert sampler.cached_images(0) == len(described[0]) < 80
    assert np.isin(described[0], asked).all() and np.isin(queries, described[0]).all()
    assert (len(described[0]) < len(asked)) is (mining_pool > 0)  # 3 positives of more do then
    everything = describe(np.arange(80))
    for q, p in zip(queries, positive, strict=True):
        of = np.intersect1d(sampler.positives.of[q], described[0])
        assert p == of[np.argmax(everything[of] @ everything[q])]
    c.tuples.positive = "random"
    sampler = sampling.make_sampler(c, drive())
    sampler.mine(0, note)
    assert len(described) == 1 and sampler.cached_images(0) == 0


def sampler_rounds(sampler):
    return [(s, sampler.round_end(s)) for s in range(10) if sampler.starts_round(s)]


def test_place_batches_hold_labels_within_the_group():
    c, places = config("arcface"), drive()
    sampler = sampling.make_sampler(c, places)
    batch, again = sampler.batch(7), sampler.batch(7)
    assert all((batch[k] == again[k]).all() for k in batch)
    group = sampler.classes.groups[batch["group"][0]]
    assert (batch["group_size"] == len(group)).all()
    for row, label in zip(batch["images"][..., 0, 0, 0], batch["labels"], strict=True):
        assert np.isin(row, sampler.classes.members[group[label]]).all()


def test_places_that_never_train_are_told():
    c = config("arcface")
    c.places.batch_places = 20
    words = sampling.make_sampler(c, drive(n=41)).summary()
    assert words == "ArcFace: 41 places in 2 groups"
    c.places.batch_places = 21
    words = sampling.make_sampler(c, drive(n=41)).summary()
    assert words.endswith("; 20 never train, as their groups hold fewer than 21")


def test_class_weights_start_at_the_mean_descriptor():
    sampler = sampling.make_sampler(config("arcface"), drive())
    descriptors = np.random.default_rng(1).normal(size=(80, 6)).astype(np.float32)
    members = sampler.class_members()
    assert len(members) > 50
    starts = sampler.class_starts(
        descriptors[members[i : i + 7]] for i in range(0, len(members), 7)
    )
    for g, group in enumerate(sampler.classes.groups):
        for slot, label in enumerate(group):
            mean = descriptors[sampler.classes.members[label]].astype(np.float64).mean(axis=0)
            assert np.allclose(starts[g, slot], mean / np.linalg.norm(mean), atol=1e-6)
        assert not starts[g, len(group) :].any()


def test_no_revisit_is_refused_with_a_remedy():
    c = config()
    with pytest.raises(ValueError, match=r"tuples\.other_visit_seconds"):
        sampling.make_sampler(c, drive(laps=1))


def both_ways(unknown=()):
    """Two laps of 20 positions, 10 apart, each with a front and a rear image: i stands at i % 40 // 2."""
    number = np.arange(80)
    headings = np.where(number % 2, -np.pi + 0.1, 0.1 + 2 * np.pi)
    headings[list(unknown)] = np.nan
    return standing(np.stack([10.0 * (number % 40 // 2), np.zeros(80)], axis=1), headings)


def looks_away(table, column):
    return table[:, 0] % 2 != table[:, column] % 2


def place_alike(images):
    """Descriptors that know the place and hardly the direction: the hardest negative stands there."""
    angle = (images % 40 // 2) * 0.3 + images % 2 * 0.01 + images // 40 * 0.001
    return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)


@pytest.mark.parametrize("pool", [0, 60])
@pytest.mark.parametrize("rule", ["hard", "semi_hard", "random"])
def test_positives_look_the_querys_way_and_what_looks_away_is_a_negative(rule, pool):
    c = config()
    c.tuples.update(other_visit_seconds=0.0, positive_radius=5.0, positive="random")
    c.tuples.update(mining=rule, mining_pool=pool)
    sampler = sampling.make_sampler(c, both_ways())
    sampler.mine(0, place_alike)
    table = sampler.table
    assert not looks_away(table, 1).any()
    assert (table[:, 1] == (table[:, 0] + 40) % 80).all()
    negatives, query = table[:, 2:], table[:, :1]
    near = abs(negatives % 40 // 2 - query % 40 // 2) <= 2
    assert not (near & (negatives % 2 == query % 2)).any()
    if rule == "hard":
        assert near.any()  # the same place the other way is the hardest
    c.tuples.heading_degrees = 0.0
    sampler = sampling.make_sampler(c, both_ways())
    sampler.mine(0, place_alike)
    assert looks_away(sampler.table, 1).any()
    assert (abs(sampler.table[:, 2:] % 40 // 2 - sampler.table[:, :1] % 40 // 2) > 2).all()


def test_headings_count_only_where_all_are_known(capsys):
    c, off = config(), config()
    for each in (c, off):
        each.tuples.update(other_visit_seconds=0.0, positive_radius=5.0)
    off.tuples.heading_degrees = 0.0
    nobody = range(80)
    tables = []
    for each, unknown in ((off, ()), (c, (3,)), (c, nobody)):
        sampler = sampling.make_sampler(each, both_ways(unknown))
        sampler.mine(0, place_alike)
        tables.append(sampler.table)
    assert all((table == tables[0]).all() for table in tables)
    told = capsys.readouterr().err
    assert told.count("1 of 80 training images have no heading") == 1 == told.count("warning")


def test_a_query_without_a_positive_that_looks_its_way_is_told():
    c = config()
    c.tuples.update(other_visit_seconds=0.0, positive_radius=5.0)
    places = both_ways().subset(np.arange(40))
    with pytest.raises(
        ValueError, match=r"looks the same way: raise tuples\.heading_degrees=90, or"
    ):
        sampling.make_sampler(c, places)
