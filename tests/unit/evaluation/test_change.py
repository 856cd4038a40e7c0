"""The paired difference of two models, by hand."""

import numpy as np
import pytest

from vprjax.evaluation import bootstrap, change

BEFORE = np.array([1.0, 1.0, 7.0, np.inf, 1.0, np.nan, 1.0, 1.0])
AFTER = np.array([9.0, 1.0, 1.0, 9.0, 9.0, 1.0, np.inf, 1.0])


def test_counts_and_shares_by_hand():
    found = change.by_tolerance(BEFORE, AFTER, (8.0, 5.0))["5"]
    assert (found.queries, found.lost, found.gained) == (7, 3, 1)  # one has no position
    assert found.before == pytest.approx(500 / 7, abs=1e-3)
    assert found.after == pytest.approx(300 / 7, abs=1e-3)
    assert found.difference == pytest.approx(-200 / 7, abs=1e-3) and not found.worse
    known = ~np.isnan(BEFORE)
    gap, bounds, p = bootstrap.paired_shares(BEFORE[known] <= 5, AFTER[known] <= 5)
    assert found.interval == tuple(np.round(100 * bounds, 4)) and found.p == round(p, 4)
    assert found.difference == round(100 * gap, 4)
    wide = change.by_tolerance(BEFORE, AFTER, (8.0, 5.0))["8"]
    assert (wide.lost, wide.gained) == (3, 0)


def test_worse_is_an_interval_wholly_below_0():
    right, wrong = np.zeros(80), np.full(80, 9.0)
    assert change.by_tolerance(right, wrong, (1.0,))["1"].worse
    assert not change.by_tolerance(wrong, right, (1.0,))["1"].worse
    few = np.where(np.arange(80) < 2, 9.0, 0.0)
    found = change.by_tolerance(right, few, (1.0,))["1"]
    assert found.difference == -2.5 and not found.worse


def test_without_a_position_nothing_changes():
    assert change.by_tolerance(np.full(3, np.nan), np.full(3, np.nan), (1.0,)) == {}
    assert change.of_results({"off_the_shelf": None}, (1.0,)) == {}
