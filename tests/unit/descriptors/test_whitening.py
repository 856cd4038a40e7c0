"""PCA and whitening against scikit-learn, on both sides of n = d."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from vprjax.descriptors import whitening


@pytest.mark.parametrize(("n", "d"), [(200, 12), (30, 90)])
@pytest.mark.parametrize("whiten", [False, True])
def test_same_as_scikit_learn(n, d, whiten):
    rng = np.random.default_rng(0)
    x = (3 + rng.normal(size=(n, d)) * np.geomspace(1, 0.1, d)).astype(np.float32)
    other = x[::-1] + np.float32(0.1)
    learned = whitening.learn(x, 8, whiten)
    wanted = PCA(8, whiten=whiten, svd_solver="full").fit(x.astype(np.float64)).transform(other)
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    found = learned(other)
    assert np.allclose(np.abs(found), np.abs(wanted), atol=1e-4)  # signs are free
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)


def test_whitened_components_have_equal_spread():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(500, 6)) * np.array([10, 5, 2, 1, 0.5, 0.2])
    learned = whitening.learn(x, 6, True)
    assert np.allclose(((x - learned.mean) @ learned.kernel).std(axis=0), 1, atol=1e-6)


@pytest.mark.parametrize(("n", "dimension"), [(10, 10), (10, 7), (10, 0)])
def test_too_few_images_or_dimensions_are_refused(n, dimension):
    with pytest.raises(ValueError, match="components need more than"):
        whitening.learn(np.random.default_rng(0).normal(size=(n, 6)), dimension, False)


def test_of_many_large_descriptors_every_so_many_are_learnt_from(monkeypatch):
    monkeypatch.setattr(whitening, "NUMBERS", 100)
    for counts, dimension in (([7, 8], 6), ([7, 8], 7), ([37], 31)):
        stride, rows = whitening.rows(counts, dimension)
        assert rows == sum(len(range(0, n, stride)) for n in counts)
        assert (stride == 1) == (sum(counts) * dimension <= 100)


@pytest.mark.parametrize("whiten", [False, True])
def test_more_components_than_different_images_stay_finite(whiten):
    rng = np.random.default_rng(2)
    x = np.repeat(rng.normal(size=(5, 64)), 4, axis=0)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    found = whitening.learn(x.astype(np.float32), 15, whiten)(x)
    assert np.isfinite(found).all() and np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    apart = np.linalg.norm(found[:, None] - found[None], axis=-1)
    assert apart[::4, ::4][~np.eye(5, dtype=bool)].min() > 0.5


@pytest.mark.parametrize("n", [40, 12])  # more and fewer than the 16 dimensions
@pytest.mark.parametrize("whiten", [False, True])
def test_directions_that_no_training_image_shows_add_nothing(n, whiten):
    """Whitening would multiply them by a thousand, and a new image has something there."""
    rng = np.random.default_rng(3)
    x = np.zeros((n, 16), np.float32)
    x[:, :5] = rng.normal(size=(n, 5))
    new = rng.normal(size=(7, 16)).astype(np.float32)
    learned = whitening.learn(x, 9, whiten)
    shown = new.copy()
    shown[:, 5:] = 0
    assert np.allclose(learned(new), learned(shown), atol=1e-5)


def test_equal_descriptors_are_refused():
    with pytest.raises(ValueError, match="are the same"):
        whitening.learn(np.ones((5, 3)), 2, False)
