"""BoQ, bag of queries: learned queries attend to local features that an encoder refines."""

import functools

import jax
import jax.numpy as jnp
from flax import linen as nn

from vprjax.models.heads.variant import Head
from vprjax.models.heads.vectors import check_map
from vprjax.variants import Key, Whole

_EXACT = jax.lax.Precision.HIGHEST
_Dense = functools.partial(nn.Dense, precision=_EXACT)
# The fast variance, E[x^2] - E[x]^2, loses float32's digits where the mean is large.
_Norm = functools.partial(nn.LayerNorm, epsilon=1e-5, use_fast_variance=False)

HEAD_CHANNELS = 64


class Attention(nn.Module):
    """`softmax(Q K^T / sqrt(d)) V` a head, then a linear layer: `(b, q, c), (b, n, c) -> (b, q, c)`.

    `Q` comes from the first array, `K` and `V` from the second. One kernel `(c, 3 c)` holds the three maps.
    """

    heads: int

    @nn.compact
    def __call__(self, queries: jax.Array, x: jax.Array) -> jax.Array:
        """Returns `(b, q, c)`."""
        c = x.shape[-1]
        kernel = self.param("kernel", nn.initializers.xavier_uniform(), (c, 3 * c), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (3 * c,), jnp.float32)
        q, k, v = (
            (jnp.matmul(a, m, precision=_EXACT) + s.reshape(1, 1, c)).reshape(
                *a.shape[:2], self.heads, c // self.heads
            )
            for a, m, s in zip(
                (queries, x, x), jnp.split(kernel, 3, 1), jnp.split(bias, 3), strict=True
            )
        )
        scores = jnp.einsum("bqhd,bnhd->bhqn", q, k, precision=_EXACT) * q.shape[-1] ** -0.5
        weights = jax.nn.softmax(scores, axis=-1)
        out = jnp.einsum("bhqn,bnhd->bqhd", weights, v, precision=_EXACT)
        return _Dense(c, name="out")(out.reshape(*queries.shape[:2], c))


class Encoder(nn.Module):
    """A transformer's layer, normalised behind each sum: `x = norm(x + attention)`, `norm(x + mlp)`."""

    heads: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns the refined local features, `(b, n, c)`."""
        c = x.shape[-1]
        x = _Norm(name="norm1")(x + Attention(self.heads, name="attention")(x, x))
        y = _Dense(c, name="narrow")(nn.relu(_Dense(4 * c, name="wide")(x)))
        return _Norm(name="norm2")(x + y)


class Block(nn.Module):
    """An encoder, and queries that attend to each other and then to its output."""

    heads: int
    queries: int

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Returns the encoder's output `(b, n, c)` and what the queries found `(b, q, c)`."""
        c = x.shape[-1]
        x = Encoder(self.heads, name="encoder")(x)
        q = self.param("queries", nn.initializers.normal(1.0), (1, self.queries, c), jnp.float32)
        q = _Norm(name="norm_queries")(q + Attention(self.heads, name="self_attention")(q, q))
        q = jnp.broadcast_to(q, (x.shape[0], *q.shape[1:]))  # equal for all images up to here
        found = Attention(self.heads, name="cross_attention")(
            q, x
        )  # no residual: q itself is no feature
        return x, _Norm(name="norm_found")(found)


class BoQ(nn.Module):
    """A bag of learned queries, `(b, h, w, c) -> (b, d * rows)`; rows run fastest.

    `x = norm(conv3x3(map))`; each block refines `x` and asks it with its own queries; a linear layer maps
    the answers of all queries, one channel as the other, to `rows`.

    Source: Ali-bey et al. 2024.
    """

    channels: int
    heads: int
    queries: int
    blocks: int
    rows: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns `(b, channels * rows)`, not yet normalised."""
        check_map("boq", x)
        b, h, w, _ = x.shape
        x = jnp.asarray(x, jnp.float32)
        x = nn.Conv(self.channels, (3, 3), padding=1, precision=_EXACT, name="reduce")(x)
        x = _Norm(name="norm")(x.reshape(b, h * w, self.channels))
        answers = []
        for i in range(self.blocks):
            x, found = Block(self.heads, self.queries, name=f"block{i + 1}")(x)
            answers.append(found)
        found = jnp.concatenate(answers, axis=1).transpose(0, 2, 1)
        return _Dense(self.rows, name="rows_out")(found).reshape(b, self.channels * self.rows)


HEAD = Head(
    title="BoQ",
    make=lambda s: BoQ(HEAD_CHANNELS * s.heads, s.heads, s.queries, s.blocks, s.rows),
    keys={
        "heads": Key(
            8, Whole(1), "attention heads of 64 channels; a descriptor has 64 heads x rows"
        ),
        "queries": Key(64, Whole(1), "learned queries a block"),
        "blocks": Key(2, Whole(1), "encoders, each with its queries"),
        "rows": Key(32, Whole(1), "rows that the answers of all queries become"),
    },
    trains=True,
    random=True,
)
