"""Regional GeM: GeM of R-MAC's regions, each whitened by a linear layer, summed."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from vprjax.models.heads.gem import HEAD as GEM
from vprjax.models.heads.gem import gem
from vprjax.models.heads.rmac import pooled, scaled
from vprjax.models.heads.variant import Head
from vprjax.models.heads.vectors import check_map
from vprjax.variants import Key, Whole


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
        p = self.param("p", nn.initializers.constant(self.p), (), jnp.float32)
        found = pooled(jnp.asarray(x, jnp.float32), self.levels, lambda part: gem(part, p))
        whiten = nn.Dense(
            x.shape[-1],
            precision=jax.lax.Precision.HIGHEST,
            kernel_init=lambda key, shape, dtype: jnp.eye(*shape, dtype=dtype),
            name="whiten",
        )
        return jnp.sum(scaled(whiten(scaled(found))), axis=1)


HEAD = Head(
    title="Regional GeM",
    make=lambda section: RegionalGeM(section.levels, section.p),
    keys={
        "levels": Key(3, Whole(1), "levels of square regions, as of R-MAC"),
        "p": GEM.keys["p"],
        "p_rate": GEM.keys["p_rate"],
    },
    trains=True,
    rates=GEM.rates,
    lowest=GEM.lowest,
    logged={"gem_p": "p"},
)
