"""FCM, its ceiling and recall against plain loops and hand-made cases."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from vprjax.evaluation import fcm

UTM = np.array([620_000.0, 5_735_000.0])


def test_hand_made_ladder_counts_every_query():
    queries = np.zeros((5, 2)) + UTM
    matched = queries + np.array([[0, 0], [2, 0], [3, 4], [0, 25], [0, 25.001]])
    # Distances 0, 2, 5, 25, 25.001; "at most tau" counts equality.
    assert fcm.fcm(queries, matched, (25, 10, 5, 2)).tolist() == [80, 60, 60, 40]


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 40), st.integers(1, 30), st.integers(0, 10_000))
def test_against_loops(q, r, seed):
    rng = np.random.default_rng(seed)
    queries, references = rng.uniform(0, 30, (q, 2)) + UTM, rng.uniform(0, 30, (r, 2)) + UTM
    k = min(5, r)
    indices = np.stack([rng.permutation(r)[:k] for _ in range(q)])
    tolerances = (25.0, 10.0, 5.0, 2.0, 0.0)
    found = fcm.fcm(queries, references[indices[:, 0]], tolerances)
    ceiling = fcm.oracle_fcm(queries, references, tolerances)
    recall = fcm.recall_at(queries, references, indices, 5.0, (1, 3, 20))
    for t, tolerance in enumerate(tolerances):
        hits = oracle = 0
        for i in range(q):
            away = np.hypot(*(queries[i] - references).T)
            hits += away[indices[i, 0]] <= tolerance
            oracle += away.min() <= tolerance
        assert found[t] == pytest.approx(100 * hits / q)
        assert ceiling[t] == pytest.approx(100 * oracle / q)
    for n, value in zip((1, 3, 20), recall, strict=True):
        hits = sum(
            any(np.hypot(*(queries[i] - references[j])) <= 5.0 for j in indices[i, :n])
            for i in range(q)
        )
        assert value == pytest.approx(100 * hits / q)
    assert (np.diff(found) <= 0).all() and (found <= ceiling).all()
    assert (np.diff(recall) >= 0).all() and recall[0] == pytest.approx(found[2])


def test_bad_positions_are_refused():
    good = np.zeros((3, 2))
    with pytest.raises(ValueError, match="NaN"):
        fcm.fcm(good + np.nan, good, (1.0,))
    with pytest.raises(ValueError, match="differ"):
        fcm.fcm(good, good[:2], (1.0,))
    with pytest.raises(ValueError, match="at least one"):
        fcm.fcm(good[:0], good[:0], (1.0,))


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 60), st.integers(0, 10_000), st.booleans())
def test_precision_and_recall_against_scikit_learn(n, seed, ties):
    rng = np.random.default_rng(seed)
    distances = rng.integers(0, 8, n).astype(float) if ties else rng.random(n)
    correct = rng.random(n) < 0.6
    precision, recall = fcm.precision_recall(distances, correct, max(1, int(correct.sum())))
    area = fcm.average_precision(precision, recall)
    full = fcm.recall_at_full_precision(precision, recall)
    if correct.any():
        assert area == pytest.approx(100 * metrics.average_precision_score(correct, -distances))
        p, r, _ = metrics.precision_recall_curve(correct, -distances)
        assert full == pytest.approx(100 * r[p == 1].max())
    else:
        assert area == full == 0
    assert (np.diff(recall) >= 0).all()


def test_recall_counts_queries_that_could_be_right():
    precision, recall = fcm.precision_recall([0.1, 0.2, 0.3], [True, False, True], possible=4)
    assert precision.tolist() == [1, 1 / 2, 2 / 3] and recall.tolist() == [0.25, 0.25, 0.5]
    assert fcm.recall_at_full_precision(precision, recall) == 25
    with pytest.raises(ValueError, match="only 1 can be"):
        fcm.precision_recall([0.1, 0.2], [True, True], possible=1)


def test_headings_wrap_around_and_choose_the_nearest_that_looks_the_same_way():
    queries, references = np.zeros((2, 2)), np.array([[1.0, 0.0], [3.0, 0.0]])
    headings = np.array([3.1, 0.0]), np.array([-3.1, 0.05])
    errors, numbers = fcm.nearest_true(queries, references, headings, 0.1)
    assert errors.tolist() == [1, 3] and numbers.tolist() == [0, 1]
    errors, numbers = fcm.nearest_true(queries, references, headings, 0.01)
    assert errors.tolist() == [np.inf, np.inf] and numbers.tolist() == [-1, -1]
    found = fcm.match_errors(queries, references, headings, 0.1)
    assert found.tolist() == [1, 3]
