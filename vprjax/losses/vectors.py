"""Safe lengths in float32 and the check of a tuple's shapes, which the losses share."""

import jax
import jax.numpy as jnp

# Shorter vectors count as zero.
_ZERO_LENGTH = 1e-12
# Logit of what does not count: finite, as the gradient of logsumexp over only -inf is NaN.
LEFT_OUT = -1e30


def length(x: jax.Array) -> jax.Array:
    """Returns the L2 length of the last axis, with a zero gradient at the zero vector."""
    squared = jnp.sum(x * x, axis=-1)
    vanishes = squared <= _ZERO_LENGTH**2  # False for NaN, so that a NaN stays visible
    return jnp.where(vanishes, 0.0, jnp.sqrt(jnp.where(vanishes, 1.0, squared)))


def unit(x: jax.Array) -> jax.Array:
    """Returns `x / |x|`; a zero vector stays zero."""
    size = length(x)[..., None]
    return x / jnp.where(size == 0, 1.0, size)


def log_sum(logits: jax.Array, mask: jax.Array) -> jax.Array:
    """Returns `log sum e^logits` over the mask, `(n, m), (n, m) -> (n,)`; `LEFT_OUT` where it is empty."""
    return jax.nn.logsumexp(jnp.where(mask, logits, LEFT_OUT), axis=1)


def float32(*arrays: jax.Array) -> list[jax.Array]:
    """Returns the arrays in float32."""
    return [jnp.asarray(array, jnp.float32) for array in arrays]


def check_tuples(name: str, query, positive, negatives, valid) -> None:
    """Raises ValueError where the shapes are not `(b, d), (b, d), (b, n, d), (b, n)` with `n >= 1`."""
    fits = query.ndim == 2 and positive.shape == query.shape and negatives.ndim == 3
    if not fits or negatives.shape[::2] != query.shape or negatives.shape[1] == 0:
        raise ValueError(
            f"{name}: query {query.shape}, positive {positive.shape} and negatives "
            f"{negatives.shape} must be (b, d), (b, d) and (b, n, d) with n >= 1"
        )
    if valid is not None and jnp.shape(valid) != negatives.shape[:2]:
        raise ValueError(f"{name}: valid {jnp.shape(valid)} must be {negatives.shape[:2]}")


def distance(a: jax.Array, b: jax.Array) -> jax.Array:
    """Returns the L2 distance over the last axis, for figures alone: its gradient at 0 is not finite."""
    return jnp.sqrt(jnp.maximum(jnp.sum((a - b) ** 2, axis=-1), 0))
