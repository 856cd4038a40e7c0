"""Intervals and paired tests against closed forms and simulation."""

import numpy as np
import pytest

from vprjax.evaluation import bootstrap


def drive(rng, n, length, p):
    """Right and wrong answers that stay the same for stretches of `length` frames."""
    stretches = rng.random(-(-n // length)) < p
    return np.repeat(stretches, length)[:n].astype(float)


def test_single_frames_give_the_binomial_deviation():
    values = np.repeat([1.0, 0.0], [30, 70])[:, None]
    means = bootstrap.bootstrap_means(values, block=1, samples=20_000)
    assert means.mean() == pytest.approx(0.3, abs=2e-3)
    assert means.std() == pytest.approx(np.sqrt(0.3 * 0.7 / 100), rel=0.03)


@pytest.mark.parametrize(("n", "block"), [(10, 3), (7, 7), (5, 9), (1, 1)])
def test_every_frame_is_drawn_equally_often(n, block):
    means = bootstrap.bootstrap_means(np.eye(n), block=block, samples=4000)
    assert np.allclose(means.sum(axis=1), 1)
    assert np.allclose(means.mean(axis=0), 1 / n, atol=0.02)


def test_blocks_cover_what_single_frames_do_not():
    rng = np.random.default_rng(0)
    covered = {1: 0, None: 0}
    for seed in range(200):
        values = drive(rng, 900, 15, 0.4)[:, None]
        for block in covered:
            low, high = bootstrap.interval(values, block=block, samples=400, seed=seed)[0]
            covered[block] += low <= 0.4 <= high
    assert covered[1] < 120 < 170 < covered[None]


def test_a_paired_test_sees_what_unpaired_intervals_hide():
    rng = np.random.default_rng(1)
    first = drive(rng, 1000, 20, 0.5)
    second = first.copy()
    second[rng.choice(np.flatnonzero(first == 0), 40, replace=False)] = 1
    gap, (low, high), p = bootstrap.paired(first, second)
    assert gap == pytest.approx(0.04) and 0 < low < 0.04 < high and p < 0.01
    a, b = (bootstrap.interval(x[:, None])[0] for x in (first, second))
    assert a[1] > b[0]
    gap, (low, high), p = bootstrap.paired(first, first)
    assert gap == low == high == 0 and p == 1
    back = bootstrap.paired(second, first)
    assert back[0] == pytest.approx(-0.04) and back[2] < 0.01


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="no values"):
        bootstrap.interval(np.empty((0, 1)))
    with pytest.raises(ValueError, match="not the same queries"):
        bootstrap.paired(np.ones(3), np.ones(4))
