"""R-MAC: the maxima of square regions of the map, each L2-normalised, summed."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from vprjax.models.heads.variant import Head
from vprjax.models.heads.vectors import check_map, maximum
from vprjax.variants import Key, Whole

_OVERLAP = 0.4  # of neighbouring regions that span the map's shorter side
_MORE = range(1, 7)  # numbers of extra regions along the longer side that may reach it
_EPS = np.float32(1e-6)
GRID = np.float32  # type of the regions' arithmetic: it decides between counts that tie


def rmac(x: jax.Array, levels: int = 3) -> jax.Array:
    """Sum over `regions` of `m / (|m| + 1e-6)`, `m` the maximum of each channel there.

    Shapes: `(b, h, w, c) -> (b, c)`; not L2-normalised.
    Raises: ValueError on other shapes.
    Source: Tolias et al. 2016; `rmac` of the code released with Radenovic et al. 2018.
    """
    check_map("rmac", x)
    x = jnp.asarray(x, jnp.float32)
    return jnp.sum(scaled(pooled(x, levels, maximum)), axis=1)


def pooled(x: jax.Array, levels: int, pool) -> jax.Array:
    """Returns `pool` of every region, `(b, h, w, c) -> (b, r, c)`."""
    found = regions(*x.shape[1:3], levels)
    parts = [x[:, top : top + h, left : left + w] for top, left, h, w in found]
    return jnp.stack([pool(part) for part in parts], axis=1)


def scaled(x: jax.Array) -> jax.Array:
    """Returns `x / (|x| + 1e-6)` along the last axis; the gradient at the zero vector is `1e6`."""
    squared = jnp.sum(x * x, axis=-1, keepdims=True)
    vanishes = squared == 0
    norm = jnp.where(vanishes, 0.0, jnp.sqrt(jnp.where(vanishes, 1.0, squared)))
    return x / (norm + _EPS)


def whitened_sum(vectors: jax.Array) -> jax.Array:
    """Sum over regions of `scaled(W v + w)`, `(b, r, c) -> (b, c)`; declares `whiten`, `W` the identity.

    A head's compact method calls it.
    """
    whiten = nn.Dense(
        vectors.shape[-1],
        precision=jax.lax.Precision.HIGHEST,
        kernel_init=lambda key, shape, dtype: jnp.eye(*shape, dtype=dtype),
        name="whiten",
    )
    return jnp.sum(scaled(whiten(vectors)), axis=1)


def regions(height: int, width: int, levels: int) -> list[tuple[int, int, int, int]]:
    """Returns `(top, left, height, width)` of the whole map and of each level's squares.

    Level `l` has squares of side `floor(2 s / (l + 1))`, `s` the shorter side: `l` along it and `l + m`
    along the longer one. A square map is level 1 too, so it counts twice. The starts are equally spaced
    and rounded down.
    """
    short, long = sorted((height, width))
    more = _more(short, long)
    found = [(0, 0, height, width)]
    for level in range(1, levels + 1):
        side = 2 * short // (level + 1)
        if side:
            down = _starts(height, side, level + more * (height > width))
            right = _starts(width, side, level + more * (width > height))
            found += [(top, left, side, side) for top in down for left in right]
    return found


def _more(short: int, long: int) -> int:
    """The number of extra squares along the longer side whose overlap is nearest to 0.4.

    On maps of 9:5, such as 20x36, two numbers tie, and the rounding of float32 decides: the original
    inverts the number first.
    """
    inverse = GRID(1) / np.array(_MORE, GRID)
    step = inverse * GRID(long - short)
    area = GRID(short * short)
    overlap = (area - GRID(short) * step) / area
    return _MORE[int(np.argmin(np.abs(overlap - GRID(_OVERLAP))))]


def _starts(size: int, side: int, count: int) -> list[int]:
    """Where `count` regions of `side` start along `size`; float32 as in the original."""
    step = GRID((size - side) / (count - 1) if count > 1 else 0)
    half = GRID(side // 2 - 1)
    centres = np.floor(half + np.arange(count, dtype=GRID) * step)
    return [int(start) for start in centres - half]


LEVELS = Key(3, Whole(1), "levels of square regions; level l has l along the map's shorter side")
HEAD = Head(
    title="R-MAC",
    make=lambda section: functools.partial(rmac, levels=section.levels),
    keys={"levels": LEVELS},
)
