"""Supervised contrastive loss on all pairs of a batch."""

import jax
import jax.numpy as jnp

from vprjax.losses.batch import check_pairs
from vprjax.losses.variant import Loss, OfBatch
from vprjax.losses.vectors import float32, log_sum
from vprjax.variants import Key, Number


def supcon(
    similar: jax.Array, positive: jax.Array, negative: jax.Array, temperature: float
) -> jax.Array:
    """`-mean_P log(e^{s_p / t} / sum_{P and N} e^{s / t})`; an anchor without positives counts 0.

    Shapes: cosines `(n, m)`, masks `positive` and `negative` `(n, m)` bool -> `(n,)`.
    Raises: ValueError on other shapes.
    Source: L_out of Khosla et al. 2020.
    """
    (similar,) = float32(similar)
    check_pairs("supcon", similar, positive, negative)
    logits = similar / temperature
    total = log_sum(logits, positive | negative)
    count = positive.sum(axis=1)
    terms = jnp.where(positive, total[:, None] - logits, 0).sum(axis=1)
    return terms / jnp.maximum(count, 1)


LOSS = Loss(
    title="supervised contrastive",
    make=lambda section: OfBatch(
        lambda similar, positive, negative: supcon(similar, positive, negative, section.temperature)
    ),
    keys={"temperature": Key(0.1, Number(above=True), "t, by which cosines are divided")},
)
