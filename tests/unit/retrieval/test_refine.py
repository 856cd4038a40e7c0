"""Exact distances and near-ties against float64."""

import numpy as np
import pytest

from vprjax import retrieval
from vprjax.retrieval import encode, exact, refine
from vprjax.retrieval.rows import Rows


@pytest.mark.parametrize("d", [1, 33, 512, 1030, 36_864])
def test_distances_are_as_good_as_is_said(d):
    rng = np.random.default_rng(d)
    rows = (3 + rng.normal(size=(4, 5, d))).astype(np.float32)
    wanted = (rows.astype(np.float64) ** 2).sum(axis=2)
    found = encode.squared_norms(rows)
    assert found.dtype == np.float64
    assert np.abs(found / wanted - 1).max() < exact.near(d) / 4


@pytest.mark.parametrize("d", [3, 600, 5_000])
def test_few_arenear_enough_where_all_have_nearly_fallen_together(d):
    rng = np.random.default_rng(d)
    queries, references = (
        (1 + 1e-3 * rng.normal(size=(n, d))).astype(np.float32) / np.float32(np.sqrt(d))
        for n in (20, 2000)
    )
    squared = ((references[None].astype(np.float64) - queries[:, None]) ** 2).sum(axis=2)
    reached = np.partition(squared, 4, axis=1)[:, 4]
    found = refine.near_enough(queries, Rows(references, False), reached, 1 << 20)
    for row, near in zip(squared, found, strict=True):
        assert np.isin(np.argsort(row)[:5], near).all() and len(near) < 100


@pytest.mark.parametrize("d", [600, 20_000])
@pytest.mark.parametrize("step", [1e-9, 1e-7, 1e-5])
def test_chains_of_near_ties_are_ranked_by_float64(d, step):
    """Neighbours one `step` apart, out of order, and beyond the k-th; two of them the same."""
    rng = np.random.default_rng(d)
    queries = rng.normal(size=(3, d)).astype(np.float32)
    ray = rng.normal(size=(60, d))
    ray *= (1 + step * rng.permutation(60))[:, None] / np.linalg.norm(ray, axis=1, keepdims=True)
    references = np.concatenate([queries[i] + ray for i in range(3)]).astype(np.float32)
    references[70] = references[65]
    found = retrieval.search(queries, references, 20)
    gaps = references[None].astype(np.float64) - queries[:, None]
    order = np.argsort((gaps**2).sum(axis=2), axis=1, kind="stable")[:, :20]
    assert (found.indices == order).all()


@pytest.mark.parametrize("k", [1, 2, 3])
def test_a_tie_across_a_surer_neighbour_goes_to_the_lower_index(k):
    """The first and the last are equal; errors of products differ, and the middle's excludes the first."""
    step = 2.0**-10
    references = np.sqrt(np.float32([1, 2, 1 + 2 * step, 2, 2, 1]))[:, None]
    exact = np.array([[1 - step / 4, 1 + 2 * step, 1 + 4 * step]])
    error = np.array([[step / 4, step / 2, 4 * step]])
    indices = np.array([[5, 2, 0]])
    refine._settle_ties(np.zeros((1, 1)), Rows(references), exact, error, indices, k)
    assert indices[0, :k].tolist() == [0, 5, 2][:k]
    assert exact[0, :k] == pytest.approx([1, 1, 1 + 2 * step][:k], abs=1e-6)
