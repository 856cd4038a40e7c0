"""Similarities by blocks against one product in float64."""

import numpy as np
import pytest

from vprjax.retrieval import similarity


@pytest.mark.parametrize("rows", [1, 4, 10, 11, 100])
def test_blocks_give_the_whole_product(rows):
    rng = np.random.default_rng(0)
    queries, others = (rng.normal(size=(n, 6)).astype(np.float32) for n in (3, 11))
    found = similarity.similarities(queries, others, block_bytes=rows * 6 * 4)
    expected = queries.astype(np.float64) @ others.astype(np.float64).T
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_one_shape_is_compiled_whatever_is_left_over(monkeypatch):
    shapes = set()
    products = similarity.products

    def seen(queries, others):
        shapes.add(others.shape)
        return products(queries, others)

    monkeypatch.setattr(similarity, "products", seen)
    x = np.ones((11, 6), np.float32)
    similarity.similarities(x[:3], x, block_bytes=4 * 6 * 4)
    assert shapes == {(4, 6)}
