"""Parameter groups, schedule and frozen stages by their effect on updates."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from vprjax import optim

PARAMS = {
    "model": {
        "backbone": {
            "conv1_1": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)},
            "conv5_1": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)},
        },
        "pooling": {"p": jnp.float32(3.0)},
        "projection": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)},
    },
    "classes": jnp.ones((1, 3, 2)),
}


def config(**changes):
    c = base.get_config().optim
    c.update(learning_rate=1e-3, warmup_steps=0, clip_norm=0.0, **changes)
    return c


OWN = {"model/pooling/p": 10.0, "classes": 1000.0}  # GeM's and ArcFace's


def first_update(c, grads, frozen=(), own=OWN):
    optimiser = optim.make_optimiser(c, 100, PARAMS, optim.Groups(frozen, own))
    updates, _ = optimiser.update(grads, optimiser.init(PARAMS), PARAMS)
    return updates


def test_adam_rates_by_group():
    grads = jax.tree.map(jnp.ones_like, PARAMS)
    u = first_update(config(weight_decay=0.0), grads)
    step = 1e-3  # Adam's first update is the learning rate, whatever the gradient's size
    assert np.allclose(u["model"]["backbone"]["conv1_1"]["kernel"], -step, rtol=1e-4)
    assert np.allclose(u["model"]["pooling"]["p"], -10 * step, rtol=1e-4)
    assert np.allclose(u["model"]["projection"]["kernel"], -10 * step, rtol=1e-4)
    assert np.allclose(u["classes"], -1000 * step, rtol=1e-4)


def test_decay_touches_kernels_only_and_frozen_stages_not_at_all():
    grads = jax.tree.map(jnp.zeros_like, PARAMS)
    u = first_update(config(weight_decay=0.1), grads, frozen=("backbone/conv1_1/",))
    frozen, free = u["model"]["backbone"]["conv1_1"], u["model"]["backbone"]["conv5_1"]
    assert not np.any(frozen["kernel"]) and not np.any(frozen["bias"])
    assert np.allclose(free["kernel"], -1e-4) and not np.any(free["bias"])
    assert not np.any(u["model"]["pooling"]["p"]) and not np.any(u["classes"])


def test_clip_bounds_the_global_norm_for_sgd():
    grads = jax.tree.map(lambda x: 100 * jnp.ones_like(x), PARAMS)
    c = config(name="sgd", weight_decay=0.0, head_rate=1.0)
    c.clip_norm = 2.0
    u = first_update(c, grads, own={})
    norm = np.sqrt(sum(float(jnp.sum(x**2)) for x in jax.tree.leaves(u)))
    assert norm == pytest.approx(1e-3 * 2.0, rel=1e-4)


def test_schedule_warms_up_then_falls_to_zero():
    c = config()
    c.warmup_steps = 10
    rate = optim.schedule(c, 100)
    values = [float(rate(s)) for s in range(101)]
    assert np.argmax(values) == 10 and values[10] == pytest.approx(1e-3)
    assert 0 < values[0] < values[5] and values[100] == pytest.approx(0, abs=1e-9)


def test_gems_p_stays_where_the_mean_is_defined():
    params = {"model": {"pooling": {"p": jnp.float32(0.2)}, "projection": {"p": jnp.float32(0.2)}}}

    def after(update):
        updates = jax.tree.map(lambda x: jnp.float32(update), params)
        moved = optim.apply_updates(params, updates, {"model/pooling/p": 0.1})
        return float(moved["model"]["pooling"]["p"]), float(moved["model"]["projection"]["p"])

    assert after(-0.5) == pytest.approx((0.1, -0.3)) and after(-np.inf) == (-np.inf, -np.inf)
    assert after(0.25) == pytest.approx((0.45, 0.45)) and np.isnan(after(np.nan)[0])


def test_unknown_optimiser():
    with pytest.raises(ValueError, match="known: adamw, sgd"):
        optim.make_optimiser(config(name="adam"), 10, PARAMS)


def test_rates_fall_with_depth_and_the_head_keeps_its_own():
    groups = optim.Groups(own=OWN, depth={"backbone/conv1_1/": 0.25, "backbone/conv5_1/": 0.5})
    c = config(weight_decay=0.0)
    optimiser = optim.make_optimiser(c, 100, PARAMS, groups)
    grads = jax.tree.map(jnp.ones_like, PARAMS)
    u = optimiser.update(grads, optimiser.init(PARAMS), PARAMS)[0]["model"]
    found = [u["backbone"][name]["kernel"][0, 0] for name in ("conv1_1", "conv5_1")]
    assert np.allclose(found, [-0.25e-3, -0.5e-3], rtol=1e-4)
    assert np.allclose([u["pooling"]["p"], u["projection"]["bias"][0]], -1e-2, rtol=1e-4)


def test_the_pull_to_the_start_is_decoupled_and_leaves_p_and_classes():
    c = config(weight_decay=0.0, keep_start=4.0)
    groups = optim.Groups(frozen=("backbone/conv1_1/",), own=OWN)
    optimiser = optim.make_optimiser(c, 100, PARAMS, groups)
    moved = jax.tree.map(lambda x: x + 0.5, PARAMS)
    zero = jax.tree.map(jnp.zeros_like, PARAMS)
    u, _ = optimiser.update(zero, optimiser.init(PARAMS), moved)
    model = u["model"]
    # -rate x weight x (p - start), with the head's multiplier, whatever Adam does to the gradients.
    assert np.allclose(model["backbone"]["conv5_1"]["kernel"], -1e-3 * 4 * 0.5)
    assert np.allclose(model["backbone"]["conv5_1"]["bias"], -1e-3 * 4 * 0.5)
    assert np.allclose(model["projection"]["bias"], -1e-2 * 4 * 0.5)
    assert not np.any(model["backbone"]["conv1_1"]["kernel"])
    assert not np.any(model["pooling"]["p"]) and not np.any(u["classes"])


def test_a_stage_is_held_until_its_step_and_then_moves_at_the_usual_rate():
    groups = optim.Groups(release={"backbone/conv1_1/": 3})
    c = config(weight_decay=0.1)
    optimiser = optim.make_optimiser(c, 100, PARAMS, groups)
    state, grads = optimiser.init(PARAMS), jax.tree.map(jnp.ones_like, PARAMS)
    seen = []
    for _ in range(5):
        u, state = optimiser.update(grads, state, PARAMS)
        backbone = u["model"]["backbone"]
        seen.append((backbone["conv1_1"]["kernel"][0, 0], backbone["conv5_1"]["kernel"][0, 0]))
    held, free = np.array(seen).T
    assert not held[:3].any() and free.all()
    assert (held[3:] == free[3:]).all()  # the moments are as warm
