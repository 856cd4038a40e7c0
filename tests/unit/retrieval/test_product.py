"""Products of codes against NumPy's whole numbers."""

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
        total = others.sum(axis=1, dtype=np.int32)
        assert (products - product.excess(shifted, total) == exact).all()
    assert product.excess(own, None) is None


def test_sums_past_int32_come_back_into_it():
    """uint8 products of 131,072 dimensions (ResNet50 + NetVLAD) wrap around; what they stand for fits."""
    own, others = np.full((2, 131_072), 127, np.int8), np.full((3, 131_072), 127, np.int8)
    others[2] = -127
    values = product.whole_numbers(own)
    excess = product.excess(values, others.sum(axis=1, dtype=np.int32))
    products = np.asarray(product.of_rows(values, others)) - (0 if excess is None else excess)
    assert (products == own.astype(np.int64) @ others.T.astype(np.int64)).all()


def test_speeds_are_relative_to_float32():
    found = product.times()
    assert set(found) == {"float32", "bfloat16", "int8", "uint8"} and found["float32"] == 1
    assert min(found.values()) > 0 and product.fastest_whole() in ("int8", "uint8")
