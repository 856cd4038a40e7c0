"""Conv-AP: a 1x1 convolution, then the means over a grid of regions."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from vprjax.models.heads.variant import Head
from vprjax.models.heads.vectors import check_map
from vprjax.variants import Key, Whole

_EXACT = jax.lax.Precision.HIGHEST


def region_means(x: jax.Array, rows: int, columns: int) -> jax.Array:
    """Returns the means over `rows x columns` regions, `(b, h, w, c) -> (b, rows, columns, c)`.

    Region `i` of `s` along a side of `n` holds the positions from `floor(i n / s)` to below
    `ceil((i + 1) n / s)`: neighbours overlap where `s` does not divide `n`.
    """
    # `int` is where an export with free sides ends: the regions depend on the size.
    across = [
        jnp.asarray(_windows(int(n), s)) for n, s in zip(x.shape[1:3], (rows, columns), strict=True)
    ]
    return jnp.einsum("bhwc,ih,jw->bijc", x, *across, precision=_EXACT)


def _windows(n: int, s: int) -> np.ndarray:
    """Returns the matrix `(s, n)` whose rows take the means of the regions of a side."""
    matrix = np.zeros((s, n), np.float32)
    for i, row in enumerate(matrix):
        first, end = i * n // s, -(-(i + 1) * n // s)
        row[first:end] = 1 / (end - first)
    return matrix


class ConvAP(nn.Module):
    """`mean_region (W x + b)`, `(b, h, w, c) -> (b, d * rows * columns)`; the channel is outermost.

    Source: Ali-bey et al. 2022.
    """

    channels: int
    rows: int
    columns: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns `(b, channels * rows * columns)`, not yet normalised."""
        check_map("convap", x)
        # A mean commutes with an affine map; in this order the map multiplies few vectors.
        x = region_means(jnp.asarray(x, jnp.float32), self.rows, self.columns)
        x = nn.Conv(self.channels, (1, 1), precision=_EXACT, name="conv")(x)
        return x.transpose(0, 3, 1, 2).reshape(x.shape[0], self.channels * self.rows * self.columns)


HEAD = Head(
    title="Conv-AP",
    make=lambda s: ConvAP(s.channels, s.rows, s.columns),
    keys={
        "channels": Key(512, Whole(1), "channels; a descriptor has rows x columns times as many"),
        "rows": Key(2, Whole(1), "rows of the grid of regions"),
        "columns": Key(2, Whole(1), "columns of the grid of regions"),
    },
    trains=True,
    random=True,
)
