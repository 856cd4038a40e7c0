"""Negatives that are pushed no farther than the untrained model has them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from vprjax import losses

AXIS = "batch"
B, M, D = 4, 5, 6


def unit(rng, *shape):
    x = rng.normal(size=shape).astype(np.float32)
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def run(name, push, descriptors, untrained, in_batch="off", devices=1):
    config = base.get_config()
    config.loss.name, config.loss.contrastive.margin = name, 2.0
    config.loss.triplet.margin = 4.0  # every pair is within the margin
    config.tuples.update(push=push, in_batch=in_batch, in_batch_negatives=3)
    made = losses.make(config.loss, config.tuples, AXIS)
    rng = np.random.default_rng(3)
    positions = np.repeat(rng.uniform(0, 1e4, (B, 1, 2)), M, axis=1).astype(np.float32)
    split = lambda x: jnp.asarray(x).reshape(devices, -1, *x.shape[1:])  # noqa: E731
    batch = {"positions": split(positions), "untrained": split(untrained)}

    def step(d, own):
        loss = lambda x: made(x, own, (), 0)["loss"]  # noqa: E731
        return loss(d), jax.grad(lambda x: loss(x).sum())(d)

    values, grads = jax.pmap(step, axis_name=AXIS)(split(descriptors), batch)
    return np.asarray(values).ravel(), np.asarray(grads).reshape(B, M, D)


def cosines(x):
    flat = x.reshape(B * M, -1)
    return (flat @ flat.T).reshape(B, M, B * M)


@pytest.mark.parametrize("name", ["triplet", "contrastive"])
@pytest.mark.parametrize("devices", [1, 2])
def test_only_negatives_nearer_than_untrained_move(name, devices):
    rng = np.random.default_rng(0)
    now, before = unit(rng, B, M, D), unit(rng, B, M, D)
    values, grads = run(name, "to_untrained", now, cosines(before), devices=devices)
    usual, pushed = run(name, "always", now, cosines(before), devices=devices)
    np.testing.assert_allclose(
        values, usual, rtol=1e-5
    )  # the loss is the same, its gradients are not
    gaps = [np.linalg.norm(x[:, :1] - x[:, 2:], axis=-1) for x in (now, before)]
    nearer = gaps[0] < gaps[1]
    assert 2 < nearer.sum() < nearer.size - 2
    np.testing.assert_allclose(grads[:, 2:][nearer], pushed[:, 2:][nearer], atol=1e-6)
    assert not grads[:, 2:][~nearer].any() and np.abs(pushed[:, 2:]).sum(-1).all()
    np.testing.assert_allclose(grads[:, 1], pushed[:, 1], atol=1e-6)  # the positive's pull stays
    # The query feels the same pairs: what all images feel of a distance sums to zero.
    np.testing.assert_allclose(grads.sum(axis=1), np.zeros((B, D)), atol=1e-5)


def test_descriptors_of_other_lengths_are_held_by_their_angle():
    rng = np.random.default_rng(2)
    now, before = unit(rng, B, M, D), unit(rng, B, M, D)
    lengths = rng.uniform(0.2, 3.0, (B, M, 1)).astype(np.float32)
    _, grads = run("triplet", "to_untrained", now, cosines(before))
    _, longer = run("triplet", "to_untrained", now * lengths, cosines(before))
    held = ~grads[:, 2:].any(-1)
    assert 2 < held.sum() < held.size - 2
    np.testing.assert_array_equal(~longer[:, 2:].any(-1), held)


def test_negatives_of_other_tuples_are_held_by_their_own_distance():
    rng = np.random.default_rng(1)
    now = unit(rng, B, M, D)
    far = np.full((B, M, B * M), 1.0, np.float32)  # untrained, all are one point: nothing is pushed
    _, grads = run("triplet", "to_untrained", now, far, in_batch="hardest", devices=2)
    assert not grads[:, 2:].any() and np.abs(grads[:, 0]).sum() > 0
    near = np.full((B, M, B * M), -1.0, np.float32)  # opposite: everything is
    _, grads = run("triplet", "to_untrained", now, near, in_batch="hardest", devices=2)
    _, usual = run("triplet", "always", now, near, in_batch="hardest", devices=2)
    np.testing.assert_allclose(grads, usual, atol=1e-5)
