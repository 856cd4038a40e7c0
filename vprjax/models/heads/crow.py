"""CroW: a sum over the map, weighted by how active each position and how rare each channel is."""

import jax
import jax.numpy as jnp

from vprjax.models.heads.variant import Head
from vprjax.models.heads.vectors import check_map


def crow(x: jax.Array) -> jax.Array:
    """Weighted sum of each channel, `v_c = r_c sum_i a_i x_ic`; negative values count as 0.

    `a_i = sqrt(s_i / |s|)` with `s_i = sum_c x_ic`; `r_c = log(sum_j q_j / q_c)` with `q_c` the share of
    positions where channel `c` is above 0, and `r_c = 0` where it never is. No gradient enters `r`. The
    paper's features are VGG16's last map behind its pooling.

    Shapes: `(b, h, w, c) -> (b, c)`; not L2-normalised; a map of zeros gives zeros.
    Raises: ValueError on other shapes.
    Source: Kalantidis et al. 2016 and the released code, which has no epsilon.
    """
    check_map("crow", x)
    x = jnp.asarray(x, jnp.float32)
    x = jnp.where(
        x < 0, 0.0, x
    )  # the maximum would halve the gradient at 0, where ReLUs leave many
    at_positions = jnp.einsum(
        "bhwc,bhw->bc", x, position_weights(x), precision=jax.lax.Precision.HIGHEST
    )
    return channel_weights(x) * at_positions


def position_weights(x: jax.Array) -> jax.Array:
    """The weights `a`, `(b, h, w, c) -> (b, h, w)`; an inactive position has 0, and no gradient."""
    s = jnp.sum(x, axis=3)
    active = s > 0
    squared = jnp.sum(s * s, axis=(1, 2), keepdims=True)
    length = jnp.sqrt(jnp.where(squared > 0, squared, 1.0))
    return jnp.where(active, jnp.sqrt(jnp.where(active, s, 1.0) / length), 0.0)


def channel_weights(x: jax.Array) -> jax.Array:
    """The weights `r`, `(b, h, w, c) -> (b, c)`."""
    q = jnp.mean(jnp.where(x > 0, 1.0, 0.0), axis=(1, 2))  # jax2onnx cannot take a mean of truths
    alive = q > 0
    rarity = jnp.log(jnp.sum(q, axis=1, keepdims=True) / jnp.where(alive, q, 1.0))
    return jnp.where(alive, rarity, 0.0)


HEAD = Head(title="CroW", make=lambda section: crow)
