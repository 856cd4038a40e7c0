import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vprjax.losses.arcface import arcface as _arcface
from vprjax.losses.arcface import arcface_pair as _arcface_pair
from vprjax.losses.contrastive import contrastive as _contrastive
from vprjax.losses.triplet import triplet as _triplet

S, M = 30.0, 0.3

# One compilation a call instead of one an operation.
contrastive = jax.jit(_contrastive, static_argnames="squared")
triplet = jax.jit(_triplet)
arcface = jax.jit(_arcface)
arcface_pair = jax.jit(_arcface_pair)


def _random(*shape, seed=0):
    return jax.random.normal(jax.random.key(seed), shape)


def _gradients(loss, *arrays):
    """Of the sum, with respect to every array."""
    wrt = tuple(range(len(arrays)))
    return jax.jit(jax.grad(lambda *a: loss(*a).sum(), argnums=wrt))(*arrays)


def _finite(tree):
    return all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(tree))


# Three pairs at distances 5, 5 and 1.
A = jnp.array([[3.0, 4.0], [3.0, 4.0], [0.0, 1.0]])
MATCH = jnp.array([True, False, False])


@pytest.mark.parametrize(
    ("squared", "wanted"),
    # Eq. 5: l; max(0, 2 - 5); max(0, 2 - 1). Squared: 25/2, 0, 1/2.
    [(False, [5.0, 0.0, 1.0]), (True, [12.5, 0.0, 0.5])],
)
def test_contrastive_by_hand(squared, wanted):
    np.testing.assert_allclose(
        contrastive(A, jnp.zeros_like(A), MATCH, 2.0, squared=squared), wanted, rtol=1e-6
    )


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("match", [True, False])
def test_contrastive_at_distance_zero(squared, match):
    x = jnp.array([[0.6, 0.8], [0.0, 0.0]])
    labels = jnp.array([match, match])
    loss = contrastive(x, x, labels, 0.7, squared=squared)
    far = 0.5 * 0.7**2 if squared else 0.7
    np.testing.assert_allclose(loss, [0.0, 0.0] if match else [far, far], rtol=1e-6)
    for gradient in _gradients(lambda a, b: _contrastive(a, b, labels, 0.7, squared), x, x):
        np.testing.assert_array_equal(gradient, 0)


def test_contrastive_does_not_hide_nan():
    bad = A.at[0, 0].set(jnp.nan)
    assert np.isnan(contrastive(bad, A, MATCH, 2.0)[0])


def test_triplet_by_hand():
    query = jnp.zeros((1, 2))
    positive = jnp.array([[1.0, 0.0]])
    negatives = jnp.array([[[0.0, 0.5], [0.0, 1.0], [3.0, 0.0]]])
    # |q-p|^2 = 1: 1 - 0.25 + 0.1, 1 - 1 + 0.1, max(0, 1 - 9 + 0.1)
    np.testing.assert_allclose(triplet(query, positive, negatives, 0.1), [0.95], rtol=1e-6)


def test_triplet_of_one_point_is_its_margin():
    x = jnp.array([[0.6, 0.8]])
    negatives = jnp.stack([x, x], 1)
    np.testing.assert_allclose(triplet(x, x, negatives, 0.1), [0.2], rtol=1e-6)
    for g in _gradients(lambda *a: _triplet(*a, 0.1), x, x, negatives):
        np.testing.assert_array_equal(g, 0)


def test_arcface_by_hand():
    # Angles of 60 and 90 degrees to the own and the other class; lengths must not matter.
    descriptor = jnp.array([[2.0, 0.0, 0.0]])
    weights = jnp.array([[0.5, 3**0.5 / 2, 0.0], [0.0, 0.0, 7.0]])
    own, other = 4.0 * math.cos(math.pi / 3 + 0.3), 4.0 * math.cos(math.pi / 2)
    wanted = math.log(1 + math.exp(other - own))
    loss = arcface(descriptor, weights, jnp.array([0]), 4.0, 0.3)
    np.testing.assert_allclose(loss, [wanted], rtol=1e-5)
    pair = arcface_pair(descriptor, weights[:1], weights[None, 1:], 4.0, 0.3)
    np.testing.assert_allclose(pair, [wanted], rtol=1e-5)


def _at_angles(theta):
    """Loss of a descriptor turned by `theta` from its class, the other class across the plane."""
    turned = jnp.stack([jnp.cos(theta), jnp.sin(theta), jnp.zeros_like(theta)], 1)
    classes = jnp.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    return arcface(turned, classes, jnp.zeros(len(theta), int), S, M)


def test_arcface_never_falls_as_the_angle_grows():
    theta = jnp.linspace(0.0, math.pi, 2001)
    loss = np.asarray(_at_angles(theta), np.float64)
    steps = np.diff(loss)
    # Where the loss is not tiny it rises strictly; beyond pi - m, too.
    assert steps.min() > -1e-4
    assert steps[np.asarray(theta[:-1]) > 0.5].min() > 0
    past = np.asarray(theta) > math.pi - M + 0.002
    wanted = S * (M * math.sin(M) - np.cos(np.asarray(theta, np.float64)[past]))
    np.testing.assert_allclose(loss[past], wanted, rtol=1e-5)


