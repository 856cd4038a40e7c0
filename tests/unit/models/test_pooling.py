import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vprjax.models.heads import gem as gem_head
from vprjax.models.heads import mac, spoc, vectors
from vprjax.models.heads import netvlad as netvlad_head

# One compilation a call instead of one an operation.
gem = jax.jit(gem_head.gem)
netvlad = jax.jit(netvlad_head.netvlad)


def _map(shape, seed=0, spread=1.0):
    return spread * jax.random.normal(jax.random.key(seed), shape)


def _finite(tree):
    return all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(tree))


def test_l2_normalize_gives_unit_vectors():
    unit = vectors.l2_normalize(jnp.array([[3.0, 4.0], [0.0, 2.0]]))
    np.testing.assert_allclose(unit, [[0.6, 0.8], [0.0, 1.0]], atol=1e-7)
    np.testing.assert_allclose(
        vectors.l2_normalize(jnp.array([[3.0, 0.0], [4.0, 2.0]]), axis=0),
        [[0.6, 0.0], [0.8, 1.0]],
        atol=1e-7,
    )


def test_l2_normalize_is_zero_at_zero_and_so_is_its_gradient():
    x = jnp.array([[0.0, 0.0], [1e-13, 0.0], [0.0, 2.0]])
    value, pullback = jax.vjp(vectors.l2_normalize, x)
    np.testing.assert_allclose(value, [[0, 0], [0, 0], [0, 1]], atol=1e-7)
    # d(x / |x|) = (1 - u u^T) / |x|: the gradient of the third row keeps only what is across it.
    (gradient,) = pullback(jnp.ones_like(x))
    np.testing.assert_allclose(gradient, [[0, 0], [0, 0], [0.5, 0]], atol=1e-7)


def test_l2_normalize_does_not_hide_nan():
    assert np.isnan(vectors.l2_normalize(jnp.array([jnp.nan, 1.0]))).all()


def test_mac_spoc_and_gem_on_a_map_worked_by_hand():
    x = jnp.array([1.0, 2.0, 3.0, 4.0, 0.0, 0.0, 0.0, 8.0]).reshape(2, 2, 2, 1)
    np.testing.assert_allclose(mac.mac(x), [[4.0], [8.0]])
    np.testing.assert_allclose(spoc.spoc(x), [[2.5], [2.0]])
    # sqrt((1 + 4 + 9 + 16) / 4) and sqrt(64 / 4)
    np.testing.assert_allclose(gem(x, 2.0), [[30**0.5 / 2], [4.0]], rtol=1e-6)


def test_gem_with_p_1_is_spoc_of_the_clipped_map():
    x = _map((2, 5, 7, 6))
    np.testing.assert_allclose(gem(x, 1.0), spoc.spoc(jnp.maximum(x, 1e-6)), rtol=1e-6, atol=1e-9)


def test_gem_tends_to_mac():
    x = _map((2, 5, 7, 6), spread=300.0)
    gaps = [
        float(np.max(1 - np.array(gem(x, p)) / np.array(x.max((1, 2))))) for p in (3.0, 50.0, 200.0)
    ]
    assert gaps[0] > gaps[1] > gaps[2] >= 0
    # The mean holds the maximum at least once in n = 35: gem >= mac * 35^(-1/p).
    assert gaps[2] <= 1 - 35 ** (-1 / 200) + 1e-6


@pytest.mark.parametrize("p", [0.5, 3.0, 100.0, 1000.0])
@pytest.mark.parametrize("spread", [0.0, 1e-3, 1e4])
def test_gem_neither_overflows_nor_loses_its_gradient(p, spread):
    x = _map((2, 4, 3, 5), spread=spread)
    value, gradient = jax.jit(jax.value_and_grad(lambda x, p: gem(x, p).sum(), (0, 1)))(
        x, jnp.float32(p)
    )
    assert _finite((value, gradient))
    assert value > 0


def test_gem_takes_one_exponent_a_channel():
    x = _map((2, 4, 3, 3))
    p = jnp.array([1.0, 3.0, 20.0])
    each = [gem(x, p[c])[:, c] for c in range(3)]
    np.testing.assert_allclose(gem(x, p), jnp.stack(each, 1), rtol=1e-6)


def test_half_precision_maps_are_pooled_in_float32():
    x = jnp.abs(_map((1, 4, 3, 8), spread=100.0)).astype(jnp.float16)  # 100^3 overflows float16
    k, d = 4, 8
    centers = _map((k, d), 1)
    pooled = [
        mac.mac(x),
        spoc.spoc(x),
        gem(x, jnp.float16(3.0)),
        netvlad(x, centers, jnp.zeros(k), centers),
    ]
    assert all(v.dtype == jnp.float32 for v in pooled)
    assert _finite(pooled)
    np.testing.assert_allclose(pooled[2], gem(x.astype(jnp.float32), 3.0), rtol=1e-6)


