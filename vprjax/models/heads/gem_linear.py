"""GeM and a linear layer as one head, for models that project once more behind the L2 normalisation."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from vprjax.models.heads.gem import HEAD as GEM
from vprjax.models.heads.gem import gem
from vprjax.models.heads.variant import Head
from vprjax.variants import Key, Whole


class GeMLinear(nn.Module):
    """`W gem(x) + w` with one learnable exponent `p`, `(b, h, w, c) -> (b, d)`.

    Source: AP-GeM, Revaud et al. 2019, whose PCA follows.
    """

    dimension: int
    p: float

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns `(b, d)`, not yet normalised."""
        p = self.param("p", nn.initializers.constant(self.p), (), jnp.float32)
        linear = nn.Dense(self.dimension, precision=jax.lax.Precision.HIGHEST, name="linear")
        return linear(gem(x, p))


HEAD = Head(
    title="GeM + linear layer",
    make=lambda section: GeMLinear(section.dimension, section.p),
    keys={
        "dimension": Key(2048, Whole(1), "outputs d of the linear layer"),
        "p": GEM.keys["p"],
        "p_rate": GEM.keys["p_rate"],
    },
    trains=True,
    random=True,
    rates=GEM.rates,
    lowest=GEM.lowest,
    logged={"gem_p": "p"},
)
