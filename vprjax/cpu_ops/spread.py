"""A vector over all rows for CPUs, whose gradient takes less time.

XLA's CPU backend sums a map over its positions far more slowly than a product with ones does.

Pass `spread` to `vprjax.models.build` on a CPU; a TPU or GPU does best with the stock sum.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np


def spread(vector: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """The vector `(c,)` at all positions of `shape`, `(..., c)`; of a constant, what broadcasts to it.

    Only the reverse-mode derivative exists.
    """
    if isinstance(vector, np.ndarray):  # a program's constant stays one, without a gradient
        return vector.reshape((1,) * (len(shape) - 1) + (-1,))
    return _spread(vector, shape)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _spread(vector, shape):
    return jnp.broadcast_to(vector.reshape((1,) * (len(shape) - 1) + (-1,)), shape)


def summed(rows: jax.Array) -> jax.Array:
    """The sum over all axes but the last, `(..., c) -> (c,)`."""
    rows = rows.reshape(-1, rows.shape[-1])
    return jnp.ones(len(rows), rows.dtype) @ rows


_spread.defvjp(lambda vector, shape: (_spread(vector, shape), None), lambda _, __, g: (summed(g),))
