import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vprjax import models
from vprjax.cpu_ops import max_pool
from vprjax.models.backbones.layers import Layers

# window, strides, padding; inputs are 15 x 13
CASES = [
    ((2, 2), (2, 2), ((0, 0), (0, 0))),  # VGG16's
    ((3, 3), (2, 2), ((1, 1), (1, 1))),  # ResNet50's
    ((3, 3), (1, 1), ((1, 1), (1, 1))),
    ((3, 2), (2, 3), ((0, 2), (1, 0))),
    ((2, 2), (3, 3), ((0, 0), (0, 0))),  # some inputs are in no window
]


def _with_gradient(pool, x, window, strides, padding):
    @jax.jit
    def run(x):
        y, pullback = jax.vjp(lambda x: pool(x, window, strides=strides, padding=padding), x)
        return y, *pullback(jax.random.normal(jax.random.key(1), y.shape, y.dtype))

    return run(x)


@pytest.mark.parametrize(("window", "strides", "padding"), CASES)
@pytest.mark.parametrize("kind", ["distinct", "ties"])
def test_equals_the_stock_pool(window, strides, padding, kind):
    x = jax.random.normal(jax.random.key(0), (3, 15, 13, 4))
    x = jnp.round(x) if kind == "ties" else x  # the gradient goes to the first of equal values
    wanted = _with_gradient(nn.max_pool, x, window, strides, padding)
    got = _with_gradient(max_pool.max_pool, x, window, strides, padding)
    np.testing.assert_array_equal(got[0], wanted[0])
    np.testing.assert_allclose(got[1], wanted[1], rtol=0, atol=1e-6)


@pytest.mark.parametrize("h", [0, 1, 2])
def test_an_input_smaller_than_the_window_leaves_nothing(h):
    x = jnp.zeros((2, h, 5, 4))
    wanted = jax.eval_shape(lambda x: nn.max_pool(x, (3, 3), (2, 2)), x)
    assert max_pool.max_pool(x, (3, 3), (2, 2)).shape == wanted.shape == (2, 0, 2, 4)


def test_bfloat16_stays():
    x = jax.random.normal(jax.random.key(0), (1, 4, 4, 2), jnp.bfloat16)
    y, to_x = _with_gradient(max_pool.max_pool, x, (2, 2), (2, 2), ((0, 0), (0, 0)))
    assert y.dtype == to_x.dtype == jnp.bfloat16


@pytest.mark.parametrize("backbone", ["vgg16", "resnet50"])
def test_the_models_use_it(backbone):
    calls = []

    def pool(x, *window, **options):
        calls.append(x.shape)
        return max_pool.max_pool(x, *window, **options)

    module = models.backbone(backbone, "conv3", layers=Layers(max_pool=pool))
    jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
    assert len(calls) == (2 if backbone == "vgg16" else 1)
