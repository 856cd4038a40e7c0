"""The ratio to the next other place: by brute force, for many queries and for one, and in a map."""

import dataclasses
import json

import numpy as np
import pytest

from tests.helpers import made_up_model
from vprjax import retrieval
from vprjax.localize import calibrate, calibration, next_place, sources
from vprjax.localize.map import Map
from vprjax.retrieval.few import Few


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def drive(n=400, d=24, near=0.3, seed=0):
    """Descriptors `(n, d)` that change slowly along a line, and positions one unit apart."""
    rng = np.random.default_rng(seed)
    rows = unit(np.cumsum(near * rng.normal(size=(n, d)), axis=0) + rng.normal(size=d))
    return rows, np.stack([np.arange(n), np.zeros(n)], axis=1).astype(np.float64)


def asked(rows, count=40, seed=1):
    rng = np.random.default_rng(seed)
    return unit(rows[rng.choice(len(rows), count)] + 0.05 * rng.normal(size=rows[:count].shape))


def brute(queries, rows, positions, radius):
    """Indices and ratios of first answers, in float64."""
    full = np.linalg.norm(queries[:, None].astype(np.float64) - rows[None], axis=2)
    firsts, out = full.argmin(axis=1), []
    for distances, first in zip(full, firsts, strict=True):
        beside = np.linalg.norm(positions - positions[first], axis=1) <= radius
        beside[first] = True
        other = distances[~beside].min() if not beside.all() else 2.0
        out.append(min(1.0, max(distances[first], 1e-4) / max(other, 1e-4)))
    return firsts, np.array(out)


def both(queries, rows, positions, radius, k=1):
    """The answers, which one by one and all at once are the same."""
    found = next_place.search(queries, rows, positions, radius, k)
    few = Few([rows[:9], rows[9:]])
    alone = next_place.search_few(few, queries, positions, radius, k)
    assert (alone.indices == found.indices).all() and found.ratios.shape == (len(queries), k)
    np.testing.assert_allclose(alone.ratios, found.ratios, rtol=1e-6)
    np.testing.assert_allclose(alone.distances, found.distances, rtol=1e-6)
    return found


@pytest.mark.parametrize("radius", [0.0, 25.0, 150.0])
def test_as_brute_force(radius):
    rows, positions = drive()
    queries = asked(rows)
    found = both(queries, rows, positions, radius)
    firsts, ratios = brute(queries, rows, positions, radius)
    assert (found.indices[:, 0] == firsts).all()
    np.testing.assert_allclose(found.ratios[:, 0], ratios, rtol=1e-5)
    assert 0 < found.ratios.min() and found.ratios.max() <= 1


def test_further_searches_find_what_the_first_does_not(monkeypatch):
    rows, positions = drive(near=0.02)
    queries = asked(rows, 8)
    reaches, real = [], retrieval.search

    def noted(queries, references, k):
        reaches.append((len(queries), k))
        return real(queries, references, k)

    monkeypatch.setattr(retrieval, "search", noted)
    monkeypatch.setattr(next_place, "BYTES", 3 * 64 * next_place.HELD)  # three queries at a time
    found = next_place.search(queries, rows, positions, 60.0)
    np.testing.assert_allclose(
        found.ratios[:, 0], brute(queries, rows, positions, 60.0)[1], rtol=1e-5
    )
    assert reaches[:2] == [(8, 16), (3, 64)] and max(k for _, k in reaches) >= 256


def test_within_the_radius_of_all_the_other_place_is_at_distance_two():
    rows, positions = drive(70)
    found = both(asked(rows, 5), rows, positions, 1000.0)
    np.testing.assert_allclose(found.ratios[:, 0], found.distances[:, 0] / 2, rtol=1e-6)
    one = both(asked(rows, 5), rows[:1], positions[:1], 1.0)
    np.testing.assert_allclose(one.ratios[:, 0], one.distances[:, 0] / 2, rtol=1e-6)


def test_an_unknown_position_is_another_place():
    rows, positions = drive(60, near=0.05)
    positions[[7, 30]] = np.nan
    found = both(rows[[6, 30, 50]], rows, positions, 20.0, k=3)
    firsts, ratios = brute(rows[[6, 30, 50]], rows, positions, 20.0)
    assert found.indices[:, 0].tolist() == firsts.tolist() == [6, 30, 50]
    np.testing.assert_allclose(found.ratios[:, 0], ratios, rtol=1e-5)
    near = np.linalg.norm(rows[6].astype(np.float64) - rows[7])
    assert found.ratios[0, 1] == pytest.approx(found.distances[0, 1] / near, rel=1e-6)


def test_equal_descriptors_at_far_places_have_the_ratio_one():
    rows, positions = drive(80, d=16)
    rows[[10, 11, 60]] = rows[10]
    found = both(rows[[10, 40]], rows, positions, 5.0)
    assert found.indices[:, 0].tolist() == [10, 40]
    assert found.distances[0, 0] == 0 and found.ratios[0, 0] == 1 and found.ratios[1, 0] < 0.01
    rows[60] = unit(rows[10] + np.float32(3e-7))  # another batch rounds otherwise
    assert both(rows[[10]], rows, positions, 5.0).ratios[0, 0] == 1
    positions[60] = positions[12]
    assert both(rows[[10]], rows, positions, 5.0).ratios[0, 0] < 0.01


def drive_of(folder, pictures, shift=0.0):
    """A positions file of a drive past these pictures, 10 m apart; a picture may come again."""
    file = made_up_model.drive(folder, pictures)
    document = json.loads(file.read_text())
    for place, row in enumerate(document["splits"]["drive"]):
        row["id"], row["x"] = f"{place:03d}", row["x"] + shift
    file.write_text(json.dumps(document))
    return file


def test_places_that_look_alike_are_not_located(tmp_path):
    """Two tunnels with one picture, 250 m apart: a query there has the distance 0 to a wrong place."""
    model = made_up_model.model()
    plain = Map.build(model, drive_of(tmp_path / "plain", range(40)), tmp_path / "short")
    known_and_not = [*range(20), *range(120, 140)]
    queries = sources.read(drive_of(tmp_path / "queries", known_and_not, 5.0))
    found = calibrate.of_map(plain, queries, 25.0, 0.99, "queries")
    assert found.measure == "ratio" and found.threshold < 0.1 and found.answered == 0.5

    tunnels = [*range(5), 99, *range(5, 29), 99, *range(30, 39)]
    places = Map.build(model, drive_of(tmp_path / "map", tunnels), tmp_path / "kept")
    pictures = [made_up_model.picture(n) for n in (*tunnels[:6], 999)]
    found.write(places.folder / calibration.FILE)
    for answers in (places.query(3 * pictures)[:7], [places.query(one) for one in pictures]):
        assert [answer.located for answer in answers] == [True] * 5 + [False] * 2
        assert answers[5].distances[0] == pytest.approx(0, abs=1e-3)
        assert answers[5].confidence < 0.3 < 0.9 < answers[0].confidence
    by_distance = dataclasses.replace(found, measure="distance", threshold=0.1)
    by_distance.write(places.folder / calibration.FILE)
    assert [answer.located for answer in places.query(pictures)] == [True] * 6 + [False]
