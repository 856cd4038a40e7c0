"""L2 normalisation and the check of a feature map's shape, which all pooling heads share."""

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


def check_map(name: str, x: jax.Array) -> None:
    """Raises ValueError where `x` is not `(b, h, w, c)`."""
    if x.ndim != 4:
        raise ValueError(f"{name}: the feature map has shape {x.shape}, expected (b, h, w, c)")
