"""VLAD: residuals of local descriptors to the nearest centre of a vocabulary."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from vprjax.models.heads.netvlad import aggregate, clusters, rows
from vprjax.models.heads.variant import ClusterStart, Head
from vprjax.models.heads.vectors import check_map, l2_normalize


def vlad(x: jax.Array, centers: jax.Array) -> jax.Array:
    """Residuals to `k` centres: `V_k = sum (x_i - c_k)` over the `x_i` whose most similar centre it is.

    The `x_i` are the L2-normalised local descriptors, similar by the cosine. Each `V_k` is L2-normalised,
    then the whole; a cluster without descriptors stays zero.

    Shapes: `(b, h, w, d), (k, d) -> (b, k * d)`, cluster-major.
    Raises: ValueError on other shapes.
    Source: Jegou et al. 2010; Arandjelovic & Zisserman 2013; Keetha et al. 2023 (AnyLoc).
    """
    check_map("vlad", x)
    b, h, w, d = x.shape
    if centers.ndim != 2 or centers.shape[1] != d:
        raise ValueError(
            f"vlad: centers {centers.shape} must be (k, {d}) for a feature map of {d} channels"
        )
    local = l2_normalize(x).reshape(b, h * w, d)
    exact = jax.lax.Precision.HIGHEST
    similar = jnp.einsum("bnd,kd->bnk", local, l2_normalize(centers), precision=exact)
    nearest = jax.nn.one_hot(jnp.argmax(similar, axis=-1), len(centers), dtype=jnp.float32)
    return aggregate(local, nearest, centers)


class VLAD(nn.Module):
    """VLAD, `(b, h, w, d) -> (b, k * d)`; `centers` `(k, d)` start from k-means."""

    clusters: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns `(b, k * d)`, cluster-major, normalised."""
        return vlad(x, rows(self, "centers", self.clusters, x.shape[-1]))


HEAD = Head(
    title="VLAD",
    make=lambda section: VLAD(section.clusters),
    keys={"clusters": clusters(32)},
    trains=True,
    start=ClusterStart("clusters", lambda centers, local: {"centers": centers}),
)
