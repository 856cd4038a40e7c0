"""Bounds of a chunk's distances by matrix products, against float64."""

import numpy as np
import pytest

from vprjax.retrieval import chunk
from vprjax.retrieval.rows import Rows


@pytest.mark.parametrize("d", [1, 33, 576, 1030, 36_864])
@pytest.mark.parametrize("array", [np.float32, np.float16])
def test_bounds_lie_close_below_the_distances(d, array):
    rng = np.random.default_rng(d)
    queries = (1 + rng.normal(size=(9, d))).astype(np.float32)
    references = (1 + rng.normal(size=(700, d))).astype(array)
    union = np.sort(rng.choice(700, 600, replace=False))
    found = chunk.bounds(queries, Rows(references), union)
    exact = np.stack(
        [
            ((references[union].astype(np.float64) - q.astype(np.float64)) ** 2).sum(1)
            for q in queries
        ]
    )
    below = exact - found
    assert found.shape == (9, 600)
    assert (below >= 0).all() and below.max() < 1e-4 * exact.max()


def test_long_rows_lose_no_more_than_short_ones():
    """Sums of `LANES` products; one sum over all dimensions would be allowed eight times the error."""
    rows = np.ones((2, 36_864), np.float32)
    rows[1] = -1
    long, short = rows, rows[:, :512]  # every sum of their products is exact
    below = [
        4 * x.shape[1] - chunk.bounds(x, Rows(x), np.array([0, 1]))[0, 1] for x in (long, short)
    ]
    assert below[0] / 36_864 == pytest.approx(below[1] / 512, rel=1e-3)
