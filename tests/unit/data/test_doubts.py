"""Positions and headings in a false unit are told; sound ones of every scale are not."""

import math

import numpy as np
import pytest

from tests.helpers.memory_places import standing
from vprjax.data import doubts

DEGREES = 111_000.0  # metres
rng = np.random.default_rng(0)


def drive(metres=5.0, n=300, noise=0.2):
    """A winding drive with an image every `metres`."""
    s = metres * np.arange(n)
    return np.stack([s, 30 * metres * np.sin(s / (40 * metres))], 1) + rng.normal(0, noise, (n, 2))


def told(positions, unit="m", headings=None):
    return [*doubts.of_poses({"train": standing(positions, headings)}, unit)]


TOWN = np.array([-1.26, 51.75]) + drive() / DEGREES
TWO_TOWNS = np.concatenate([TOWN, TOWN + np.array([1.4, 0.4])])


@pytest.mark.parametrize(
    ("positions", "found"),
    [
        (TOWN, "positions span only"),
        (TWO_TOWNS, "positions of train are only"),
        (TWO_TOWNS[:, ::-1], "positions of train are only"),
        (rng.permutation(TWO_TOWNS), "positions of train are only"),
        (
            np.concatenate([TOWN - np.array([0.0, 2.5 * i]) for i in range(40)]),
            "positions of train are only",
        ),
    ],
)
def test_degrees_are_told(positions, found):
    (sentence,) = told(positions)
    assert sentence.startswith(found) and "these look like degrees of longitude" in sentence
    assert not told(positions, "degrees") and not told(positions, "frames")


def test_another_large_unit_is_told():
    (sentence,) = told(np.array([620.0, 5735.0]) + drive(0.5) / 1000)
    assert "these look like no metres" in sentence


def test_metres_at_one_place_are_not_to_be_projected():
    town = np.array([620_000.0, 5_735_000.0])
    (sentence,) = told(town + 0.01 * drive(n=4))
    assert "so that any match is right: check that they are not rounded" in sentence
    standing_still = rng.normal(0, 1e-4, (300, 2))
    standing_still[0] = 50.0
    assert not told(town + standing_still)


STILL = np.concatenate([np.zeros((400, 2)), drive(0.05, noise=0.0)])
HALL = rng.uniform(0, 5, (50_000, 2))  # a patrol in a hall of 5 m


@pytest.mark.parametrize(
    "positions", [drive(), drive(0.05, noise=0.01), drive() + 5e6, STILL, HALL, np.zeros((1, 2))]
)
def test_sound_positions_are_not_told(positions):
    assert not told(positions)


@pytest.mark.parametrize("mark", [0.0, -1.0, -9999.0])
def test_positions_that_stand_for_none_are_told(mark):
    town = drive() + np.array([620_000.0, 5_735_000.0])
    (sentence,) = told(np.concatenate([town, np.full((7, 2), mark)]))
    assert sentence.startswith(f"7 of 307 images lie at {mark:g}, {mark:g}, ")
    assert not told(np.concatenate([town, np.full((7, 2), mark)]), "frames")
    assert not told(np.concatenate([drive(), np.full((7, 2), 3.0)])), "a map's own origin"


def test_headings_in_degrees_are_told():
    headings = np.array([0.0, 6.2832, -270.0, 90.0, math.nan])
    (sentence,) = told(drive(n=5), headings=headings)
    assert sentence.startswith("headings are radians, but 2 of 5 are beyond 2 pi, up to 270")
    assert not told(drive(n=5), headings=headings % math.pi)


@pytest.mark.parametrize(
    ("mark", "others", "said"),
    [
        (-999.0, -1.5, "100 of 300 headings are -999: where that stands for an unknown one, build"),
        (-1.0, 1.5, "100 of 300 headings are -1: where that stands for an unknown one, build the"),
    ],
)
def test_a_number_that_stands_for_an_unknown_heading_is_told(mark, others, said):
    headings = np.where(np.arange(300) % 3, others, mark)
    (sentence,) = told(drive(), headings=headings)
    assert sentence.startswith(said)


