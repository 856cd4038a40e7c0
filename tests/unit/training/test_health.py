"""Signs of collapse on sets whose figures are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vprjax.training import health, non_finite


def spread(descriptors):
    found = jax.vmap(lambda d: health.spread(d, "batch"), axis_name="batch")(descriptors[None])
    return {name: float(value[0]) for name, value in found.items()}


def test_one_point_has_no_variance_and_no_rank():
    found = spread(jnp.tile(jnp.array([[0.6, 0.8, 0.0]]), (7, 1)))
    assert found["variance"] == pytest.approx(0, abs=1e-6) and found["effective_rank"] < 1e-3


@pytest.mark.parametrize("directions", [2, 5])
def test_effective_rank_counts_equal_directions(directions):
    axes = jnp.eye(16)[:directions]
    found = spread(jnp.concatenate([axes, -axes]))
    assert found["variance"] == pytest.approx(1) and found["effective_rank"] == pytest.approx(
        directions
    )


def test_histogram_matches_numpy_and_leaves_nan_out():
    values = np.random.default_rng(0).uniform(0, 2, 500).astype(np.float32)
    wanted, _ = np.histogram(values.astype(np.float64), bins=20, range=(0, 2))
    first = health.Histogram.from_model_output(jnp.asarray(values[:200]))
    second = health.Histogram.from_model_output(jnp.append(values[200:], jnp.nan))
    assert np.abs(np.asarray(first.merge(second).compute()) - wanted).max() <= 1
    assert first.merge(second).compute().sum() == 500


def test_gradient_norms_by_group():
    grads = {
        "model": {"backbone": {"a": jnp.array([3.0, 4.0])}, "pooling": {"p": jnp.float32(12.0)}},
        "classes": (),
    }
    norms = {name: float(value) for name, value in health.gradient_norms(grads).items()}
    assert norms == {
        "grad_norm": 13,
        "grad_norm_backbone": 5,
        "grad_norm_head": 12,
        "grad_norm_classes": 0,
    }


def test_the_trap_keeps_the_first_finding():
    good, bad = jnp.ones(2), jnp.array([1.0, jnp.inf])
    assert non_finite.first_bad((good, good)) == -1 and non_finite.first_bad((good, bad, bad)) == 1
    trap = jnp.array(non_finite.NO_TRAP, jnp.int32)
    for step, number in ((3, -1), (4, 1), (5, 0)):
        trap = non_finite.sprung(trap, jnp.int32(step), jnp.int32(number))
    assert trap.tolist() == [4, 1]
