"""Learned R-MAC: R-MAC whose regions a linear layer whitens before they are summed."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from vprjax.models.heads.rmac import LEVELS, pooled, scaled, whitened_sum
from vprjax.models.heads.variant import Head, RegionStart
from vprjax.models.heads.vectors import check_map, maximum


def region_vectors(x: jax.Array, levels: int) -> jax.Array:
    """Returns the L2-normalised maxima of R-MAC's regions, `(b, h, w, c) -> (b, r, c)`."""
    return scaled(pooled(jnp.asarray(x, jnp.float32), levels, maximum))


class LearnedRMAC(nn.Module):
    """`sum_r n(W n(m_r) + w)` with `m_r` the maxima of region `r`, `n(v) = v / (|v| + 1e-6)`.

    `W` and `w` start as whitened PCA of the regions of training images, and train.

    Shapes: `(b, h, w, c) -> (b, c)`; not L2-normalised.
    Source: Gordo et al. 2016; the regions are R-MAC's grid, not those of a proposal network.
    """

    levels: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns `(b, c)`.

        Raises:
          ValueError: `x` is not `(b, h, w, c)`.
        """
        check_map("learned_rmac", x)
        return whitened_sum(region_vectors(x, self.levels))


HEAD = Head(
    title="Learned R-MAC",
    make=lambda section: LearnedRMAC(section.levels),
    keys={"levels": LEVELS},
    trains=True,
    start=RegionStart("whiten", lambda section, x: region_vectors(x, section.levels)),
)
