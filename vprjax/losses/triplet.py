"""Triplet loss on squared L2 distances."""

import jax
import jax.numpy as jnp

from vprjax.losses.variant import Loss, OfTuples
from vprjax.losses.vectors import check_tuples, float32
from vprjax.variants import Key, Number


def triplet(
    query: jax.Array,
    positive: jax.Array,
    negatives: jax.Array,
    margin: float,
    valid: jax.Array | None = None,
) -> jax.Array:
    """`sum_j max(0, |q - p|^2 - |q - n_j|^2 + margin)`: squared L2, summed over the negatives.

    Negatives that `valid` marks False do not count.

    Shapes: `(b, d), (b, d), (b, n, d), valid (b, n) bool -> (b,)`, `n >= 1`.
    Raises: ValueError on other shapes.
    Source: Eq. 6 of Alijani & Rahtu 2021; Arandjelovic et al. 2016.
    """
    query, positive, negatives = float32(query, positive, negatives)
    check_tuples("triplet", query, positive, negatives, valid)
    to_positive = jnp.sum((query - positive) ** 2, axis=-1)
    to_negatives = jnp.sum((query[:, None, :] - negatives) ** 2, axis=-1)
    terms = jax.nn.relu(to_positive[:, None] - to_negatives + margin)
    return jnp.sum(terms, axis=-1, where=valid)


def _make(section) -> OfTuples:
    return OfTuples(
        value=lambda query, positive, negatives, valid, step: triplet(
            query, positive, negatives, section.margin, valid
        ),
        reach=lambda to_positive, step: jnp.sqrt(to_positive**2 + section.margin),
    )


LOSS = Loss(
    title="triplet",
    make=_make,
    keys={
        # The squared distance of unit descriptors ends at 4.
        "margin": Key(0.1, Number(high=4), "alpha, on squared L2 of unit descriptors"),
    },
)
