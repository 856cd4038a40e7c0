"""Max pooling for CPUs: the values and gradients of `flax.linen.max_pool` in less time.

XLA's CPU backend finds the winners of the backward pass in one scalar loop over every window. This module's
forward pass is a maximum of shifted inputs, its backward pass one elementwise loop over the input.

Pass it to `vprjax.models.build` on a CPU; a TPU or GPU does best with the stock one.
"""

import functools
import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

_Pads = tuple[tuple[int, int], ...]


def max_pool(
    x: jax.Array, window: Sequence[int], strides: Sequence[int], padding: _Pads = ((0, 0), (0, 0))
) -> jax.Array:
    """The largest value of each window; the gradient goes to the window's first largest value.

    Only the reverse-mode derivative exists. Shapes: `(b, h, w, c) -> (b, h', w', c)`; the output axis of an
    input shorter than the window has length 0.
    """
    sizes = zip(x.shape[1:3], padding, window, strides, strict=True)
    h, w = (max(0, (n + sum(pad) - size) // stride + 1) for n, pad, size, stride in sizes)
    if not h * w:
        return jnp.zeros((x.shape[0], h, w, x.shape[3]), x.dtype)
    return _max_pool(x, tuple(window), tuple(strides), tuple(padding))


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def _max_pool(x, window, strides, pads):
    return functools.reduce(jnp.maximum, (tap for _, tap in _taps(x, window, strides, pads)))


def _forward(x, window, strides, pads):
    y = _max_pool(x, window, strides, pads)
    return y, (x, y)


def _backward(window, strides, pads, residuals, gradient):
    x, y = residuals
    winner = jnp.full(y.shape, -1, jnp.int32)
    for (i, j), tap in reversed(list(_taps(x, window, strides, pads))):
        winner = jnp.where(tap == y, _code(i, j), winner)
    # Windows q - m meet padded input row s q + r as their row r + s m.
    reach = [-(-window[axis] // strides[axis]) for axis in (0, 1)]
    rows, columns = (
        max(
            y.shape[axis + 1] + reach[axis] - 1,
            -(-(x.shape[axis + 1] + sum(pads[axis])) // strides[axis]),
        )
        for axis in (0, 1)
    )
    b, c = x.shape[0], x.shape[3]
    fine = (b, rows, strides[0], columns, strides[1], c)
    r, s = (lax.broadcasted_iota(jnp.int32, fine, axis) for axis in (2, 4))
    total = jnp.zeros(fine, gradient.dtype)
    for m, n in itertools.product(range(reach[0]), range(reach[1])):
        grow = ((0, 0), (m, rows - y.shape[1] - m), (n, columns - y.shape[2] - n), (0, 0))
        wins = jnp.pad(winner, grow, constant_values=-1)[:, :, None, :, None, :]
        given = jnp.pad(gradient, grow)[:, :, None, :, None, :]
        met = jnp.broadcast_to(wins, fine) == _code(r + strides[0] * m, s + strides[1] * n)
        total = total + jnp.where(met, jnp.broadcast_to(given, fine), 0)
    total = total.reshape(b, rows * strides[0], columns * strides[1], c)
    (top, _), (left, _) = pads
    return (total[:, top : top + x.shape[1], left : left + x.shape[2]],)


_max_pool.defvjp(_forward, _backward)


def _code(i, j):
    return i * 1024 + j


def _taps(x, window, strides, pads):
    """Yields `((i, j), (b, h', w', c))`: the input under each position of the window, row by row."""
    lowest = -jnp.inf if jnp.issubdtype(x.dtype, jnp.floating) else jnp.iinfo(x.dtype).min
    padded = jnp.pad(x, ((0, 0), *pads, (0, 0)), constant_values=lowest)
    b, h, w, c = padded.shape
    rows, columns = ((n - k) // s for n, k, s in zip((h, w), window, strides, strict=True))
    for i, j in itertools.product(range(window[0]), range(window[1])):
        end = (b, i + rows * strides[0] + 1, j + columns * strides[1] + 1, c)
        yield (i, j), lax.slice(padded, (0, i, j, 0), end, (1, *strides, 1))
