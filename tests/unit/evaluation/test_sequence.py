"""Sequence matching against the plain nearest neighbour and a loop."""

import ml_dtypes
import numpy as np
import pytest

from vprjax.evaluation import sequence


def test_one_frame_is_the_nearest_reference():
    rng = np.random.default_rng(0)
    queries, references = rng.normal(size=(300, 5)), rng.normal(size=(40, 5))
    distance, number = sequence.match(queries, references, 1)
    apart = np.linalg.norm(queries[:, None] - references[None], axis=2)
    assert (number == apart.argmin(axis=1)).all()
    assert np.allclose(distance, apart.min(axis=1), atol=1e-5)


def test_against_a_loop_across_blocks():
    rng = np.random.default_rng(1)
    queries, references = rng.normal(size=(270, 4)), rng.normal(size=(30, 4))
    apart = np.linalg.norm(queries[:, None] - references[None], axis=2)
    distance, number = sequence.match(queries, references, 7)
    for i in (0, 3, 100, 255, 256, 258, 269):
        means = [
            [
                np.mean(
                    [
                        apart[i - b, j - round(b * v)] if j >= round(b * v) else apart[i - b].mean()
                        for b in range(7)
                        if i >= b
                    ]
                )
                for j in range(30)
            ]
            for v in sequence.SPEEDS
        ]
        assert distance[i] == pytest.approx(np.min(means), abs=1e-5)
        assert number[i] == np.argmin(np.min(means, axis=0))


def test_another_speed_is_followed():
    rng = np.random.default_rng(2)
    phases, rates = rng.uniform(0, 6, 32), rng.uniform(0.1, 0.6, 32)
    references = np.cos(np.arange(120)[:, None] * rates + phases)
    there = np.round(1.2 * np.arange(90)).astype(int)
    queries = references[there] + 1.1 * rng.normal(size=(90, 32))
    alone = (np.abs(sequence.match(queries, references, 1)[1] - there) <= 1)[10:].mean()
    along = (np.abs(sequence.match(queries, references, 10)[1] - there) <= 1)[10:].mean()
    slow = sequence.match(queries, references, 10, speeds=(1.0,))[1]
    assert alone + 0.05 < along and along > 0.9
    assert (np.abs(slow - there) <= 1)[10:].mean() < along


def test_the_first_references_do_not_draw_what_matches_weakly():
    rng = np.random.default_rng(3)
    references = rng.normal(size=(200, 64))
    queries = rng.normal(size=(200, 64))
    unlike = sequence.match(queries, references, 20)[1]
    assert (unlike < 5).mean() < 0.1  # of 200 references 5 have a share of 0.025
    alike = sequence.match(queries + 0.35 * references, references, 20)[1]
    assert (np.abs(alike - np.arange(200)) <= 2)[20:].mean() > 0.95


def test_no_frames_are_refused():
    with pytest.raises(ValueError, match="1 or more"):
        sequence.match(np.ones((2, 2)), np.ones((2, 2)), 0)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_small_floats_are_only_how_the_references_are_kept(monkeypatch, dtype):
    monkeypatch.setattr(sequence, "COLUMNS", 7)
    rng = np.random.default_rng(2)
    queries, references = (rng.normal(size=(n, 6)).astype(dtype) for n in (30, 20))
    found = sequence.match(queries, references, 3)
    wanted = sequence.match(queries.astype(np.float64), references.astype(np.float64), 3)
    assert (found[1] == wanted[1]).all() and np.allclose(found[0], wanted[0], atol=1e-5)
