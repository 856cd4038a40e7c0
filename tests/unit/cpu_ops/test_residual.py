import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from vprjax import models
from vprjax.cpu_ops import residual
from vprjax.models.backbones import layers

SHAPES = [
    (1, 1, 1, 8),  # one row
    (2, 1, 1, 8),  # one row a turn
    (1, 23, 31, 8),  # halves of unequal length
    (3, 40, 41, 8),  # whole blocks and a rest
]


def _with_gradient(function, *inputs):
    out, pullback = jax.vjp(jax.jit(function), *inputs)
    leaves, tree = jax.tree.flatten(out)
    given = [jax.random.normal(jax.random.key(i), y.shape, y.dtype) for i, y in enumerate(leaves)]
    return leaves, pullback(tree.unflatten(given))


def _inputs(shape, dtype=jnp.float32):
    keys = jax.random.split(jax.random.key(7), 3)
    x, y = (jax.random.normal(key, shape, dtype) for key in keys[:2])
    return x, y, jax.random.normal(keys[2], shape[-1:], dtype)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_sum_and_its_gradient_are_the_stock_ones(shape):
    (wanted,), gradients = _with_gradient(layers.add_relu, *_inputs(shape))
    (got,), own = _with_gradient(residual.add_relu, *_inputs(shape))
    np.testing.assert_array_equal(got, wanted)
    for mine, stock in zip(own[:2], gradients[:2], strict=True):
        np.testing.assert_array_equal(mine, stock)
    np.testing.assert_allclose(own[2], gradients[2], rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("shape", [*SHAPES, (2, 5, 8)])
def test_a_fork_sums_the_gradients_of_both(shape):
    def both(fork):
        return lambda x: (lambda pair: (2 * pair[0], jnp.sin(pair[1])))(fork(x))

    x = _inputs(shape)[0]
    (wanted, gradients), (got, own) = (
        _with_gradient(both(fork), x) for fork in (layers.fork, residual.fork)
    )
    for mine, stock in zip(got, wanted, strict=True):
        np.testing.assert_array_equal(mine, stock)
    np.testing.assert_allclose(own[0], gradients[0], rtol=1e-6, atol=1e-6)


def test_a_value_of_zero_passes_no_gradient():
    x = jnp.zeros((2, 3, 4, 4))
    assert not np.any(jax.grad(lambda x: residual.add_relu(x, x, x[0, 0, 0]).sum())(x))


def test_bfloat16_stays():
    (y,), gradients = _with_gradient(residual.add_relu, *_inputs((1, 6, 6, 4), jnp.bfloat16))
    assert {y.dtype, *(g.dtype for g in gradients)} == {jnp.dtype(jnp.bfloat16)}


def test_no_image_leaves_nothing():
    x, y, bias = _inputs((0, 6, 6, 4))
    assert jax.jit(residual.add_relu)(x, y, bias).shape == x.shape
    assert jax.grad(lambda x: residual.fork(x)[1].sum())(x).shape == x.shape


def _most_operands(function, *arguments) -> int:
    """The arrays that the fusion with the most of them reads."""
    text = jax.jit(function).lower(*arguments).compile().as_text()
    return max(found.count("%") for found in re.findall(r" fusion\(([^)]*)\)", text))


@pytest.mark.parametrize(
    ("backbone", "stage", "side"), [("resnet50", "conv4", 64), ("dinov2_vits14", "", 28)]
)
def test_no_sum_of_a_model_reads_all_blocks(backbone, stage, side):
    """The stock sums of these models read up to 39 and 178 arrays with XLA of jaxlib 0.10.2."""
    c = base.get_config().model
    c.backbone, c.stage, c.pooling = backbone, stage, "gem"
    images = jnp.zeros((2, side, side, 3))
    variables = jax.eval_shape(models.build(c).init, jax.random.key(0), images)

    def gradient_of(module):
        def value(params, rest, images):
            return module.apply({**rest, "params": params}, images).sum()

        return jax.grad(value)

    rest = {name: part for name, part in variables.items() if name != "params"}

    def value(params, rest, images):
        return models.build_for_cpu(c).apply({**rest, "params": params}, images).sum()

    with jax.default_device(jax.devices("cpu")[0]):
        assert _most_operands(jax.grad(value), variables["params"], rest, images) < 25
