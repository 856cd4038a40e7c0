"""SuperVLAD: local descriptors summed by cluster, without centres, beside ghost clusters."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from vprjax.models.heads.netvlad import clusters, netvlad_from_centers, rows
from vprjax.models.heads.variant import ClusterStart, Head
from vprjax.models.heads.vectors import check_map, l2_normalize
from vprjax.variants import Key, Whole

_EXACT = jax.lax.Precision.HIGHEST


def supervlad(x: jax.Array, weights: jax.Array, clusters: int) -> jax.Array:
    """Sums of local descriptors by cluster: `V_k = sum_i a_ik x_i`, `a_i = softmax_k(w_k . x_i)`.

    The `x_i` are the L2-normalised local descriptors. The rows of `weights` behind the first `clusters` are
    ghost clusters: they take their share of each `a_i`, and the descriptor leaves them out. Each `V_k` is
    L2-normalised, then the whole.

    Shapes: `(b, h, w, d), (k + ghosts, d) -> (b, k * d)`, cluster-major.
    Raises: ValueError on other shapes.
    Source: Lu et al. 2024.
    """
    check_map("supervlad", x)
    b, h, w, d = x.shape
    if weights.ndim != 2 or weights.shape[1] != d or len(weights) < clusters:
        raise ValueError(
            f"supervlad: weights {weights.shape} must be ({clusters} or more, {d}) for a feature map of "
            f"{d} channels"
        )
    local = l2_normalize(x).reshape(b, h * w, d)
    logits = jnp.einsum("bnd,kd->bnk", local, jnp.asarray(weights, jnp.float32), precision=_EXACT)
    shares = jax.nn.softmax(logits, axis=-1)[:, :, :clusters]
    sums = jnp.einsum("bnk,bnd->bkd", shares, local, precision=_EXACT)
    return l2_normalize(l2_normalize(sums).reshape(b, clusters * d))


class SuperVLAD(nn.Module):
    """SuperVLAD, `(b, h, w, d) -> (b, k * d)`; `weights` `(k + ghosts, d)` start from k-means."""

    clusters: int
    ghosts: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns `(b, k * d)`, cluster-major, normalised."""
        weights = rows(self, "weights", self.clusters + self.ghosts, x.shape[-1])
        return supervlad(x, weights, self.clusters)


HEAD = Head(
    title="SuperVLAD",
    make=lambda section: SuperVLAD(section.clusters, section.ghosts),
    keys={
        "clusters": clusters(4, least=1),
        "ghosts": Key(1, Whole(1), "further clusters, which the descriptor leaves out"),
    },
    trains=True,
    start=ClusterStart(
        "clusters",
        lambda centers, local: {"weights": netvlad_from_centers(centers, local, bias=False)[0]},
        more="ghosts",
    ),
)
