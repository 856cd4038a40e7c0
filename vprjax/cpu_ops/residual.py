"""Sums of residual blocks for CPUs, each computed once.

XLA's CPU backend fuses such a sum into every later one: the n-th block of a stage reads the branches of all
blocks before it, and its gradient those of all blocks behind it. Here a sum goes, some rows at a time, into
the result of a loop, which XLA fuses with nothing.

Pass both functions to `vprjax.models.build` on a CPU; a TPU or GPU does best with the stock sums.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from vprjax.cpu_ops.spread import summed

# Most rows at a time, one per position: 1,024 to 4,096 are as fast for ResNet101.
BLOCK_ROWS = 2048


@jax.custom_vjp
def add_relu(x: jax.Array, y: jax.Array, bias: jax.Array) -> jax.Array:
    """`relu(x + (y + bias))`; only the reverse-mode derivative exists.

    Shapes: `(b, h, w, c), (b, h, w, c), (c,) -> (b, h, w, c)`.
    """
    return _once(lambda y, x: jax.nn.relu(x + (y + bias[None])), y, x)


def _add_relu_forward(x, y, bias):
    out = add_relu(x, y, bias)
    return out, out


def _add_relu_backward(out, gradient):
    passed = _once(lambda gradient, out: jnp.where(out > 0, gradient, 0), gradient, out)
    return passed, passed, summed(passed)


add_relu.defvjp(_add_relu_forward, _add_relu_backward)


@jax.custom_vjp
def fork(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """`x` twice, for a block's shortcut and its branch; the gradient is the sum of theirs.

    Only the reverse-mode derivative exists. Shapes: `(..., c) -> (..., c), (..., c)`.
    """
    return x, x


fork.defvjp(lambda x: ((x, x), None), lambda _, gradients: (_once(jnp.add, *gradients),))


def _once(function: Callable, first: jax.Array, second: jax.Array) -> jax.Array:
    """`function(first, second)`, element by element; it replaces `first` some rows at a time."""
    if not first.size:
        return first
    rows, other = (x.reshape(-1, x.shape[-1]) for x in (first, second))
    size = min(BLOCK_ROWS, -(-len(rows) // 2))  # XLA unrolls a loop of one turn

    def step(number, rows):
        start = jnp.minimum(number * size, len(rows) - size)
        old, beside = (lax.dynamic_slice_in_dim(x, start, size) for x in (rows, other))
        done = jnp.arange(size)[:, None] < number * size - start  # the last turn meets some again
        new = jnp.where(done, old, function(old, beside))
        return lax.dynamic_update_slice_in_dim(rows, new, start, 0)

    return lax.fori_loop(0, -(-len(rows) // size), step, rows).reshape(first.shape)
