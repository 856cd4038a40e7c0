"""Regional GeM: GeM of R-MAC's regions, each whitened by a linear layer, summed."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from vprjax.models.heads.gem import declared, exponent, gem
from vprjax.models.heads.rmac import LEVELS, pooled, scaled, whitened_sum
from vprjax.models.heads.vectors import check_map


class RegionalGeM(nn.Module):
    """`sum_r n(W n(gem_r) + w)` over R-MAC's regions, with `n(v) = v / (|v| + 1e-6)`.

    `W` starts as the identity.

    Shapes: `(b, h, w, c) -> (b, c)`; not L2-normalised.
    Source: the code released with Radenovic et al. 2018.
    """

    levels: int
    p: float

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns `(b, c)`.

        Raises:
          ValueError: `x` is not `(b, h, w, c)`.
        """
        check_map("regional_gem", x)
        p = exponent(self)
        found = pooled(jnp.asarray(x, jnp.float32), self.levels, lambda part: gem(part, p))
        return whitened_sum(scaled(found))


HEAD = declared(
    "Regional GeM", lambda section: RegionalGeM(section.levels, section.p), {"levels": LEVELS}
)
