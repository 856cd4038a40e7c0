import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vprjax.cpu_ops import spread
from vprjax.models.backbones import layers


@pytest.mark.parametrize("shape", [(1, 1, 3, 4), (2, 5, 6, 4), (0, 5, 6, 4), (7, 4)])
def test_the_map_and_its_gradient_are_the_stock_ones(shape):
    vector, x = jnp.arange(1.0, 5.0), jax.random.normal(jax.random.key(0), shape)

    def scaled(spread):
        return lambda vector: jnp.sum(jnp.square(x * spread(vector, shape)))

    assert spread.spread(vector, shape).shape == shape
    stock, ours = (jax.value_and_grad(scaled(s.spread))(vector) for s in (layers, spread))
    np.testing.assert_allclose(ours[0], stock[0], rtol=1e-6)
    np.testing.assert_allclose(ours[1], stock[1], rtol=1e-5)


def test_a_constant_stays_one():
    found = spread.spread(np.ones(4, np.float32), (2, 3, 3, 4))
    assert isinstance(found, np.ndarray) and found.shape == (1, 1, 1, 4)


def test_bfloat16_stays():
    def of(vector):
        return spread.spread(vector, (2, 3, 3, 4)).sum()

    assert jax.grad(of)(jnp.ones(4, jnp.bfloat16)).dtype == jnp.bfloat16


def test_its_sum_is_a_product():
    """XLA's reductions took 12 % of a step of ResNet50."""

    def of(vector, x):
        return jnp.vdot(spread.spread(vector, x.shape), x)

    text = str(jax.make_jaxpr(jax.grad(of))(jnp.ones(4), jnp.ones((2, 3, 3, 4))))
    assert "dot_general" in text and "reduce_sum" not in text
