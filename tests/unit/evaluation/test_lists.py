"""Right answers that a dataset lists: figures against a count by hand, and by brute force."""

import types

import numpy as np
import pytest

from configs import base
from tests.helpers.memory_places import standing
from vprjax.data import protocol
from vprjax.errors import ConfigError, DataError
from vprjax.evaluation import measure
from vprjax.evaluation.truth import Lists

LISTS = [[0, 1], [3], [], [2]]


def config():
    c = base.get_config()
    c.dataset.tolerances, c.dataset.query_splits = (0.0,), ("query",)
    c.dataset.reference_split, c.dataset.position_unit = "ref", "frames"
    c.eval.recalls = (1, 2)
    return c


def dataset(**metadata):
    found = {"positives": {"query": {"reference": "ref", "lists": LISTS}}} | metadata
    counts = {"query": 4, "ref": 4, "other": 4}
    return types.SimpleNamespace(name="places_csv/x", folder="x", counts=counts, metadata=found)


def test_figures_by_hand():
    eye = np.eye(4, dtype=np.float32)
    described = np.stack([eye[1], eye[2] + 0.9 * eye[3], eye[0], eye[2]])
    places = standing(np.full((4, 2), np.nan), labels=["a", "b", "b", "a"])
    lists = protocol.positives(dataset(), "query", "ref")
    query = measure.Described(places, described, lists)
    reference = measure.Described(standing(np.arange(8.0).reshape(4, 2)), eye)
    found = measure.measure(config(), query, reference)
    assert found.figures.fcm == {"0": 50.0} and found.figures.oracle_fcm == {"0": 75.0}
    assert found.figures.recall == {"1": 50.0, "2": 75.0}
    assert found.figures.with_position == found.figures.queries == 4  # an empty list counts
    assert found.matches.errors.tolist() == [0, np.inf, np.inf, 0]
    assert found.matches.nearest.tolist() == [0, 3, -1, 2]
    assert found.figures.labels["a"].fcm == {"0": 100.0}
    assert found.figures.labels["b"].fcm == {"0": 0.0}


def test_recall_against_brute_force():
    random = np.random.default_rng(3)
    lists = [random.choice(50, random.integers(0, 6), replace=False) for _ in range(40)]
    indices = np.stack([random.permutation(50)[:20] for _ in range(40)])
    rows = [*zip(indices, lists, strict=True)]
    expected = [
        100 * np.mean([bool(set(row[:n]) & set(right)) for row, right in rows]) for n in (1, 5, 20)
    ]
    np.testing.assert_allclose(Lists(lists).recall(indices, 0.0, (1, 5, 20)), expected)


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("dataset", "tolerances", (25.0, 0.0)),
        ("eval", "recall_radius", 10.0),
        ("eval", "heading_degrees", 9.0),
    ],
)
def test_distances_do_not_count(section, key, value):
    c = config()
    protocol.check_lists(c, dataset())
    c[section][key] = value
    with pytest.raises(ConfigError, match=f"no distance or heading counts: set {section}.{key}="):
        protocol.check_lists(c, dataset())


def test_validation_cannot_choose_by_distance():
    c = config()
    protocol.check_validation(c, dataset())
    c.validation.every = 10
    with pytest.raises(ConfigError, match=r"lists its right answers.*set validation\.every=0"):
        protocol.check_validation(c, dataset())
    protocol.check_validation(c, dataset(positives=None))


def test_lists_of_other_images():
    with pytest.raises(DataError, match=r"set dataset\.reference_split=ref"):
        protocol.positives(dataset(), "query", "other")
    shorter = {"query": {"reference": "ref", "lists": LISTS[:3]}}
    with pytest.raises(DataError, match="lists right answers of 3 queries up to reference 3, but"):
        protocol.positives(dataset(positives=shorter), "query", "ref")
    assert protocol.positives(dataset(), "other", "ref") is None


NAMED = {
    "name": "msls_25m", "positives": "near", "queries": "all", "source": "s", "radius": 25.0,
    "heading_degrees": 0.0,
}  # fmt: skip


def test_a_run_says_how_it_counts_and_where_that_is_not_the_protocol():
    c, data = config(), dataset(protocol=NAMED, positives=None)
    c.dataset.tolerances, c.dataset.position_unit = (25.0, 10.0), "m"
    assert not list(protocol.differences(c, data))
    assert protocol.used(c, data) == {**NAMED}
    assert protocol.words(protocol.used(c, data)) == "msls_25m: near; all"
    c.eval.recall_radius = 10.0
    (said,) = protocol.differences(c, data)
    assert (
        "msls_25m of places_csv/x counts right answers within 25 m, but recall@N counts 10 m"
        in said
    )
    assert protocol.used(c, data)["radius"] == 10.0
    c.eval.update(recall_radius=0.0, heading_degrees=40.0)
    (said,) = protocol.differences(c, data)
    assert "eval.heading_degrees is 40: the figures are not that protocol's" in said
    bare = types.SimpleNamespace(metadata={})
    assert not list(protocol.differences(c, bare))
    assert protocol.used(c, bare) == {"radius": 25.0, "heading_degrees": 40.0}
    assert protocol.used(config(), dataset())["radius"] is None