def test_netvlad_on_two_clusters_worked_by_hand():
    # Descriptors on the axes; the bias is so strong that each goes wholly to its own centre.
    x = jnp.array([[5.0, 0.0], [0.0, 0.1], [0.0, 3.0]]).reshape(1, 1, 3, 2)
    weights = 200 * jnp.eye(2)
    centers = jnp.array([[0.5, 0.5], [1.0, 0.0]])
    v = netvlad(x, weights, jnp.zeros(2), centers)
    # V_1 = (1,0) - (.5,.5) = (.5,-.5); V_2 = 2 (0,1) - 2 (1,0) = (-2,2); each to unit length,
    # then the whole: every entry 1/2. Cluster-major: V_1 stands in front.
    np.testing.assert_allclose(v, [[0.5, -0.5, -0.5, 0.5]], atol=1e-6)


def test_netvlad_is_finite_on_an_empty_map_and_on_empty_clusters():
    weights, centers = _map((3, 4), 1), jnp.zeros((3, 4))
    value, gradient = jax.value_and_grad(lambda *args: netvlad(*args).sum(), argnums=(0, 1, 2, 3))(
        jnp.zeros((1, 2, 2, 4)), weights, jnp.zeros(3), centers
    )
    assert value == 0
    assert _finite(gradient)
    far = jnp.array([0.0, 0.0, -1e4])  # nothing is assigned to the third cluster
    v = netvlad(_map((1, 2, 2, 4)), weights, far, centers)
    np.testing.assert_array_equal(v[0, 8:], 0)
    np.testing.assert_allclose(jnp.linalg.norm(v), 1, rtol=1e-6)


@pytest.mark.parametrize("bias", [True, False])
def test_netvlad_starts_as_a_hard_assignment(bias):
    local = _map((400, 16), 0)
    centers = _map((8, 16), 1, spread=0.3)
    weights, biases, kept = netvlad_head.netvlad_from_centers(centers, local, bias=bias)
    np.testing.assert_array_equal(kept, centers)
    x = np.asarray(local, np.float64)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    c = np.asarray(centers, np.float64)
    if bias:
        closeness = -((x[:, None] - c[None]) ** 2).sum(-1)
    else:
        closeness = x @ (c / np.linalg.norm(c, axis=1, keepdims=True)).T
        np.testing.assert_array_equal(biases, 0)
    logits = x @ np.asarray(weights).T + np.asarray(biases)
    np.testing.assert_array_equal(logits.argmax(1), closeness.argmax(1))
    top = np.sort(logits, axis=1)[:, -2:]
    assert np.exp(np.mean(top[:, 1] - top[:, 0])) == pytest.approx(100, rel=1e-3)


def test_netvlad_from_centers_refuses_what_gives_no_gap():
    local = _map((10, 4))
    with pytest.raises(ValueError, match="distinct centers"):
        netvlad_head.netvlad_from_centers(jnp.ones((3, 4)), local)
    with pytest.raises(ValueError, match="distinct centers"):
        netvlad_head.netvlad_from_centers(_map((3, 4), 1), local.at[0, 0].set(jnp.nan))
    with pytest.raises(ValueError, match="k >= 2"):
        netvlad_head.netvlad_from_centers(jnp.ones((1, 4)), local)
    with pytest.raises(ValueError, match=r"\(n, 5\)"):
        netvlad_head.netvlad_from_centers(jnp.ones((3, 5)), local)


def test_netvlad_makes_nothing_of_size_n_k_d():
    b, h, w, d, k = 2, 6, 5, 32, 16
    args = (_map((b, h, w, d)), _map((k, d), 1), jnp.zeros(k), _map((k, d), 2))
    forward_backward = jax.jit(jax.grad(lambda *a: netvlad(*a)[:, ::3].sum(), argnums=(0, 1, 2, 3)))
    hlo = forward_backward.lower(*args).compile().as_text()
    sizes = [
        np.prod([int(n) for n in shape.split(",")]) for shape in re.findall(r"f32\[([\d,]+)\]", hlo)
    ]
    assert max(sizes) <= b * h * w * d  # n k d is 16 times that


def test_the_maximums_gradient_goes_to_one_position_even_among_equals():
    x = jnp.zeros((1, 2, 3, 2)).at[0, 1, 1, 0].set(3.0)
    value, back = jax.vjp(vectors.maximum, x)
    np.testing.assert_array_equal(value, [[3.0, 0.0]])
    (gradient,) = back(jnp.array([[5.0, 7.0]]))
    assert gradient[0, 1, 1, 0] == 5 and gradient[0, 0, 0, 1] == 7 and gradient.sum() == 12


def test_every_pooling_refuses_wrong_shapes():
    x = jnp.ones((2, 3, 3, 4))
    for pool in (mac.mac, spoc.spoc, lambda x: gem_head.gem(x, 3.0)):
        with pytest.raises(ValueError, match="expected"):
            pool(x[0])
    with pytest.raises(ValueError, match="p has shape"):
        gem(x, jnp.ones(3))
    w = jnp.ones((5, 4))
    for args in [
        (x[0], w, w[:, 0], w),
        (x, w[:, :3], w[:, 0], w),
        (x, w, w[0], w),
        (x, w, w[:, 0], w[:3]),
    ]:
        with pytest.raises(ValueError, match="netvlad"):
            netvlad_head.netvlad(*args)
