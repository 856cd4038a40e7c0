"""DELF's attention: the sum of local descriptors, each weighted by a small network's score."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from vprjax.models.heads.variant import Head
from vprjax.models.heads.vectors import check_map, l2_normalize
from vprjax.variants import Key, Whole


class Attention(nn.Module):
    """`a_i = softplus(v . relu(W x_i + w) + u)`, `(b, h, w, c) -> (b, h, w)`."""

    hidden: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns the scores `(b, h, w)`, above 0."""
        exact = jax.lax.Precision.HIGHEST
        y = nn.relu(nn.Dense(self.hidden, precision=exact, name="conv1")(x))
        return nn.softplus(nn.Dense(1, precision=exact, name="conv2")(y))[..., 0]


class DELF(nn.Module):
    """`sum_i a_i x_i / |x_i|`, `(b, h, w, c) -> (b, c)`; the attention sees the `x_i` as they are.

    Source: Noh et al. 2017, whose first layer has BatchNorm: frozen, it is part of `W` and `w`.
    """

    hidden: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns `(b, c)`, not yet normalised.

        Raises:
          ValueError: `x` is not `(b, h, w, c)`.
        """
        check_map("delf", x)
        x = jnp.asarray(x, jnp.float32)
        scores = Attention(self.hidden, name="attention")(x)
        exact = jax.lax.Precision.HIGHEST
        return jnp.einsum("bhwc,bhw->bc", l2_normalize(x), scores, precision=exact)


HEAD = Head(
    title="DELF",
    make=lambda section: DELF(section.hidden),
    keys={"hidden": Key(512, Whole(1), "channels inside the attention")},
    trains=True,
)
