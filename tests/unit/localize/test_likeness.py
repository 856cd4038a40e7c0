"""How much pictures look like a map as a whole."""

import numpy as np
import pytest

from vprjax.localize import likeness
from vprjax.retrieval.rows import Parts


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def drawn(n, seed=0, d=8):
    """Descriptors around the first axis."""
    return unit(np.random.default_rng(seed).normal(size=(n, d)) + 3 * np.eye(d)[0]).astype(
        np.float32
    )


def test_likeness_is_the_cosine_to_the_mean():
    rows = drawn(50)
    mean = rows.astype(np.float64).mean(axis=0)
    expected = drawn(9, 1) @ mean / np.linalg.norm(mean)
    for known in (rows, Parts([rows[:20], rows[20:]])):
        found = likeness.of(drawn(9, 1), likeness.centre(known))
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert likeness.of(-rows, likeness.centre(rows)).max() < 0


def test_a_large_map_is_known_by_a_sample_spread_over_all(monkeypatch):
    monkeypatch.setattr(likeness, "SAMPLE", 5)
    rows = np.repeat(np.eye(4, dtype=np.float32), 10, axis=0)
    chosen = rows[[0, 10, 20, 29, 39]].mean(axis=0)
    np.testing.assert_allclose(likeness.centre(rows), unit(chosen), rtol=1e-6)
    opposite = np.array([[1, 0], [-1, 0]], np.float32)
    assert likeness.centre(opposite).tolist() == [0, 0]


@pytest.mark.parametrize(("queries", "below"), [(10, 0), (198, 0), (199, 1), (300, 2), (1000, 9)])
def test_one_query_in_100_is_below_the_limit(queries, below):
    values = np.random.default_rng(queries).permutation(queries) / queries
    found = likeness.limit(values)
    assert (values < found).sum() == below
    assert values[values > found].min() - found == pytest.approx(likeness.ROUNDING)
