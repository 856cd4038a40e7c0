"""Dithered codes: distances of their values err as is said, whatever the rows."""

import numpy as np
import pytest

from vprjax.retrieval import bounds, codes

KINDS = ["normal", "one number", "constant", "long tails", "near", "zeros", "tiny", "huge"]


def made_up(kind, d):
    rng = np.random.default_rng((d, KINDS.index(kind)))
    queries, references = rng.normal(size=(20, d)), rng.normal(size=(150, d))
    if kind == "one number":
        queries[:], references[:] = 0, 0
        queries[:, 0], references[:, -1] = 1, rng.normal(size=150)
    elif kind == "constant":
        queries[:], references[:] = 1, rng.normal(size=(150, 1))
    elif kind == "long tails":
        queries, references = queries**5, references**5
    elif kind == "near":
        queries = references[:20] + 1e-3 * queries
    elif kind == "zeros":
        queries[::2], references[::2] = 0, 0
    size = {"tiny": 1e-41, "huge": 1e15}.get(kind, 1.0)
    return (size * queries).astype(np.float32), (size * references).astype(np.float32)


def squared(own, others):
    """D of `codes`, in float64, as products of whole numbers give it."""
    products = own.values.astype(np.int64) @ others.values.T.astype(np.int64)
    products = products - own.bias.astype(np.float64)[:, None] - others.bias
    scales = np.multiply.outer(own.scale.astype(np.float64), others.scale.astype(np.float64))
    return np.add.outer(own.squared.astype(np.float64), others.squared) - 2 * scales * products


def exact(queries, references):
    gaps = queries[:, None].astype(np.float64) - references[None]
    return np.einsum("qrd,qrd->qr", gaps, gaps)


def both(queries, references):
    mean = np.zeros(queries.shape[1], np.float32)
    return codes.int8(queries, mean, codes.QUERIES), codes.int8(references, mean, codes.REFERENCES)


@pytest.mark.parametrize("d", [1, 33, 576, 5_000])
@pytest.mark.parametrize("kind", KINDS)
def test_bounds_hold(kind, d):
    queries, references = made_up(kind, d)
    own, others = both(queries, references)
    found, true = squared(own, others), exact(queries, references)
    slack = bounds.slack(own.values, own.norm.astype(np.float64)[:, None] + others.norm, 0.0)
    errors = own.error.astype(np.float64)[:, None], others.error.astype(np.float64)
    assert (bounds.apart(found - slack, *errors, own.values) <= true).all()
    assert (bounds.within(found + slack, *errors, own.values) >= true).all()


@pytest.mark.parametrize("d", [576, 5_000, 36_864])
def test_errors_are_as_large_as_is_said(d):
    """Their standard deviation is that of a uniform number, and their mean is 0."""
    queries, references = made_up("normal", d)
    own, others = both(queries, references[:40])
    true = exact(queries, references[:40])
    error = np.hypot(own.error[:, None], others.error)
    left = (true - squared(own, others)) / (2 * np.sqrt(true) * error)
    assert abs(left.mean()) < 0.04
    assert left.std() * codes.deviations(d) == pytest.approx(12**-0.5, rel=0.2)


def test_int8_uses_all_its_levels_and_its_sums_are_exact():
    x = np.random.default_rng(2).normal(size=(9, 36_864)).astype(np.float32)
    found = codes.int8(x, np.zeros(36_864, np.float32), codes.REFERENCES)
    assert found.values.dtype == np.int8 and (np.abs(found.values).max(axis=1) >= 126).all()
    assert (found.total == found.values.sum(axis=1, dtype=np.int64)).all()


@pytest.mark.parametrize("d", [1, 2048, 133_152, 133_153, 1_000_000])
def test_products_of_int8_values_fit_int32(d):
    assert 1 <= codes.most_levels(d) ** 2 * d < 2**31 and codes.most_levels(2048) == 127


def test_dithers_of_the_sides_are_uniform_and_differ():
    one, other = codes.dither(36_864)
    assert (np.abs(np.stack([one, other])) <= 0.5).all()
    assert (
        one.var() == pytest.approx(1 / 12, rel=0.02) and abs(np.corrcoef(one, other)[0, 1]) < 0.02
    )


def test_a_squared_norm_that_overflows_is_no_finite_norm():
    rows = np.stack([np.full(4, 1e20, np.float32), np.ones(4, np.float32)])
    found = codes.int8(rows, np.zeros(4, np.float32), codes.REFERENCES)
    assert np.isinf(found.norm[0]) and np.isfinite(found.norm[1])
