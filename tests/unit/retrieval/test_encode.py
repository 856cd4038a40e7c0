"""The bounds of every encoding hold, and are of use."""

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vprjax.retrieval import encode


def rows(rng, n, d, spread, shift):
    scale = np.geomspace(1, spread, d)
    return (shift + rng.normal(size=(n, d)) * scale).astype(np.float32)


def encoder(name, sample):
    mean = sample.mean(axis=0)
    if name == "rotated":
        bases = encode.learn_bases(sample - mean, 0.25)
        return functools.partial(encode.rotated, mean=mean, bases=bases)
    if name == "float32":
        return encode.float32
    return functools.partial(getattr(encode, name), mean=mean)


def values(encoded):
    """What the encoded rows stand for, in float64."""
    return encoded.values.astype(np.float64) * encoded.scale.astype(np.float64)[:, None]


@pytest.mark.parametrize("name", ["float32", "bfloat16", "rotated"])
@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    d=st.sampled_from([1, 3, 64, 700, 1100]),
    spread=st.sampled_from([1.0, 1e-2, 1e-5]),
    shift=st.sampled_from([0.0, 1.0, 30.0]),
)
def test_no_bound_exceeds_the_distance(name, seed, d, spread, shift):
    rng = np.random.default_rng(seed)
    queries, references = rows(rng, 7, d, spread, shift), rows(rng, 40, d, spread, shift)
    queries[0] = references[0]
    encoded = encoder(name, references)
    own, others = encoded(queries), encoded(references)
    apart = np.linalg.norm(values(own)[:, None] - values(others)[None], axis=2)
    lower = apart - own.error[:, None] - others.error[None]
    gap = queries[:, None].astype(np.float64) - references[None]
    exact = np.sqrt((gap**2).sum(axis=2))
    assert (lower <= exact * (1 + encode.rounding(d)) + 1e-30).all()


def test_bases_are_orthonormal_and_hold_the_main_directions():
    rng = np.random.default_rng(0)
    directions = np.linalg.qr(rng.normal(size=(600, 20)))[0].T
    x = (rng.normal(size=(400, 20)) @ directions).astype(np.float32)
    bases = encode.learn_bases(x, 0.1)
    assert bases.shape == (1, 600, 60)
    assert np.allclose(bases[0].T @ bases[0], np.eye(60), atol=1e-5)
    inside = np.linalg.norm(x @ bases[0], axis=1)
    assert np.allclose(inside, np.linalg.norm(x, axis=1), rtol=1e-4)


def test_bounds_of_half_the_directions_rule_most_references_out():
    rng = np.random.default_rng(1)
    x = rows(rng, 500, 64, 1e-2, 0.0)
    encoded = encoder("rotated", x)(x)
    whole, error = values(encoded), encoded.error
    apart = np.linalg.norm(whole[:, None] - whole[None], axis=2)
    lower = apart - error[:, None] - error[None]
    exact = np.sqrt(((x[:, None] - x[None]) ** 2).sum(axis=2)) + np.diag(np.full(500, np.inf))
    assert (lower <= exact.min(axis=1)[:, None]).mean() < 0.05


@pytest.mark.parametrize("size", [0.0, 1e-42, 1e-25, 1e-6, 1.0, 1e6, 1e17])
def test_an_error_is_that_of_its_row_and_hardly_more(size):
    """Rows of every size float32 holds; one row of zeros, one of a single number, one constant."""
    rng = np.random.default_rng(1)
    x = (size * rng.normal(size=(30, 700))).astype(np.float32)
    x[3], x[4], x[5] = 0, 0, size
    x[4, 9] = size
    mean = x[10]
    found = encode.bfloat16(x, mean)
    exact = x.astype(np.float64) - mean
    missed = np.linalg.norm(values(found) - exact, axis=1)
    norms = np.linalg.norm(values(found), axis=1)
    assert (found.error >= missed).all()
    assert (found.error <= missed * 1.001 + 1e-6 * norms + 1e-16).all()
    np.testing.assert_allclose(found.squared, norms**2, rtol=1e-6, atol=1e-37)
    if size > 1e-6:
        assert found.error[0] < 3e-3 * norms[0]


def test_blocks_join():
    x = np.random.default_rng(3).normal(size=(9, 20)).astype(np.float32)
    whole = encode.bfloat16(x, x[0])
    parts = encode.joined([encode.bfloat16(x[:4], x[0]), encode.bfloat16(x[4:], x[0])])
    assert all((a == b).all() for a, b in zip(whole, parts, strict=True))
