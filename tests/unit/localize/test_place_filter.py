"""The filter mends frames that look like another place, keeps to the speed limit and sees no future."""

import numpy as np
import pytest

from vprjax.localize import place_filter
from vprjax.localize.place_filter import PlaceFilter

N = 60
ROUTE = np.stack([10.0 * np.arange(N), np.zeros(N)], axis=1)


def distances(seed=0, false=()):
    """Descriptor distances `(N, N)` of a drive along the map; frames `false` look like a place far away."""
    out = np.random.default_rng(seed).uniform(0.8, 1.2, (N, N))
    out[np.arange(N), np.arange(N)] = 0.3
    for frame in false:
        out[frame, frame], out[frame, (frame + 30) % N] = 0.9, 0.3
    return out


def answers(rows, speed=12.0, radius=15.0):
    places = PlaceFilter(ROUTE, speed, radius)
    return [places.step(row, 1.0) for row in rows]


def test_single_false_matches_are_mended():
    false = range(5, N, 4)
    rows = distances(false=false)
    alone = rows.argmin(axis=1)
    found = np.array([place for place, _ in answers(rows)])
    assert (alone != np.arange(N)).sum() == len(false)
    # A false frame says nothing of the true place, which may be a place before or behind.
    assert (np.abs(found - np.arange(N)) <= 2)[4:].all()


def test_it_answers_frame_by_frame():
    rows = distances(false=(20, 21))
    whole = answers(rows)
    assert answers(rows[:30]) == whole[:30]


def test_a_speed_limit_binds():
    """Ten frames jump 300 m: a slow camera cannot follow at once, a fast one can."""
    rows = distances()
    rows[30:] = np.roll(rows[30:], 30, axis=1)
    slow, fast = (answers(rows, speed=speed)[30][0] for speed in (12.0, 400.0))
    assert abs(slow - 30) <= 2 and fast == 0


def test_confidence_grows_where_frames_agree():
    confidences = [share for _, share in answers(distances())]
    assert confidences[0] < 0.5 < 0.95 < confidences[-1] <= 1 + 1e-9


def test_belief_is_a_distribution_and_the_first_pause_has_no_effect():
    places = PlaceFilter(ROUTE, 12.0, 15.0)
    first = places.step(distances()[0], 1e9)
    assert places.belief.sum() == pytest.approx(1) and (places.belief > 0).all()
    for pause in (0.0, 3.0):  # a move would favour the middle of the route
        again = PlaceFilter(ROUTE, 12.0, 15.0)
        assert again.step(distances()[0], pause) == first


def test_what_cannot_be_filtered():
    with pytest.raises(ValueError, match="every place has a position"):
        PlaceFilter(np.array([[0.0, np.nan]]), 1.0, 1.0)
    with pytest.raises(ValueError, match="speed 0"):
        PlaceFilter(ROUTE, 0.0, 1.0)


@pytest.mark.parametrize("positions", [np.zeros((6, 2)), np.c_[np.arange(6.0), np.zeros(6)]])
def test_a_step_over_the_whole_map_needs_no_table_of_moves(positions, monkeypatch):
    distances = np.array([0.9, 0.2, 0.8, 0.7, 0.9, 0.6])

    def walked():
        found = PlaceFilter(positions, speed=1.0, radius=1.0)
        found.step(distances, 1.0)
        found.step(distances[::-1], 1000.0)
        return found.belief

    with monkeypatch.context() as patch:  # the table's own answer
        patch.setattr(np.linalg, "norm", lambda *_: np.inf)
        wanted = walked()
    monkeypatch.setattr(place_filter, "MOST_MOVES", 6)  # each place to itself
    assert np.allclose(walked(), wanted, atol=1e-12)
