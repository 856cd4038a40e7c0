"""A threshold that keeps a precision, falling shares of right answers, and what other queries show."""

import dataclasses
import json

import numpy as np
import pytest

from vprjax.errors import DataError
from vprjax.localize import calibration
from vprjax.storage import checksum

FACTS = {"model": "m", "data": "val of mine", "radius": 25.0}


def drawn(n, seed=0):
    """Answers that are right with probability `1 - distance`."""
    rng = np.random.default_rng(seed)
    distances = rng.uniform(size=n)
    return distances, rng.uniform(size=n) > distances


def test_the_threshold_by_hand():
    distances = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    right = np.array([True, True, False, True, False, False])
    found = {p: calibration.fit(distances, right, p, **FACTS) for p in (1.0, 0.75, 0.5, 0.4)}
    assert [c.threshold for c in found.values()] == [0.2, 0.4, 0.6, 0.6]
    assert (found[0.75].reached, found[0.75].answered) == (0.75, 4 / 6)
    assert found[1.0].located(np.array([0.2, 0.21])).tolist() == [True, False]


def test_of_lost_queries_nearly_all_are_refused():
    values, right = np.array([0.1, 0.2, 0.3, 0.4]), np.full(4, True)
    assert calibration.fit(values, right, 0.75, **FACTS).threshold == 0.4
    lost = np.array([0.25, 0.9])
    found = calibration.fit(values, right, 0.75, lost, **FACTS)
    assert (found.threshold, found.reached, found.answered, found.queries) == (0.2, 1.0, 0.5, 4)
    # Each of the lost counts as two of the others: beyond 0.2 two of four are right, then none.
    expected = [2.5 / 3, 2.5 / 5, 0.5 / 3]
    assert found.confidence(np.array([0.2, 0.4, 0.9])) == pytest.approx(expected)
    many = np.concatenate([lost[:1], np.full(19, 0.9)])  # one of twenty may be located
    assert calibration.fit(values, right, 0.75, many, **FACTS).threshold == 0.4
    many[1] = 0.35
    assert calibration.fit(values, right, 0.75, many, **FACTS).threshold == 0.3


def test_the_precision_holds_where_half_of_all_queries_are_lost():
    values = np.linspace(0.001, 0.4, 400)
    right = np.full(400, True)
    lost = np.concatenate([[0.2005, 0.3005], np.full(98, 0.9)])  # each counts as four
    found = {p: calibration.fit(values, right, p, lost, **FACTS) for p in (0.99, 0.98, 0.9)}
    # 300 right of 304 are 98.7 %, 400 of 408 are 98.04 %.
    assert [c.threshold for c in found.values()] == pytest.approx([0.2, 0.4, 0.4])
    lost[2:12] = 0.1005  # a tenth would be located beyond
    assert calibration.fit(values, right, 0.5, lost, **FACTS).threshold == pytest.approx(0.1)
    wrong = right.copy()
    wrong[150] = False
    assert calibration.fit(values, wrong, 0.99, lost[:1], **FACTS).threshold == pytest.approx(0.2)
    assert calibration.fit(values, right, 0.99, **FACTS).threshold == pytest.approx(0.4)


def test_queries_unlike_the_map_are_never_located():
    values = np.array([np.inf, 0.1, 0.2, np.inf])
    right, lost = np.full(4, True), np.array([np.inf, 0.9])
    found = calibration.fit(values, right, 0.5, lost, **FACTS)
    assert (found.threshold, found.answered, found.queries) == (0.2, 0.5, 4)
    assert np.isfinite(found.distances).all()
    assert found.confidence(np.array([np.inf]))[0] == min(found.shares)
    assert not found.located(np.array([np.inf]))[0]
    none = calibration.fit(values[[0, 3]], right[:2], 0.5, **FACTS)
    assert none.threshold == -1.0 and none.answered == 0


def test_equal_distances_are_located_together():
    distances, right = np.array([0.1, 0.2, 0.2, 0.2]), np.array([True, True, True, False])
    assert calibration.fit(distances, right, 0.99, **FACTS).threshold == 0.1
    assert calibration.fit(distances, right, 0.75, **FACTS).threshold == 0.2


