"""Spatial pyramid: the maxima of each channel in grids of one, four, nine and more bins."""

import functools

import jax
import jax.numpy as jnp

from vprjax.models.heads.variant import Head
from vprjax.models.heads.vectors import check_map, maximum
from vprjax.variants import Key, Whole


def spatial_pyramid(x: jax.Array, levels: int = 4) -> jax.Array:
    """Maxima of each channel over `l x l` bins for `l` from 1 to `levels`; the channel is outermost.

    Bin `i` of `l` along a side of `n` holds the positions from `floor(i n / l)` to below
    `ceil((i + 1) n / l)`, so that neighbours overlap where `l` does not divide `n`.

    Shapes: `(b, h, w, c) -> (b, c s)` with `s = 1 + 4 + ... + levels^2`, 30 of four levels.
    Raises: ValueError on other shapes.
    Source: He et al. 2014; on conv5 in Chen et al. 2017.
    """
    check_map("spatial_pyramid", x)
    x = jnp.asarray(x, jnp.float32)
    bins = [
        maximum(x[:, top:bottom, left:right])
        for level in range(1, levels + 1)
        for top, bottom in _bins(x.shape[1], level)
        for left, right in _bins(x.shape[2], level)
    ]
    return jnp.stack(bins, axis=2).reshape(x.shape[0], -1)


def _bins(n: int, level: int) -> list[tuple[int, int]]:
    return [(i * n // level, -(-(i + 1) * n // level)) for i in range(level)]


HEAD = Head(
    title="Spatial pyramid",
    make=lambda section: functools.partial(spatial_pyramid, levels=section.levels),
    keys={"levels": Key(4, Whole(1), "levels of the pyramid; level l has l x l bins")},
)
