"""L2 normalisation, the maximum over a map and the check of its shape, which pooling heads share."""

import jax
import jax.numpy as jnp


def l2_normalize(x: jax.Array, axis: int = -1, eps: float = 1e-12) -> jax.Array:
    """Returns `x / |x|` along `axis`; a vector no longer than `eps` becomes zero, as does its gradient.

    The plain quotient has a NaN gradient at the zero vector.
    """
    x = jnp.asarray(x, jnp.float32)
    squared = jnp.sum(x * x, axis=axis, keepdims=True)
    vanishes = squared <= eps * eps  # False for NaN, so that a NaN stays visible
    return jnp.where(vanishes, 0.0, x * jax.lax.rsqrt(jnp.where(vanishes, 1.0, squared)))


@jax.custom_vjp
def maximum(x: jax.Array) -> jax.Array:
    """Maximum of each channel, `(b, h, w, c) -> (b, c)`; the gradient goes to the first largest value.

    The gradient of `jnp.max` divides by the number of values that equal the maximum. XLA may compute a map
    twice, once for each side, with other roundings: then none is equal, and the gradient is NaN.
    """
    return jnp.max(x, axis=(1, 2))


def _maximum_forward(x: jax.Array):
    b, h, w, c = x.shape
    return maximum(x), (jnp.argmax(x.reshape(b, h * w, c), axis=1), x)


def _maximum_backward(kept, gradient: jax.Array):
    winner, x = kept  # of the map only the shape
    b, h, w, c = x.shape
    chosen = jax.nn.one_hot(winner, h * w, axis=1, dtype=gradient.dtype)
    return ((chosen * gradient[:, None, :]).reshape(b, h, w, c),)


maximum.defvjp(_maximum_forward, _maximum_backward)


def check_map(name: str, x: jax.Array) -> None:
    """Raises ValueError where `x` is not `(b, h, w, c)`."""
    if x.ndim != 4:
        raise ValueError(f"{name}: the feature map has shape {x.shape}, expected (b, h, w, c)")
