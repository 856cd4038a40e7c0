"""SALAD: local features shared out to clusters by optimal transport, beside the class token."""

import math

import jax
import jax.numpy as jnp
from flax import linen as nn

from vprjax.models.heads.variant import Head
from vprjax.models.heads.vectors import check_map, l2_normalize
from vprjax.variants import Key, Whole

# A TPU or GPU would otherwise round the float32 inputs of a matrix product to bfloat16 or TF32.
_EXACT = jax.lax.Precision.HIGHEST

ITERATIONS = 3


def assign(scores: jax.Array, dust_bin: jax.Array) -> jax.Array:
    """Shares of `n` local features in `k` clusters, by Sinkhorn's iterations in the log domain.

    A row `dust_bin` takes what no cluster does. A cluster's row sums to 1, a feature's column to 1 and the
    dustbin's row to `n - k`; the result leaves that row out. As the iterations scale each row to its sum,
    what is added to a whole row changes nothing: `dust_bin` and the scores' biases have gradient 0, and
    are here because released files hold them.

    Shapes: `(b, k, n), () -> (b, k, n)`.
    Raises: ValueError unless `n > k`, as `n - k` is the dustbin's share.
    Source: Izquierdo & Civera 2024; Sarlin et al. 2020; Cuturi 2013.
    """
    b, k, n = scores.shape
    if n <= k:
        raise ValueError(
            f"salad: the feature map has {n} positions for {k} clusters, and needs more positions than "
            "clusters: feed larger images or lower model.salad.clusters"
        )
    bins = jnp.broadcast_to(jnp.asarray(dust_bin, jnp.float32), (b, 1, n))
    scores = jnp.concatenate([jnp.asarray(scores, jnp.float32), bins], axis=1)
    # Logarithms of the rows' and columns' sums, over the n + k of the whole.
    each = -math.log(n + k)
    rows = jnp.full((1, k + 1, 1), each, jnp.float32).at[:, k].add(math.log(n - k))
    u, v = jnp.zeros((b, k + 1, 1), jnp.float32), jnp.zeros((b, 1, n), jnp.float32)
    for _ in range(ITERATIONS):
        u = rows - jax.nn.logsumexp(scores + v, axis=2, keepdims=True)
        v = each - jax.nn.logsumexp(scores + u, axis=1, keepdims=True)
    return jnp.exp(scores + u + v - each)[:, :k]


class SALAD(nn.Module):
    """SALAD, `(b, h, w, c), (b, c) -> (b, t + l * k)`, not yet normalised as a whole.

    First comes the class token's vector of `t` numbers, L2 length 1; with `t = 0` there is none, and any
    backbone serves. Then `V_lk = sum_i p_ik f_il`, each
    cluster's `l` numbers L2-normalised, and flattened with `k` running fastest. The released models
    trained with a dropout of 0.3 in front of two of the ReLUs; here it is 0.

    Source: Izquierdo & Civera 2024.
    """

    clusters: int
    cluster_dim: int
    token_dim: int
    hidden: int

    @nn.compact
    def __call__(self, x: jax.Array, token: jax.Array | None = None) -> jax.Array:
        """Returns the token's part, where there is one, and the clusters'.

        Raises:
          ValueError: the map is no `(b, h, w, c)`, or has no more positions than clusters.
        """
        check_map("salad", x)
        b, h, w, c = x.shape
        x = jnp.asarray(x, jnp.float32).reshape(b, h * w, c)
        features = self._mlp("features", self.cluster_dim, x)
        scores = self._mlp("score", self.clusters, x)
        dust_bin = self.param("dust_bin", nn.initializers.ones, ())
        shares = assign(scores.swapaxes(1, 2), dust_bin)
        found = jnp.einsum("bnl,bkn->blk", features, shares, precision=_EXACT)
        clusters = l2_normalize(found, axis=1).reshape(b, -1)
        if not self.token_dim:
            return clusters
        token = l2_normalize(self._mlp("token", self.token_dim, jnp.asarray(token, jnp.float32)))
        return jnp.concatenate([token, clusters], axis=1)

    def _mlp(self, name: str, features: int, x: jax.Array) -> jax.Array:
        x = nn.relu(nn.Dense(self.hidden, precision=_EXACT, name=f"{name}1")(x))
        return nn.Dense(features, precision=_EXACT, name=f"{name}2")(x)


HEAD = Head(
    title="SALAD",
    make=lambda section: SALAD(
        section.clusters, section.cluster_dim, section.token_dim, section.hidden
    ),
    keys={
        "clusters": Key(64, Whole(1), "clusters k; a feature map needs more positions"),
        "cluster_dim": Key(128, Whole(1), "numbers of a cluster's feature"),
        "token_dim": Key(256, Whole(), "numbers of the class token's vector; 0 leaves it out"),
        "hidden": Key(512, Whole(1), "width of the three MLPs"),
    },
    trains=True,
    random=True,
    class_token=lambda section: section.token_dim > 0,
)