def test_where_no_distance_has_the_precision_nothing_is_located():
    found = calibration.fit(np.array([0.1, 0.2]), np.array([False, True]), 0.9, **FACTS)
    assert (found.threshold, found.reached, found.answered) == (-1.0, 0.0, 0.0)
    assert not found.located(np.array([0.0, 0.1])).any()


def test_confidence_is_the_share_of_right_answers_and_falls():
    found = calibration.fit(*drawn(4000), 0.9, **FACTS)
    x = np.linspace(0.1, 0.9, 9)
    np.testing.assert_allclose(found.confidence(x), 1 - x, atol=0.08)
    assert (np.diff(found.confidence(np.linspace(-1, 2, 400))) <= 0).all()
    few = calibration.fit(np.array([0.1, 0.2]), np.array([True, True]), 0.9, **FACTS)
    assert few.confidence(np.array([0.1]))[0] == pytest.approx(
        2.5 / 3
    )  # two answers are no certainty


def test_the_precision_holds_on_other_queries():
    found = calibration.fit(*drawn(4000), 0.9, **FACTS)
    check = calibration.check(found, *drawn(4000, seed=1))
    assert check.precision == pytest.approx(0.9, abs=0.02)
    assert check.precision_interval[0] < 0.9 < check.precision_interval[1]
    assert check.answered == pytest.approx(found.answered, abs=0.03)
    assert f"of 4,000 queries are located, {100 * check.precision:.1f} %" in check.words()
    nothing = calibration.check(found, np.array([5.0, 6.0]), np.array([False, False]))
    assert (
        nothing.answered == 0 and np.isnan(nothing.precision) and "rightly" not in nothing.words()
    )


def test_files_come_back_and_damage_is_told(tmp_path):
    found = calibration.fit(*drawn(50), 0.9, **FACTS)
    path = tmp_path / calibration.FILE
    found.write(path)
    assert calibration.read(path) == found
    path.write_text(path.read_text().replace('"queries": 50', '"queries": 51'))
    with pytest.raises(DataError, match=r"checksum does not fit.*calibrate again"):
        calibration.read(path)
    with pytest.raises(DataError, match="no calibration"):
        calibration.read(tmp_path / "none.json")


def test_a_file_of_an_earlier_version_means_distances(tmp_path):
    path = tmp_path / calibration.FILE
    found = calibration.fit(*drawn(50), 0.9, **FACTS, measure="ratio")
    found.write(path)
    assert calibration.read(path) == found
    values = checksum.unseal(path.read_text())
    del values["measure"], values["likeness"], values["images"]
    path.write_text(json.dumps(checksum.seal(values)))
    old = calibration.read(path)
    assert old == dataclasses.replace(found, measure="distance") and old.likeness == -1
    assert "have an answer whose descriptor distance is at most" in old.words()
    assert "have an answer whose ratio to the next other place is at most" in found.words()
    path.write_text(json.dumps(checksum.seal({**values, "measure": "angle"})))
    with pytest.raises(DataError, match="'angle' is of a later version"):
        calibration.read(path)


def test_what_judges_an_answer_without_a_position(tmp_path):
    distances, right = drawn(50)
    plain = calibration.fit(distances, right, 0.9, **FACTS, measure="distance")
    found = calibration.fit(distances**2, right, 0.9, **FACTS, measure="ratio", plain=plain)
    assert found.judging(known=True) is found and found.judging(known=False) is plain
    assert plain.judging(known=False) is plain
    assert dataclasses.replace(found, plain=None).judging(known=False) is None
    found.write(tmp_path / calibration.FILE)
    again = calibration.read(tmp_path / calibration.FILE)
    assert again == found and again.plain == plain != found


@pytest.mark.parametrize("precision", [0.0, 1.01, float("nan")])
def test_a_precision_is_a_share(precision):
    with pytest.raises(ValueError, match="precision"):
        calibration.fit(*drawn(5), precision, **FACTS)
