"""Contrastive loss on L2 distances."""

import jax
import jax.numpy as jnp

from vprjax.losses.variant import Loss, OfTuples
from vprjax.losses.vectors import float32, length
from vprjax.variants import Flag, Key, Number


def contrastive(
    a: jax.Array, b: jax.Array, match: jax.Array, margin: float, squared: bool = False
) -> jax.Array:
    """Pulls matching pairs together and pushes the others `margin` apart, by L2 distance `l`.

    A match costs `l`, a non-match `max(0, margin - l)`. With `squared` they cost the usual `1/2 l^2` and
    `1/2 max(0, margin - l)^2`. At distance zero the gradient is zero; the formula leaves it undefined.

    Shapes: `(n, d), (n, d), (n,) bool -> (n,)`.
    Raises: ValueError on other shapes.
    Source: Eq. 5 of Alijani & Rahtu 2021; `squared`: Hadsell et al. 2006.
    """
    a, b = float32(a, b)
    match = jnp.asarray(match, bool)
    if a.ndim != 2 or b.shape != a.shape or match.shape != a.shape[:1]:
        raise ValueError(
            f"contrastive: a {a.shape}, b {b.shape} and match {match.shape} must be "
            "(n, d), (n, d) and (n,)"
        )
    distance = length(a - b)
    if not squared:
        return jnp.where(match, distance, jax.nn.relu(margin - distance))
    pull = jnp.sum((a - b) ** 2, axis=-1)
    return 0.5 * jnp.where(match, pull, jax.nn.relu(margin - distance) ** 2)


def _of_tuple(query, positive, negatives, valid, section):
    """Averages a tuple's pairs `(b,)`; negatives that `valid (b, n)` marks False do not count."""
    others = jnp.concatenate([positive[:, None], negatives], axis=1)
    b, m, d = others.shape
    match = jnp.broadcast_to(jnp.arange(m)[None, :] == 0, (b, m))
    pairs = contrastive(
        jnp.repeat(query, m, axis=0),
        others.reshape(b * m, d),
        match.reshape(b * m),
        section.margin,
        squared=section.squared,
    )
    return jnp.mean(pairs.reshape(b, m), axis=1, where=match | jnp.pad(valid, ((0, 0), (1, 0))))


def _make(section) -> OfTuples:
    """Averages the pairs (q, p) and every (q, n_j) of a tuple."""
    return OfTuples(
        value=lambda query, positive, negatives, valid, step: _of_tuple(
            query, positive, negatives, valid, section
        ),
        reach=lambda to_positive, step: jnp.full_like(to_positive, section.margin),
    )


LOSS = Loss(
    title="contrastive",
    make=_make,
    keys={
        # The distance of unit descriptors ends at 2.
        "margin": Key(0.7, Number(high=2), "M, on L2 (not squared) of unit descriptors"),
        "squared": Key(
            False, Flag(), "False is the paper's Eq. 5 as printed; True the usual squared form"
        ),
    },
)