def test_a_heading_of_minus_one_among_negative_ones_is_sound():
    assert not told(drive(), headings=np.where(np.arange(300) % 3, -1.5, -1.0))


@pytest.mark.parametrize(("share", "count"), [(0.6, 1), (0.4, 0)])
def test_queries_of_a_receiver_that_kept_its_position_are_told(share, count):
    queries = drive()
    queries[: int(share * len(queries))] = queries[0]
    splits = {"reference": standing(drive()), "test01": standing(queries)}
    said = [*doubts.of_poses(splits, "m")]
    assert len(said) == count and all("180 of 300 images of test01 lie at one" in s for s in said)


def truth(queries, references, tolerances=(25.0, 2.0)):
    sides = standing(queries), doubts.Known(standing(references))
    return [*doubts.of_truth("night", *sides, tolerances, "m")]


def test_every_reference_right_at_the_tightest_tolerance_is_told():
    (sentence,) = truth(TOWN, TOWN)
    assert sentence.startswith("any match is right for 100.0 % of the queries of night, and one at")
    far = np.concatenate([TOWN, TOWN + 90.0])
    assert "any match is right for 50.0 % of the queries" in truth(far, TOWN)[0]
    assert "one at random in 50.0 % of cases" in truth(far, far)[0]
    assert not truth(drive(), drive())
    assert not truth(drive(0.05), drive(0.05), (1.0, 0.25))


def test_a_country_in_degrees_is_told():
    towns = rng.uniform((6, 47), (14, 55), (200, 2))
    assert not told(towns), "steps of half a unit might be metres"
    (sentence,) = truth(towns + 1e-4, towns)
    assert sentence.startswith(
        "any match is right for 0.0 % of the queries of night, and one at ran"
    )
    assert not truth(50 * towns[:3], 50 * towns[:3]), "few references, each far from the others"


def test_two_sides_in_different_units_are_told():
    (sentence,) = truth(TOWN, drive() + 5e5)
    assert sentence.startswith("no query of night lies within 25 m of a reference, the nearest is")
    assert not truth(drive() + np.array([0.0, 20.0]), drive())


@pytest.mark.parametrize(("turn", "doubted"), [(math.pi, True), (0.5, False), (2 * math.pi, False)])
def test_queries_that_all_look_away_are_told(turn, doubted):
    headings = np.linspace(-1.0, 1.0, 300)
    sides = standing(drive(), headings + turn), doubts.Known(standing(drive(), headings))
    found = [*doubts.of_truth("night", *sides, (25.0, 2.0), "m", 45.0)]
    assert [("that looks its way, to eval.heading_degrees=45" in words) for words in found] == (
        [True] * doubted
    )
    assert not [*doubts.of_truth("night", *sides, (25.0, 2.0), "m")]


def test_all_checks_look_in_one_index_of_the_references(monkeypatch):
    made, tree = [], doubts.cKDTree
    monkeypatch.setattr(doubts, "cKDTree", lambda *words: made.append(words) or tree(*words))
    known = doubts.Known(standing(drive(), np.zeros(300)))
    for name in ("day", "night"):
        asked = standing(drive(), np.zeros(300))
        assert not [*doubts.of_truth(name, asked, known, (25.0, 2.0), "m", 45.0)]
        assert not [*doubts.of_recall(name, asked, known, 5.0, "m")]
    assert len(made) == 1


@pytest.mark.parametrize(("radius", "count"), [(0.01, 1), (0.0, 0), (5.0, 0)])
def test_a_recall_radius_below_every_distance_is_told(radius, count):
    asked, known = standing(drive(noise=0.0) + np.array([0.0, 1.0])), standing(drive(noise=0.0))
    said = [*doubts.of_recall("test01", asked, doubts.Known(known), radius, "m")]
    assert len(said) == count
    assert all("eval.recall_radius=0.01 m of a reference, the nearest is" in s for s in said)
