"""Products of codes against NumPy's whole numbers."""

import types

import jax
import numpy as np
import pytest

from vprjax.retrieval import product


@pytest.mark.parametrize("queries", [1, 2, 9])
def test_whole_numbers_are_multiplied_exactly(queries):
    rng = np.random.default_rng(queries)
    own, others = (rng.integers(-127, 128, (n, 515), dtype=np.int8) for n in (queries, 40))
    own[0], others[0], others[1] = 127, 127, -127  # the largest sums
    exact = own.astype(np.int64) @ others.T.astype(np.int64)
    assert (np.asarray(product.of_rows(own, others)) == exact).all()
    if jax.default_backend() == "cpu":
        shifted = product.offset(own)
        assert shifted.dtype == np.uint8
        products = np.asarray(product.of_rows(shifted, others))
        assert (products - product.excess(shifted, without_dither(others)) == exact).all()
    assert not product.excess(own, without_dither(others)).any()
    assert product.excess(own.astype(np.float32), None) is None


def without_dither(values):
    return types.SimpleNamespace(
        total=values.sum(axis=1, dtype=np.int32), bias=np.zeros(len(values), np.float32)
    )


@pytest.mark.parametrize("m", [5, 64, 67])
def test_keys_and_the_least_of_each_group(m):
    rng = np.random.default_rng(m)
    own, others = (rng.integers(-127, 128, (n, 33), dtype=np.int8) for n in (6, m))
    scale, bias, rows, shifted = (rng.random(n, np.float32) for n in (6, 6, m, m))
    excess = rng.integers(-9, 9, m).astype(np.int32)
    keys, minima = map(
        np.asarray, product.keys((scale, bias), own, -2 * rows, others, shifted, excess)
    )
    products = own.astype(np.int64) @ others.T.astype(np.int64) - excess - bias[:, None]
    expected = shifted - 2 * rows * scale[:, None].astype(np.float64) * products
    np.testing.assert_allclose(keys, expected, rtol=1e-5, atol=1e-2)
    groups = minima.shape[1]
    least = [keys[:, first::groups].min(axis=1) for first in range(groups)]
    assert groups == -(-m // product.GROUP) and (minima == np.stack(least, axis=1)).all()


def test_sums_past_int32_come_back_into_it():
    """uint8 products of 131,072 dimensions (ResNet50 + NetVLAD) wrap around; what they stand for fits."""
    own, others = np.full((2, 131_072), 127, np.int8), np.full((3, 131_072), 127, np.int8)
    others[2] = -127
    values = product.whole_numbers(own.copy())
    excess = product.excess(values, without_dither(others))
    products = np.asarray(product.of_rows(values, others)) - excess
    assert (products == own.astype(np.int64) @ others.T.astype(np.int64)).all()


def test_speeds_are_relative_to_float32():
    found = product.times()
    assert set(found) == {"float32", "bfloat16", "int8", "uint8"} and found["float32"] == 1
    assert min(found.values()) > 0 and product.fastest_whole() in ("int8", "uint8")
