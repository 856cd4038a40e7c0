"""PCA-whitening of descriptors as CroW's and cnnimageretrieval's own code computes it.

Signs of components are free, so the goldens hold products of descriptors.
"""

import numpy as np
import pytest

from vprjax.descriptors import whitening


def _unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _sums(seed, count, last):
    """Descriptors above 0 of L2 length 1, as CroW's are; `last` lets the dimensions fall from 2."""
    rows = np.abs(np.random.default_rng(seed).standard_normal((count, 32)))
    return _unit(rows * np.linspace(2, last, 32))


def _check_products(rows, wanted):
    rows = rows.astype(np.float64)
    found, scale = rows @ rows.T, np.abs(wanted).max()
    np.testing.assert_allclose(found / scale, wanted / scale, atol=5e-6, rtol=0)


@pytest.mark.parametrize("whiten", [True, False])
def test_crows_pipeline_equals_the_original_code(shared_goldens, whiten):
    """L2, PCA, L2: `eval.pca` and `eval.pca_whiten`."""
    fitted = _sums(22, 200, 0.5)
    with np.load(shared_goldens / "crow.npz") as outputs:
        learned = whitening.learn(fitted, 16, whiten)
        _check_products(learned(fitted)[:40], outputs[f"pipeline_gram_whiten{whiten}"])
        if not whiten:
            return
        _check_products(learned(_sums(23, 20, 2.0)), outputs["pipeline_apply_gram"])
        wanted = outputs["pca_explained_variance"]  # over n - 1, and here over n
    n, deviations = len(fitted), 1 / np.linalg.norm(learned.kernel, axis=0)
    np.testing.assert_allclose(deviations**2 * n / (n - 1), wanted, rtol=1e-9)


def test_cnnimageretrievals_pca_equals_the_original_code(shared_goldens):
    rows = np.random.default_rng(15).standard_normal((16, 200)) * np.linspace(0.5, 2, 16)[:, None]
    rows = _unit((rows + 0.3).T)
    with np.load(shared_goldens / "cir_pooling.npz") as outputs:
        wanted = outputs["pcawhitenlearn_gram"]
    _check_products(whitening.learn(rows, 8, True)(rows[:40]), wanted)
