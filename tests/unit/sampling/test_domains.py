"""Several datasets in one run: whose images a tuple or a batch holds, and how often."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers import short_run
from tests.helpers.memory_places import drive
from tests.helpers.short_run import config
from vprjax import sampling
from vprjax.config import checks
from vprjax.data import source
from vprjax.errors import ConfigError, DataError
from vprjax.losses import tuples as tuple_losses
from vprjax.sampling import make_sampler
from vprjax.storage.checkpoint import open_for_reading
from vprjax.training import preflight

HOME, OTHER = 80, 30


def both(**values):
    """A config of two datasets: 40 places of two visits, and 15 places of two visits in other units."""
    c = config(values.pop("loss", "triplet"))
    c.dataset.name = "places_csv/mine"
    c.train.steps = 12
    c.others.update(names=("places_csv/other:drive",), weights=(0.25,))
    c.others.update(values)
    return c


def other(size=(8, 10)):
    places = drive(n=15, laps=2, size=size)
    return dataclasses.replace(places, positions=places.positions * 3)  # 30 apart


def of(images):
    return np.asarray(images) >= HOME


def descriptors(images):
    return np.random.default_rng(0).normal(size=(200, 6)).astype(np.float32)[images]


@pytest.mark.parametrize("mining", ["hard", "random"])
def test_a_tuple_is_of_one_dataset_by_its_own_radii(mining):
    c = both(positive_radius=(5.0,), negative_radius=(65.0,))
    c.tuples.update(mining=mining, mining_pool=20, remembered=1)
    sampler, described = make_sampler(c, drive(), [other()]), []
    positions = np.concatenate([drive().positions, other().positions])

    def describe(images):
        described.append(images)
        return descriptors(images)

    tables = []
    for step in (0, 3, 6, 9):
        sampler.mine(step, describe)
        tables.append(sampler.table)
    table = np.concatenate(tables)
    assert (of(table) == of(table[:, :1])).all()
    share = of(table[:, 0]).mean()
    assert 0.1 < share < 0.4  # of 96 tuples, a quarter is asked for
    for row in table:
        gaps = np.abs(positions[row, 0] - positions[row[0], 0])
        near, far = (5, 65) if row[0] >= HOME else (10, 25)
        assert gaps[1] <= near and (gaps[2:] > far).all() and row[1] != row[0]
    assert all(len({*of(images)}) == 1 for images in described)  # each dataset ranks its own
    assert (len(described) > 0) is (mining == "hard")


def test_queries_of_each_dataset_go_round_and_a_round_is_drawn_anew():
    c = both()
    sampler = make_sampler(c, drive(), [other()])
    for step in (0, 3, 6, 9):
        sampler.mine(step, descriptors)
    again = make_sampler(c, drive(), [other()])
    again.mine(9, descriptors)  # a round depends on none before it
    assert (again.table == sampler.table).all()
    alone = make_sampler(config(), drive())
    alone.mine(0, descriptors)
    mixed = make_sampler(c, drive(), [other()])
    mixed.mine(0, descriptors)
    home = mixed.table[~of(mixed.table[:, 0])]
    assert (home[:, 0] == alone.table[: len(home), 0]).all()  # the same stream, more slowly
    c.seed = 1
    other_seed = make_sampler(c, drive(), [other()])
    other_seed.mine(9, descriptors)
    assert (other_seed.table != again.table).any()


def test_a_batch_says_whose_its_tuples_are_in_units_of_the_homes_radius():
    c = both(positive_radius=(5.0,), negative_radius=(50.0,))
    sampler = make_sampler(c, drive(), [other()])
    sampler.mine(0, descriptors)
    steps = [sampler.batch(step) for step in range(3)]
    batch = {key: np.concatenate([one[key] for one in steps]) for key in steps[0]}
    assert (batch["domain"] == of(sampler.table[:, 0])).all() and batch["domain"].any()
    rows = np.flatnonzero(batch["domain"])
    raw = np.concatenate([drive().positions, other().positions])[sampler.table[rows]]
    gaps = np.linalg.norm(raw - raw[:, :1], axis=-1)
    found = batch["positions"][rows]
    np.testing.assert_allclose(np.linalg.norm(found - found[:, :1], axis=-1), gaps / 2, rtol=1e-5)


def test_negatives_in_the_batch_are_of_the_querys_dataset():
    rng = np.random.default_rng(0)
    found = rng.normal(size=(4, 3, 5)).astype(np.float32)
    positions = np.repeat(rng.uniform(0, 1000, (4, 1, 2)), 3, axis=1).astype(np.float32)
    domain = np.array([0, 1, 0, 1], np.int32)

    def negatives(d, p, of):
        return tuple_losses.in_batch_negatives(
            d, p, "batch", radius=1.0, count=12, semi_hard=False, domain=of
        )

    mapped = jax.vmap(negatives, axis_name="batch")
    args = (jnp.asarray(x)[None] for x in (found, positions, domain))
    rows, valid, _ = (np.asarray(x)[0] for x in mapped(*args))
    for query in range(4):
        partner = (query + 2) % 4  # the only other tuple of its dataset
        assert valid[query].sum() == 3
        kept = {tuple(row) for row in rows[query][valid[query]].tolist()}
        assert kept == {tuple(row) for row in found[partner].tolist()}


@pytest.mark.parametrize("loss", ["arcface", "multi_similarity"])
def test_places_of_two_datasets_share_no_class_and_no_batch(loss):
    c = both(loss=loss, cell=(30.0,))
    c.places.update(batch_places=4, cell=10.0, groups=1)
    sampler = make_sampler(c, drive(), [other()])
    assert len(sampler.classes) == 40 + 15
    kinds = [of(member) for member in sampler.classes.members]
    assert all(len({*kind}) == 1 for kind in kinds)
    batches = [sampler.indices(step) for step in range(200)]
    assert all(len({*of(batch).ravel()}) == 1 for batch in batches)
    assert 0.15 < np.mean([of(batch).all() for batch in batches]) < 0.35
    step = next(step for step, batch in enumerate(batches) if of(batch).all())
    batch = sampler.batch(step)
    group = sampler.classes.groups[batch["group"][0]]
    for label, row in zip(batch["labels"], sampler.indices(step), strict=True):
        assert np.isin(row, sampler.classes.members[group[label]]).all()
    assert (batch["group_size"] == 15).all()
    starts = sampler.class_starts([descriptors(sampler.class_members())])
    assert starts.shape == (2, 40, 6) and not starts[1, 15:].any()


@dataclasses.dataclass
class Other(short_run.Dataset):
    """A second prepared dataset."""

    name = "places_csv/other"
    size: tuple = (8, 10)

    @property
    def counts(self):
        return {"drive": OTHER, "test": 0}

    def places(self, splits):
        return other(self.size)


def open_other(monkeypatch, size=(8, 10)):
    monkeypatch.setattr(source, "open_dataset", lambda config: Other(size))


def test_a_run_on_two_datasets_lists_both_and_resumes(tmp_path, monkeypatch):
    open_other(monkeypatch)
    c = both()
    c.train.steps = 4
    short_run.train(c, tmp_path)
    provenance = open_for_reading(tmp_path).config(4)["provenance"]
    assert provenance["others"] == {"places_csv/other:1.0.0:drive": OTHER}
    c.train.steps = 6
    short_run.train(c, tmp_path)
    data = preflight.training_data(c, short_run.Dataset())
    assert len(data.images) == HOME + OTHER and len(data.home) == HOME
    monkeypatch.setattr(Other, "places", lambda self, splits: drive(n=15))  # built anew
    with pytest.raises(ConfigError, match="others_set="):
        short_run.train(c, tmp_path)


def test_images_of_another_size_and_missing_splits_are_told_ahead(monkeypatch):
    open_other(monkeypatch, size=(8, 12))
    words = "places_csv/mine 8x10, places_csv/other:1.0.0:drive 8x12"
    with pytest.raises(ConfigError, match=f"others.names: all images .*{re.escape(words)}"):
        preflight.training_data(both(), short_run.Dataset())
    with pytest.raises(
        DataError, match=r"others\.names: dataset nowhere has no images in split 'test'"
    ):
        preflight.training_data(both(names=("places_csv/other:test",)), short_run.Dataset())
    open_other(monkeypatch)
    with pytest.raises(ConfigError, match=r"others\.names: .* names 'drive' twice; name it once"):
        preflight.training_data(both(names=("places_csv/other:drive,drive",)), short_run.Dataset())
    with pytest.raises(ConfigError, match=r"drive of others.names: none of 30 .* on another visit"):
        preflight.training_data(both(other_visit_seconds=(1e9,)), short_run.Dataset())


def test_radii_in_another_unit_and_doubtful_poses_are_told(monkeypatch):
    monkeypatch.setattr(Other, "metadata", {"position_unit": "m"})
    monkeypatch.setattr(short_run.Dataset, "metadata", {"position_unit": "frames"})
    open_other(monkeypatch)
    (told,) = preflight.training_data(both(), short_run.Dataset()).doubts
    assert "other:1.0.0:drive are in m, those of places_csv/mine in frames" in told
    assert told.endswith("set others.positive_radius and others.negative_radius")
    own = both(positive_radius=(5.0,), negative_radius=(50.0,))
    assert preflight.training_data(own, short_run.Dataset()).doubts == ()
    (told,) = preflight.training_data(both(positive_radius=(5.0,)), short_run.Dataset()).doubts
    assert told.endswith("are the home's: set others.negative_radius")
    places = other()
    close = dataclasses.replace(places, positions=places.positions * 1e-6)
    monkeypatch.setattr(Other, "places", lambda self, splits: close)
    with pytest.raises(ConfigError, match="too few"):  # told first, then refused
        preflight.training_data(own, short_run.Dataset())


def test_of_places_the_cell_is_told_and_of_labels_nothing(monkeypatch):
    monkeypatch.setattr(Other, "metadata", {"position_unit": "m"})
    open_other(monkeypatch)
    c = both(loss="arcface", positive_radius=(5.0,), negative_radius=(50.0,))
    (told,) = preflight.training_data(c, short_run.Dataset()).doubts
    assert told.endswith("are the home's: set others.cell")
    c.others.cell = (30.0,)
    assert preflight.training_data(c, short_run.Dataset()).doubts == ()
    c.places.by = "label"
    assert sampling.kind(c).lengths(c) == ()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"weights": (0.1, 0.1)}, r"others\.weights holds 2 values for the 1 datasets"),
        ({"weights": ()}, r"others\.weights holds 0 values"),
        ({"cell": (1.0, 2.0)}, r"others\.cell holds 2 values"),
        ({"positive_radius": (30.0,)}, r"others\.positive_radius=30 of .* must be below its neg"),
        ({"names": ("a:b",) * 2, "weights": (0.5, 0.5)}, "others.weights sum to 1, but"),
    ],
)
def test_values_that_do_not_fit_the_list_are_refused(values, words):
    checks.check_values(both())
    with pytest.raises(ConfigError, match=words):
        checks.check_values(both(**values))
