"""In-batch negatives by brute force, masks and margin warm-up of the losses on batches."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from vprjax import losses
from vprjax.losses import arcface, contrastive, triplet
from vprjax.losses import tuples as tuple_losses

AXIS = "batch"
RADIUS = 25.0


def unit(rng, *shape):
    x = rng.normal(size=shape).astype(np.float32)
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def tuples(b=6, m=4, d=5, seed=0):
    rng = np.random.default_rng(seed)
    positions = rng.uniform(0, 90, (b, m, 2)).astype(np.float32)
    positions[:, 1] = positions[:, 0] + 1
    return unit(rng, b, m, d), positions


def brute_force(descriptors, positions, count, semi_hard):
    """Rows of descriptors, one query at a time, in float64."""
    every, places = descriptors.reshape(-1, descriptors.shape[-1]), positions.reshape(-1, 2)
    chosen = []
    for tuple_, where in zip(descriptors.astype(np.float64), positions, strict=True):
        distance = np.linalg.norm(every - tuple_[0], axis=1)
        allowed = np.linalg.norm(places - where[0], axis=1) > RADIUS
        if semi_hard:
            allowed &= distance > np.linalg.norm(tuple_[1] - tuple_[0])
        order = [int(i) for i in np.argsort(distance, kind="stable") if allowed[i]]
        chosen.append(order[:count])
    return chosen


@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize("semi_hard", [False, True])
def test_in_batch_negatives_are_the_nearest_beyond_the_radius(devices, semi_hard):
    """By L2, of descriptors of any length."""
    descriptors, positions = tuples()
    descriptors *= np.random.default_rng(1).uniform(0.5, 2, (6, 4, 1)).astype(np.float32)
    count = 20  # more than any query has
    find = functools.partial(
        tuple_losses.in_batch_negatives, axis=AXIS, radius=RADIUS, count=count, semi_hard=semi_hard
    )
    split = lambda x: x.reshape(devices, -1, *x.shape[1:])  # noqa: E731
    found, valid, chosen = jax.pmap(find, axis_name=AXIS)(split(descriptors), split(positions))
    np.testing.assert_array_equal(descriptors.reshape(-1, 5)[chosen], found)
    found, valid = np.asarray(found).reshape(6, count, 5), np.asarray(valid).reshape(6, count)
    every = descriptors.reshape(-1, 5)
    wanted = brute_force(descriptors, positions, count, semi_hard)
    assert 0 < min(map(len, wanted)) < count
    for row, indices in enumerate(wanted):
        assert valid[row].sum() == len(indices)
        np.testing.assert_array_equal(found[row, : len(indices)], every[indices])


def loss_of(name, **changes):
    config = base.get_config()
    config.loss.name = name
    config.loss.arcface.classes = "pair"
    config.tuples.update(in_batch="hardest", in_batch_negatives=3, negative_radius=RADIUS)
    for key, value in changes.items():
        section, _, last = key.partition("_")
        config.loss[section][last] = value
    made = losses.make(config.loss, config.tuples, AXIS)

    def run(descriptors, positions, step=0):
        batch = {"positions": positions[None]}
        mapped = jax.vmap(lambda d, p: made(d, {"positions": p}, (), step), axis_name=AXIS)
        return {k: v[0] for k, v in mapped(descriptors[None], batch["positions"]).items()}

    return config.loss, run


@pytest.mark.parametrize("name", ["triplet", "contrastive", "arcface"])
def test_losses_count_mined_and_in_batch_negatives_and_no_others(name):
    config, run = loss_of(name)
    descriptors, positions = tuples()
    positions[3:] = 50.0  # one place: queries 3 to 5 have fewer candidates than they ask for
    positions[:3] = np.array([60.0, 50.0])
    positions[1, 2] = 0.0
    values = run(jnp.asarray(descriptors), jnp.asarray(positions))["loss"]
    every = descriptors.reshape(-1, 5)
    for row, picked in enumerate(brute_force(descriptors, positions, 3, False)):
        assert len(picked) < 3 or row < 3
        q, p = descriptors[row, :1], descriptors[row, 1:2]
        negatives = np.concatenate([descriptors[row, 2:], every[picked]])[None]
        if name == "triplet":
            wanted = triplet.triplet(q, p, negatives, config.triplet.margin)[0]
        elif name == "arcface":
            wanted = arcface.arcface_pair(
                q, p, negatives, config.arcface.scale, config.arcface.margin
            )[0]
        else:
            others = np.concatenate([p, negatives[0]])
            match = np.arange(len(others)) == 0
            wanted = contrastive.contrastive(
                np.repeat(q, len(others), 0), others, match, config.contrastive.margin
            ).mean()
        np.testing.assert_allclose(values[row], wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["triplet", "contrastive", "arcface"])
def test_active_is_the_share_of_negatives_that_violate_the_margin(name):
    _, run = loss_of(name, triplet_margin=0.5, contrastive_margin=1.2, arcface_margin=0.4)
    descriptors, positions = tuples()
    positions[3:] = 50.0
    positions[:3] = np.array([60.0, 50.0])
    positions[1, 2] = 0.0
    found = run(jnp.asarray(descriptors), jnp.asarray(positions))
    every, seen = descriptors.reshape(-1, 5), set()
    for row, picked in enumerate(brute_force(descriptors, positions, 3, False)):
        q, p = descriptors[row, :2].astype(np.float64)
        negatives = np.concatenate([descriptors[row, 2:], every[picked]]).astype(np.float64)
        near = np.linalg.norm(negatives - q, axis=1)
        if name == "triplet":
            active = np.sum((q - p) ** 2) + 0.5 > near**2
        elif name == "contrastive":
            active = near < 1.2
        else:
            active = negatives @ q > np.cos(min(np.arccos(q @ p) + 0.4, np.pi))
        np.testing.assert_allclose(found["active"][row], active.mean(), rtol=1e-6)
        listed = found["negative_distances"][row]
        np.testing.assert_allclose(listed[np.isfinite(listed)], near, rtol=1e-5)
        seen.add(active.mean())
    assert len(seen) > 2  # neither none nor all alone


def test_no_negative_at_all_is_none_active():
    _, run = loss_of("triplet")
    descriptors, _ = tuples()
    everywhere = jnp.zeros((6, 4, 2))  # no image lies beyond the radius
    found = run(jnp.asarray(descriptors[:, :2]), everywhere[:, :2])
    assert (found["active"] == 0).all() and (found["negative_distance"] == 2).all()


def test_arcface_margin_grows_over_its_warm_up():
    _, warm = loss_of("arcface", arcface_margin=0.4, arcface_margin_warmup=10)
    _, half = loss_of("arcface", arcface_margin=0.2)
    _, full = loss_of("arcface", arcface_margin=0.4)
    data = [jnp.asarray(x) for x in tuples()]
    for other, step in ((half, 4), (full, 9), (full, 500)):
        np.testing.assert_allclose(warm(*data, step)["loss"], other(*data)["loss"], rtol=1e-5)
    assert not np.allclose(half(*data)["loss"], full(*data)["loss"])
