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


@pytest.mark.parametrize("n", [24, 1000])
def test_few_queries_that_differ_prove_no_difference(n):
    """Four heads in a row have p = 2 / 2**4; the bootstrap alone says less."""
    first, second = np.zeros((2, n), bool)
    second[:: n // 4] = True
    gap, (low, high), p = bootstrap.paired_shares(first, second)
    assert gap == 4 / n and low < 0 < gap < high and p == pytest.approx(0.125)
    assert bootstrap.paired(first, second)[2] < 0.1
    gap, (low, high), p = bootstrap.paired_shares(second, second)
    assert gap == 0 and p == 1
    assert high == -low == pytest.approx(1 - 0.0125 ** (1 / n))


def test_many_queries_that_differ_are_left_to_the_bootstrap():
    first, second = np.zeros((2, 400), bool)
    second[:30] = True
    gap, bounds, p = bootstrap.paired_shares(first, second)
    alone = bootstrap.paired(first, second)
    assert (gap, p) == (alone[0], alone[2]) and np.array_equal(bounds, alone[1])


@pytest.mark.parametrize("n", [1, 5, 29, 30, 400])
@pytest.mark.parametrize("share", [0.0, 1.0])
def test_where_all_answers_are_alike_the_interval_has_a_width(share, n):
    """1 - 0.025^(1/n) is the share of errors that n right answers in a row do not exclude."""
    found, exact = bootstrap.share_interval(np.full((n, 1), share))
    open_end = 0.025 ** (1 / n)
    assert exact.all() and found[0] == pytest.approx(
        (open_end, 1) if share else (0, 1 - open_end), abs=1e-9
    )


def test_exact_intervals_are_the_tabled_ones():
    """Clopper & Pearson's, from the tables of the binomial: 7 of 10, 1 of 20, 10 of 20."""
    for right, n, ends in (
        (7, 10, (0.3475, 0.9333)),
        (1, 20, (0.0013, 0.2487)),
        (10, 20, (0.272, 0.728)),
    ):
        assert bootstrap.clopper_pearson([right], n)[0] == pytest.approx(ends, abs=1e-4)


def test_few_queries_take_the_wider_of_both_and_many_the_bootstraps():
    values = drive(np.random.default_rng(0), 900, 15, 0.4)[:, None]
    found, exact = bootstrap.share_interval(values)
    assert not exact.any() and found.tolist() == bootstrap.interval(values).tolist()
    few = np.array([1, 1, 1, 0, 1, 1, 1, 1, 1, 1])[:, None]
    (low, high), exact = bootstrap.share_interval(few)[0][0], bootstrap.share_interval(few)[1]
    own, drawn = bootstrap.clopper_pearson([9], 10)[0], bootstrap.interval(few)[0]
    assert exact.all() and (low, high) == (min(own[0], drawn[0]), max(own[1], drawn[1]))


def test_few_independent_queries_are_covered_as_often_as_the_interval_promises():
    rng = np.random.default_rng(2)
    for n, p in ((5, 0.9), (12, 0.97), (25, 0.99)):
        covered = 0
        for seed in range(200):
            right = rng.random((n, 1)) < p
            low, high = bootstrap.share_interval(right, samples=200, seed=seed)[0][0]
            covered += low <= p <= high
        assert covered >= 186  # 95 % of 200, less four


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="no values"):
        bootstrap.interval(np.empty((0, 1)))
    with pytest.raises(ValueError, match="not the same queries"):
        bootstrap.paired(np.ones(3), np.ones(4))
