"""Maps that know which answers count, and drives that are followed frame by frame."""

import dataclasses
import json
import types

import cv2
import numpy as np
import pytest

from configs import base
from tests.helpers import made_up_model, memory_places
from vprjax import run
from vprjax.errors import DataError
from vprjax.localize import answer, calibrate, calibration, likeness, sources
from vprjax.localize.map import Map
from vprjax.training import validation

N = 40


@pytest.fixture
def places(tmp_path):
    """A map of `N` pictures 10 m apart."""
    file = made_up_model.drive(tmp_path / "map", range(N))
    return Map.build(made_up_model.model(), file, tmp_path / "kept")


def other(folder, shift, numbers=range(N), **more):
    """Queries of nearly the same pictures, `shift` metres on, as a source."""
    return sources.read(made_up_model.drive_again(folder, shift, numbers, **more))


def test_a_map_locates_after_its_calibration(places, tmp_path):
    first = places.query(made_up_model.picture(3))
    assert first.located is None and first.queries == 0
    queries = other(tmp_path / "queries", 5.0)
    found = calibrate.of_map(places, queries, 25.0, 0.99, "queries")
    assert (found.queries, found.reached, found.answered) == (N, 1.0, 1.0)
    assert found.model == places.model.id and found.data == "queries against kept"
    assert found.measure == "ratio"
    found.write(places.folder / calibration.FILE)
    again = Map.open(places.folder, places.model)
    known, strange = again.query([made_up_model.picture(3), made_up_model.picture(999)])
    assert (known.queries, strange.queries) == (N, N)
    every = again.query(queries.frames.paths.tolist())
    assert all(one.located for one in [*every, again.query(made_up_model.picture(7))])
    assert known.located is True and strange.located is False
    assert known.confidence > 0.9 and strange.distances[0] > found.threshold
    other_model = dataclasses.replace(found, model="another")
    other_model.write(places.folder / calibration.FILE)
    assert again.calibration is None


def test_answers_beyond_the_radius_are_wrong(places, tmp_path):
    asked = calibrate.answers_of_map(places, other(tmp_path / "q", 30.0), 25.0)
    assert not asked.right.any() and len(asked.ratios) == N and (asked.ratios < 0.01).all()
    assert asked.distances == pytest.approx(0, abs=1e-2)
    found = calibrate.of_map(places, other(tmp_path / "q", 30.0), 25.0, 0.99, "q")
    assert found.threshold == -1 and "nothing is located" in found.words()


def test_a_map_without_positions_locates_by_the_distance(places, tmp_path):
    """Its neighbours would be other places to a ratio, and nothing would be located."""
    known_and_not = [*range(20), *range(120, 140)]
    queries = other(tmp_path / "queries", 0.0, known_and_not)
    found = calibrate.of_map(places, queries, 25.0, 0.99, "queries")
    assert (found.plain.measure, found.plain.answered, found.plain.reached) == (
        "distance",
        0.5,
        1.0,
    )
    assert found.plain.threshold < 0.01 and found.plain.queries == N
    twice = [number for number in range(N) for _ in range(2)]  # a standing camera
    file = made_up_model.drive(tmp_path / "lost", twice, x=None, y=None)
    document = json.loads(file.read_text())
    for place, row in enumerate(document["splits"]["drive"]):
        row["id"] = f"{place:03d}"
    file.write_text(json.dumps(document))
    lost = Map.build(places.model, file, tmp_path / "unplaced")
    pictures = [made_up_model.picture(number) for number in (3, 999)]
    assert [one.rule for one in lost.query(pictures)] == [None, None]
    found.write(lost.folder / calibration.FILE)
    for asked in (pictures, 10 * pictures):  # one pass, and a search of many
        known, strange = lost.query(asked)[:2]
        assert (known.located, strange.located) == (True, False)
        assert known.rule == strange.rule == "distance" and known.confidence > 0.9
    lacking, grown = answer.doubts(found, lost.frames.positions)
    assert "80 of 80 images of the map have no position" in lacking and "this one has 80" in grown
    old = dataclasses.replace(found, plain=None)
    assert "of an earlier version; calibrate again" in answer.doubts(old, lost.frames.positions)[0]
    old.write(lost.folder / calibration.FILE)
    assert lost.query(pictures[0]).located is None and lost.query(pictures[0]).rule is None
    found.write(places.folder / calibration.FILE)
    assert places.query(pictures[0]).rule == "ratio"
    assert answer.doubts(found, places.frames.positions) == []


