"""MAC: the maximum of each channel."""

import jax
import jax.numpy as jnp

from vprjax.models.heads.variant import Head
from vprjax.models.heads.vectors import check_map, maximum


def mac(x: jax.Array) -> jax.Array:
    """Maximum activation of each channel, `(b, h, w, c) -> (b, c)`.

    Raises: ValueError on other shapes.
    Source: Tolias et al. 2016.
    """
    check_map("mac", x)
    return maximum(jnp.asarray(x, jnp.float32))


HEAD = Head(title="MAC", make=lambda section: mac)
