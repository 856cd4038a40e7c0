"""Attention for CPUs against a sum by hand in float64, values and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vprjax.cpu_ops.attention import dot_product_attention

B, N, M, H, D = 2, 5, 7, 3, 4


def by_hand(q, k, v):
    scores = jnp.einsum("bnhd,bmhd->bhnm", q, k) / D**0.5
    shares = jnp.exp(scores) / jnp.exp(scores).sum(axis=-1, keepdims=True)
    return jnp.einsum("bhnm,bmhd->bnhd", shares, v)


def operands(dtype=np.float32):
    rng = np.random.default_rng(0)
    return [rng.normal(0, 2, (B, n, H, D)).astype(dtype) for n in (N, M, M)]


def test_values_and_gradients():
    cotangent = np.random.default_rng(1).normal(size=(B, N, H, D))

    def both(function):
        value, pull = jax.vjp(function, *arguments)
        return value, *pull(jnp.asarray(cotangent, value.dtype))

    arguments = operands()
    got = jax.jit(lambda: both(dot_product_attention))()
    with jax.enable_x64(True):
        arguments = [jnp.asarray(x, jnp.float64) for x in arguments]
        wanted = jax.jit(lambda: both(by_hand))()
    for ours, expected in zip(got, wanted, strict=True):
        assert ours.dtype == jnp.float32
        np.testing.assert_allclose(ours, expected, rtol=0, atol=2e-6 * np.abs(expected).max())


def test_half_precision_has_a_float32_softmax():
    q, k, v = (jnp.asarray(x, jnp.bfloat16) for x in operands())
    got = jax.jit(dot_product_attention)(q, k, v)
    assert got.dtype == jnp.bfloat16
    wanted = by_hand(*(x.astype(jnp.float32) for x in (q, k, v)))
    assert np.abs(got.astype(jnp.float32) - wanted).max() <= 0.02 * np.abs(wanted).max()


def test_other_shapes_are_refused():
    q, k, v = operands()
    with pytest.raises(ValueError, match="must have the same images, heads and width"):
        dot_product_attention(q, k[:1], v[:1])
    with pytest.raises(ValueError, match="must have the same images, heads and width"):
        dot_product_attention(q, k, v[:, :3])