def test_of_a_map_with_some_positions_each_answer_has_its_rule(places, tmp_path):
    found = calibrate.of_map(places, other(tmp_path / "queries", 5.0), 25.0, 0.99, "queries")
    found.write(places.folder / calibration.FILE)
    places.add(made_up_model.drive(tmp_path / "lost", [50], x=None, y=None))
    known, lost = places.query([made_up_model.picture(number) for number in (3, 50)])
    assert (known.rule, lost.rule) == ("ratio", "distance")
    assert known.located is lost.located is True


def test_queries_of_known_places_alone_tell_strange_ones_too(places, tmp_path):
    """Every answer is right, so that any threshold would keep the precision."""
    queries = other(tmp_path / "queries", 5.0)
    asked = calibrate.answers_of_map(places, queries, 25.0)
    assert asked.right.all() and len(asked.lost_ratios) == N
    for lost, known in (
        (asked.lost_ratios, asked.ratios),
        (asked.lost_distances, asked.distances),
    ):
        assert lost.min() > 10 * known.max()
    by_hand = []
    rows = places.descriptors[np.arange(N)].astype(np.float64)
    asking = [*places.model.stream(queries.pictures(places.model.form))]
    for number, row in enumerate(np.concatenate(asking).astype(np.float64)):
        gaps = np.linalg.norm(rows - row, axis=1)
        away = np.flatnonzero(np.abs(10 * np.arange(N) - 10 * number - 5) > 25)
        first = away[gaps[away].argmin()]
        others = away[np.abs(away - first) > 2]
        by_hand.append(gaps[first] / gaps[others].min())
    np.testing.assert_allclose(asked.lost_ratios, by_hand, rtol=1e-3)
    found = calibrate.of_map(places, queries, 25.0, 0.99, "queries")
    assert found.threshold == asked.ratios.max() and found.plain.threshold < 0.01
    strange = [made_up_model.picture(number) for number in range(500, 530)]
    rows = places.model.describe(strange)
    assert not any(one.located for one in places.query_descriptors(rows, 1, found))
    whole = other(tmp_path / "whole", 5.0)
    assert len(calibrate.answers_of_map(places, whole, 1000.0).lost_ratios) == 0


def test_a_picture_of_another_kind_is_not_located(places, tmp_path):
    """It is near to the map's strangest image alone, so that its ratio is small."""
    queries = other(tmp_path / "queries", 5.0)
    found = dataclasses.replace(
        calibrate.of_map(places, queries, 25.0, 0.99, "queries"), threshold=0.5
    )
    rows = places.descriptors[np.arange(N)]
    middle = likeness.centre(rows)
    outermost = int((rows @ middle).argmin())
    assert found.likeness == pytest.approx((rows @ middle).min(), abs=2e-3)
    row = rows[outermost] - 0.2 * middle
    row /= np.linalg.norm(row)
    anyhow = dataclasses.replace(found, likeness=-1.0)
    for many in (1, 20):  # one pass, and a search of many
        asked = np.tile(row, (many, 1))
        refused = places.query_descriptors(asked, 5, found)[0]
        taken = places.query_descriptors(asked, 5, anyhow)[0]
        assert (refused.located, refused.rule) == (False, "likeness")
        assert (taken.located, taken.rule) == (True, "ratio")
        assert refused.confidence == min(found.shares) < taken.confidence
        assert refused.numbers[0] == outermost and refused.queries == N
        assert refused.numbers.tolist() == taken.numbers.tolist()
        assert refused.distances.tolist() == taken.distances.tolist()
    places.add(made_up_model.drive(tmp_path / "more", range(500, 540), split="more"))
    grown = likeness.centre(places.descriptors[np.arange(2 * N)])
    edge = dataclasses.replace(found, likeness=float(row @ grown) - 1e-4)
    assert places.query_descriptors(row[None], 5, edge)[0].rule == "ratio"


def test_what_counts_of_an_answer(places, tmp_path):
    asked = calibrate.answers_of_map(places, other(tmp_path / "queries", 5.0), 25.0)
    least = float(np.median(asked.likeness))
    for measure, known, lost in (
        ("ratio", asked.ratios, asked.lost_ratios),
        ("distance", asked.distances, asked.lost_distances),
    ):
        found = asked.measures(measure, least)
        for values, plain in zip(found, (known, lost), strict=True):
            alike = np.isfinite(values)
            assert alike.sum() == N / 2 and (values[alike] == plain[alike]).all()
            assert (asked.likeness[alike] >= least).all()


