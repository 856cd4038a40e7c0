"""SPoC: the mean of each channel."""

import jax
import jax.numpy as jnp

from vprjax.models.heads.variant import Head
from vprjax.models.heads.vectors import check_map


def spoc(x: jax.Array) -> jax.Array:
    """Mean activation of each channel, `(b, h, w, c) -> (b, c)`.

    Raises: ValueError on other shapes.
    Source: Babenko & Lempitsky 2015.
    """
    check_map("spoc", x)
    return jnp.mean(jnp.asarray(x, jnp.float32), axis=(1, 2))


HEAD = Head(title="SPoC", make=lambda section: spoc)
