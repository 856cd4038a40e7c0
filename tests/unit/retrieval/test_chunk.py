"""Distances of a chunk by matrix products, against float64."""

import numpy as np
import pytest

from vprjax.retrieval import chunk
from vprjax.retrieval.rows import Rows


@pytest.mark.parametrize("d", [1, 33, 576, 1030, 36_864])
@pytest.mark.parametrize("array", [np.float32, np.float16])
def test_distances_are_as_good_as_is_said(d, array):
    rng = np.random.default_rng(d)
    queries = (1 + rng.normal(size=(9, d))).astype(np.float32)
    references = (1 + rng.normal(size=(700, d))).astype(array)
    union = np.sort(rng.choice(700, 600, replace=False))
    squared, error = chunk.distances(queries, Rows(references), union)
    exact = np.stack(
        [
            ((references[union].astype(np.float64) - q.astype(np.float64)) ** 2).sum(1)
            for q in queries
        ]
    )
    assert squared.shape == error.shape == (9, 600)
    assert (np.abs(squared - exact) <= error).all()
    assert error.max() < 1e-4 * exact.max()


def test_long_rows_lose_no_more_than_short_ones():
    """Sums of `LANES` products; one sum over all dimensions would be allowed eight times the error."""
    rows = np.ones((2, 36_864), np.float32)
    rows[1] = -1
    _, long = chunk.distances(rows, Rows(rows), np.array([0, 1]))
    _, short = chunk.distances(rows[:, :512], Rows(rows[:, :512]), np.array([0, 1]))
    assert long.max() / 36_864 == pytest.approx(short.max() / 512, rel=1e-3)
