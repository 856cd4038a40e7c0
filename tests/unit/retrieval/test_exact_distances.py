"""Distances of chosen pairs against float64, within the errors that are told."""

import numpy as np
import pytest

from vprjax.retrieval import exact
from vprjax.retrieval.rows import Rows


def pairs(d, apart=1.0):
    """Queries, references and chosen pairs, more than one step takes; some references are very near."""
    rng = np.random.default_rng(d)
    queries = (1 + rng.normal(size=(12, d))).astype(np.float32)
    references = (1 + apart * rng.normal(size=(30, d))).astype(np.float32)
    references[:12] = queries + np.float32(1e-3) * rng.normal(size=(12, d)).astype(np.float32)
    numbers = np.array([0, 3, 3, 11])
    chosen = np.stack([rng.permutation(30) for _ in numbers])
    chosen[0, 0], chosen[1, :2] = 0, 3
    gap = references[chosen].astype(np.float64) - queries[numbers][:, None]
    return queries, Rows(references), numbers, chosen, (gap**2).sum(axis=2)


@pytest.fixture(params=["one step", "many steps"])
def steps(request, monkeypatch):
    if request.param == "many steps":
        monkeypatch.setattr(exact, "CACHE_BYTES", 7 * 4 * 576)
        monkeypatch.setattr(exact, "PAIRS", 7)


@pytest.mark.parametrize("d", [1, 33, 576, 2048, 4608])
def test_chosen_distances_lie_within_their_errors(d, steps):
    queries, references, numbers, chosen, wanted = pairs(d)
    found, error = exact.Distances(queries, references)(numbers, chosen)
    assert (np.abs(found - wanted) <= error).all()
    assert (error <= 1.01 * exact.FINE * exact.near(d) * wanted + d * exact.TINY).all()


def test_long_rows_are_multiplied_and_near_ones_subtracted():
    """A product's error stands beside the rows' norms, a difference's beside the distance."""
    queries, references, numbers, chosen, wanted = pairs(4608)
    _, error = exact.Distances(queries, references)(numbers, chosen)
    near = (chosen == numbers[:, None]) | (wanted < 1)
    relative = error / wanted / exact.near(4608)
    assert near.any() and (relative[near] < 1.01).all() and (relative[~near] > 2).all()


@pytest.mark.parametrize("d", [1, 33, 576, 5000])
def test_pairs_are_settled_in_float64(d, steps):
    queries, references, numbers, chosen, wanted = pairs(d)
    own = np.repeat(numbers, chosen.shape[1])
    found = exact.squared_distances(queries, own, references, chosen.ravel())
    np.testing.assert_allclose(found, wanted.ravel(), rtol=1e-13)
    assert exact.squared_distances(queries, own[:0], references, chosen.ravel()[:0]).shape == (0,)


def test_norms_are_computed_once():
    _, references, _, chosen, _ = pairs(700)
    norms = (references.array.astype(np.float64) ** 2).sum(axis=1)
    np.testing.assert_allclose(references.squared(chosen), norms[chosen], rtol=1e-6)
    references.array[:] = 0
    np.testing.assert_allclose(references.squared(chosen), norms[chosen], rtol=1e-6)
