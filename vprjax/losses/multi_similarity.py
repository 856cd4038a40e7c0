"""Multi-similarity loss with its miner, on all pairs of a batch."""

import jax
import jax.numpy as jnp

from vprjax.losses.batch import check_pairs
from vprjax.losses.variant import Loss, OfBatch
from vprjax.losses.vectors import float32, log_sum
from vprjax.variants import Key, Number


def multi_similarity(
    similar: jax.Array,
    positive: jax.Array,
    negative: jax.Array,
    *,
    alpha: float,
    beta: float,
    base: float,
    epsilon: float,
) -> jax.Array:
    """`1/alpha log(1 + sum_P e^{-alpha (s - base)}) + 1/beta log(1 + sum_N e^{beta (s - base)})`.

    P holds the anchor's positives with `s - epsilon` below its most similar negative, N its negatives with
    `s + epsilon` above its least similar positive. An anchor without either counts 0.

    Shapes: cosines `(n, m)`, masks `positive` and `negative` `(n, m)` bool -> `(n,)`.
    Raises: ValueError on other shapes.
    Source: Wang et al. 2019; alpha, beta, base and epsilon as in SALAD's released training.
    """
    (similar,) = float32(similar)
    check_pairs("multi_similarity", similar, positive, negative)
    seen = jax.lax.stop_gradient(similar)
    hardest = jnp.max(seen, axis=1, keepdims=True, initial=-jnp.inf, where=negative)
    least = jnp.min(seen, axis=1, keepdims=True, initial=jnp.inf, where=positive)
    kept = positive & (seen - epsilon < hardest)
    against = negative & (seen + epsilon > least)
    pulled = _log1p_sum(-alpha * (similar - base), kept) / alpha
    return pulled + _log1p_sum(beta * (similar - base), against) / beta


def _log1p_sum(logits: jax.Array, mask: jax.Array) -> jax.Array:
    """`log(1 + sum e^logits)` over the mask, `(n, m) -> (n,)`; 0 where nothing is in it."""
    return jax.nn.softplus(log_sum(logits, mask))


def _make(section) -> OfBatch:
    return OfBatch(
        lambda similar, positive, negative: multi_similarity(
            similar,
            positive,
            negative,
            alpha=section.alpha,
            beta=section.beta,
            base=section.base,
            epsilon=section.epsilon,
        )
    )


LOSS = Loss(
    title="multi-similarity",
    make=_make,
    keys={
        "alpha": Key(1.0, Number(above=True), "weight of positives far below the base"),
        "beta": Key(50.0, Number(above=True), "weight of negatives far above the base"),
        "base": Key(0.0, Number(high=1), "the cosine that both are measured from"),
        "epsilon": Key(0.1, Number(high=2), "the miner's margin, a difference of cosines"),
    },
)