@pytest.mark.parametrize("cosine", [1.0, -1.0])
def test_arcface_is_finite_where_descriptor_and_class_are_parallel(cosine):
    weights = _random(3, 8)
    descriptors = cosine * weights[:1]
    labels = jnp.array([0])
    value = arcface(descriptors, weights, labels, S, M)
    gradients = _gradients(lambda d, w: _arcface(d, w, labels, S, M), descriptors, weights)
    assert _finite((value, gradients))
    tuple_ = (descriptors, weights[:1], weights[None, 1:])
    assert _finite(_gradients(lambda *a: _arcface_pair(*a, S, M), *tuple_))
    np.testing.assert_allclose(arcface_pair(*tuple_, S, M), value, rtol=1e-4)


def test_zero_descriptors_have_finite_gradients():
    zero, weights, labels = jnp.zeros((2, 4)), _random(3, 4).at[0].set(0.0), jnp.array([0, 1])
    assert _finite(_gradients(lambda d, w: _arcface(d, w, labels, S, M), zero, weights))
    negatives = jnp.zeros((2, 3, 4))
    for loss in (lambda *a: _arcface_pair(*a, S, M), lambda *a: _triplet(*a, 0.1)):
        assert _finite(_gradients(loss, zero, zero, negatives))


def test_arcface_keeps_small_losses():
    # s = 64, cosines 1 and 0: log(1 + e^(-64 cos 0.1)) is far below float32's step at 64.
    value = arcface(jnp.eye(2)[:1], jnp.eye(2), jnp.array([0]), 64.0, 0.1)
    # Where cos t = 1 the sine's floor of 1e-6 moves the logit by 64e-6 sin(m).
    np.testing.assert_allclose(value, [math.exp(-64.0 * math.cos(0.1))], rtol=1e-4)


def test_class_mask_leaves_classes_out_of_the_denominator():
    descriptors, weights, labels = _random(3, 8), _random(5, 8, seed=1), jnp.array([1, 4, 2])
    keep = jnp.array([False, True, True, False, True])
    masked = arcface(descriptors, weights, labels, S, M, keep)
    smaller = arcface(descriptors, weights[keep], jnp.array([0, 2, 1]), S, M)
    np.testing.assert_allclose(masked, smaller, rtol=1e-6)
    each = jnp.stack([keep, jnp.ones(5, bool), jnp.zeros(5, bool)])
    rows = arcface(descriptors, weights, labels, S, M, each)
    whole = arcface(descriptors, weights, labels, S, M)
    np.testing.assert_allclose(rows, jnp.stack([masked[0], whole[1], jnp.zeros(())]), rtol=1e-6)
    assert _finite(
        _gradients(lambda d, w: _arcface(d, w, labels, S, M, each), descriptors, weights)
    )


def test_the_own_class_is_never_masked():
    descriptors, weights, labels = _random(2, 8), _random(3, 8, seed=1), jnp.array([0, 0])
    others = jnp.array([False, True, True])
    np.testing.assert_allclose(
        arcface(descriptors, weights, labels, S, M, others),
        arcface(descriptors, weights, labels, S, M),
        rtol=1e-6,
    )


def test_labels_outside_the_classes_are_not_silent():
    assert np.isnan(arcface(_random(1, 4), _random(3, 4), jnp.array([3]), S, M)).all()


def test_half_precision_inputs_are_computed_in_float32():
    a, b = _random(4, 8).astype(jnp.bfloat16), _random(4, 8, seed=1).astype(jnp.bfloat16)
    negatives = _random(4, 3, 8, seed=2).astype(jnp.bfloat16)
    labels, match = jnp.arange(4), jnp.array([True, False, True, False])

    def every_loss(a, b, negatives):
        return (
            contrastive(a, b, match, 5.0),
            triplet(a, b, negatives, 0.1),
            arcface(a, b, labels, S, M),
            arcface_pair(a, b, negatives, S, M),
        )

    half = every_loss(a, b, negatives)
    full = every_loss(*(x.astype(jnp.float32) for x in (a, b, negatives)))
    for got, wanted in zip(half, full, strict=True):
        assert got.dtype == jnp.float32
        np.testing.assert_array_equal(got, wanted)


def test_wrong_shapes_are_refused():
    a, negatives, labels = jnp.ones((2, 4)), jnp.ones((2, 3, 4)), jnp.zeros(2, int)
    with pytest.raises(ValueError, match="contrastive"):
        _contrastive(a, a, jnp.ones(3, bool), 0.7)
    with pytest.raises(ValueError, match="contrastive"):
        _contrastive(a, a[:, :3], jnp.ones(2, bool), 0.7)
    for loss in (
        lambda *a: _triplet(*a, 0.1),
        lambda *a: _arcface_pair(*a, S, M),
    ):
        for bad in [
            (a, a[:1], negatives),
            (a, a, a),
            (a, a, negatives[:1]),
            (a, a, negatives[:, :0]),
        ]:
            with pytest.raises(ValueError, match=r"\(b, n, d\)"):
                loss(*bad)
    with pytest.raises(ValueError, match="class_weights"):
        _arcface(a, jnp.ones((5, 3)), labels, S, M)
    with pytest.raises(ValueError, match="labels"):
        _arcface(a, jnp.ones((5, 4)), labels[:1], S, M)
    with pytest.raises(ValueError, match="integers"):
        _arcface(a, jnp.ones((5, 4)), jnp.zeros(2), S, M)
    with pytest.raises(ValueError, match="class_mask"):
        _arcface(a, jnp.ones((5, 4)), labels, S, M, jnp.ones((5, 2), bool))
