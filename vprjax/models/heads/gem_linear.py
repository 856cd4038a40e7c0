"""GeM and a linear layer as one head, for models that project once more behind the L2 normalisation."""

import jax
from flax import linen as nn

from vprjax.models.heads.gem import declared, exponent, gem
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
        p = exponent(self)
        linear = nn.Dense(self.dimension, precision=jax.lax.Precision.HIGHEST, name="linear")
        return linear(gem(x, p))


HEAD = declared(
    "GeM + linear layer",
    lambda section: GeMLinear(section.dimension, section.p),
    {"dimension": Key(2048, Whole(1), "outputs d of the linear layer")},
    random=True,
)