def test_what_cannot_calibrate(places, tmp_path):
    few = other(tmp_path / "few", 0.0, range(9))
    with pytest.raises(DataError, match=r"9 pictures of .* have a position, .* needs 10 or more"):
        calibrate.checked(places, few, "few")
    with pytest.raises(DataError, match=r"an unknown system, .* EPSG:32631: bring both to one"):
        calibrate.checked(places, other(tmp_path / "flat", 0.0, crs=None), "flat")
    far = calibrate.checked(places, other(tmp_path / "far", 0.0, crs="EPSG:32632"), "far").frames
    assert far.crs == "EPSG:32631" and 900_000 < far.positions[0, 0] < 940_000
    near = other(tmp_path / "near", 5.0)
    with pytest.raises(
        DataError, match=r"lies within 1e\+06 m of every picture of near, so no answer can"
    ):
        calibrate.checked(places, near, "near", 1e6)
    assert calibrate.checked(places, near, "near", 100.0)
    file = made_up_model.drive(tmp_path / "unknown", range(N))
    document = json.loads(file.read_text())
    document["splits"]["drive"][4] |= {"x": None, "y": None}
    file.write_text(json.dumps(document))
    lacking = Map.build(made_up_model.model(), file, tmp_path / "lacking")
    with pytest.raises(DataError, match=r"1 of 40 images of .*lacking have no position"):
        calibrate.checked(lacking, other(tmp_path / "queries", 0.0), "queries")
    with pytest.raises(DataError, match="every place has a position"):
        lacking.follow(10.0)


def test_a_run_adds_images_of_training_to_the_map_of_its_held_out_stretch(tmp_path, monkeypatch):
    places = textured()
    rest, queries, known = places.subset(np.arange(80)), np.arange(100, 120), np.arange(80, 100)
    held = validation.Validation(places.subset(queries), places.subset(known))
    data = types.SimpleNamespace(home=rest, held_out=held)
    monkeypatch.setattr(run, "load", lambda _: made_up_model.model())
    config = base.get_config()
    config.dataset.tolerances = (5.0,)
    run._calibrate(config, data, tmp_path)
    found = calibration.read(tmp_path / calibration.FILE)
    first, other = found.data.split(" against ")
    assert (found.measure, found.radius, found.queries) == ("ratio", 5.0, 20)
    assert first == "20 images of b" and other == (
        "20 images of b and 50 images of a that it trained on, untrained"
    )
    config.validation.query_split = "b"  # named splits are a map as it is
    run._calibrate(config, data, tmp_path)
    assert calibration.read(tmp_path / calibration.FILE).data.endswith("20 images of b, untrained")


def test_the_images_of_training_are_drawn_by_the_seed(monkeypatch):
    places = textured()
    places.positions[3] = np.nan
    assert len(calibrate.other_places(places, 0)) == 49
    monkeypatch.setattr(calibrate, "MOST_OTHERS", 10)
    drawn = [calibrate.other_places(places, seed).image_ids.tolist() for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2] and len(set(drawn[0])) == 10
    assert set(drawn[0]) <= set(places.image_ids[:50])


def textured():
    """120 pictures 10 m apart, 50 of split a and 70 of b; the last 20 are again those before."""
    shown = [*range(100), *range(80, 100)]
    pictures = [made_up_model.picture(number) for number in shown]
    encoded = [cv2.imencode(".png", picture)[1].tobytes() for picture in pictures]
    places = memory_places.standing(np.array([[10.0 * number, 0.0] for number in shown]))
    return dataclasses.replace(
        places,
        splits=(np.arange(120) >= 50).astype(int),
        split_names=("a", "b"),
        sources=(memory_places.Memory(encoded),) * 2,
    )


def test_a_drive_is_followed(places):
    rng = np.random.default_rng(0)
    follower = places.follow(speed=12.0, radius=15.0)
    answers = []
    for number in range(N):
        shown = (
            rng.integers(N) if number % 5 == 4 else number
        )  # every fifth frame is another place's
        answers.append(follower.step(made_up_model.picture(shown), 1.0, k=3))
    errors = [abs(one.positions[0, 0] - 500000 - 10 * i) for i, one in enumerate(answers)]
    assert (
        max(errors[4:]) <= 20 and answers[-2].confidence > 0.95 and len(answers[0].image_ids) == 3
    )
    assert {one.rule for one in answers} == {"belief"}
    alone = places.query(made_up_model.picture(7))
    assert alone.distances[0] == pytest.approx(0, abs=1e-3)
    every = places.distances(places.model.describe(made_up_model.picture(7))[0])
    np.testing.assert_allclose(np.sort(every)[:5], alone.distances, atol=1e-3)


def test_a_model_with_another_size_has_no_calibration(places, tmp_path):
    found = calibrate.of_map(places, other(tmp_path / "queries", 5.0), 25.0, 0.99, "queries")
    places.model.calibration = json.loads(json.dumps(dataclasses.asdict(found)))
    assert places.calibration.threshold == found.threshold
    places.model.form = dataclasses.replace(places.model.form, height=16)
    assert places.calibration is None
