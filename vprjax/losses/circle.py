"""Circle loss on all pairs of a batch."""

import jax
import jax.numpy as jnp

from vprjax.losses.batch import check_pairs
from vprjax.losses.variant import Loss, OfBatch
from vprjax.losses.vectors import float32, log_sum
from vprjax.variants import Key, Number


def circle(
    similar: jax.Array, positive: jax.Array, negative: jax.Array, scale: float, margin: float
) -> jax.Array:
    """`log(1 + sum_N e^{g a_n (s_n - m)} sum_P e^{-g a_p (s_p - 1 + m)})`.

    `a_n = max(0, s_n + m)` and `a_p = max(0, 1 + m - s_p)` are weights, without a gradient. An anchor
    without positives or negatives counts 0.

    Shapes: cosines `(n, m)`, masks `positive` and `negative` `(n, m)` bool -> `(n,)`.
    Raises: ValueError on other shapes.
    Source: Sun et al. 2020, with g the scale and m the margin.
    """
    (similar,) = float32(similar)
    check_pairs("circle", similar, positive, negative)
    seen = jax.lax.stop_gradient(similar)
    pull = -scale * jax.nn.relu(1 + margin - seen) * (similar - (1 - margin))
    push = scale * jax.nn.relu(seen + margin) * (similar - margin)
    both = positive.any(axis=1) & negative.any(axis=1)
    value = jax.nn.softplus(log_sum(push, negative) + log_sum(pull, positive))
    return jnp.where(both, value, 0)


LOSS = Loss(
    title="circle",
    make=lambda section: OfBatch(
        lambda similar, positive, negative: circle(
            similar, positive, negative, section.scale, section.margin
        )
    ),
    keys={
        "scale": Key(80.0, Number(above=True), "g"),
        "margin": Key(0.4, Number(high=1), "m, a difference of cosines"),
    },
)
