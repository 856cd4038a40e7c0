"""A loss on the tuples of a batch: mined negatives, and negatives from the whole batch."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from vprjax.losses.variant import OfTuples
from vprjax.losses.vectors import distance, unit

IN_BATCH = ("off", "hardest", "semi_hard")
PUSH = ("always", "to_untrained")


def tuple_loss(of: OfTuples, tuples, axis: str) -> Callable:
    """Makes `(descriptors (b, 2 + n, d), batch, classes, step) -> dict of (b,)` of a loss on tuples.

    "active" is the share of a tuple's negatives that violate the margin; "negative_distances" are `(b, n)`.
    With `tuples.in_batch`, further negatives of every query come from all images of the step. With
    `tuples.push="to_untrained"` they are `held`, and the batch's "untrained" holds cosines
    `(b, 2 + n, M)` with all `M` images of the step.

    Args:
      of: the loss.
      tuples: the `tuples` section.
      axis: name of the mapped axis, which in-batch negatives come from.
    """

    def loss(descriptors, batch, classes, step):
        del classes
        query, positive, negatives = descriptors[:, 0], descriptors[:, 1], descriptors[:, 2:]
        valid = jnp.ones(negatives.shape[:2], bool)
        chosen = None
        if tuples.in_batch != "off":
            more, found, chosen = in_batch_negatives(
                descriptors,
                batch["positions"],
                axis,
                radius=tuples.negative_radius,
                count=tuples.in_batch_negatives,
                semi_hard=tuples.in_batch == "semi_hard",
                domain=batch.get("domain"),
            )
            negatives = jnp.concatenate([negatives, more], axis=1)
            valid = jnp.concatenate([valid, found], axis=1)
        if tuples.push == "to_untrained":
            columns = _own_columns(descriptors.shape, axis)
            columns = columns if chosen is None else jnp.concatenate([columns, chosen], axis=1)
            cosines = jnp.take_along_axis(batch["untrained"][:, 0], columns, axis=1)
            negatives = held(query, negatives, cosines)
        value = of.value(query, positive, negatives, valid, step)
        to_positive, to_negatives = (
            distance(query, positive),
            distance(query[:, None, :], negatives),
        )
        within = to_negatives < of.reach(to_positive, step)[:, None]
        return {
            "loss": value,
            "active": jnp.sum(within & valid, axis=1) / jnp.maximum(jnp.sum(valid, axis=1), 1),
            "positive_distance": to_positive,
            "negative_distance": jnp.min(to_negatives, axis=1, initial=2.0, where=valid),
            "negative_distances": jnp.where(valid, to_negatives, jnp.inf),
        }

    return loss


def _own_columns(shape: tuple[int, ...], axis: str) -> jax.Array:
    """Returns the numbers `(b, n)` of the tuples' own negatives among all images of the step."""
    b, m, _ = shape
    rows = jax.lax.axis_index(axis) * b + jnp.arange(b)
    return rows[:, None] * m + jnp.arange(2, m)[None, :]


def held(query: jax.Array, negatives: jax.Array, cosines: jax.Array) -> jax.Array:
    """Returns the negatives, whose distance to the query has a gradient only below the untrained one.

    A loss on distances then pushes a negative away while it is nearer to its query than the untrained
    model has it, `|q - n|^2 < 2 - 2 cosine` at length 1, and leaves it there; the margin is met by the
    positive.

    Shapes: `(b, d), (b, n, d), (b, n) -> (b, n, d)`; descriptors of any length.
    """
    gap = negatives - query[:, None, :]
    apart = unit(negatives) - unit(query)[:, None, :]
    nearer = jnp.sum(apart**2, axis=-1) < 2 - 2 * cosines
    gap = jnp.where(nearer[..., None], gap, jax.lax.stop_gradient(gap))
    return query[:, None, :] + gap


def in_batch_negatives(
    descriptors: jax.Array,
    positions: jax.Array,
    axis: str,
    *,
    radius: float,
    count: int,
    semi_hard: bool,
    domain: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns the `count` nearest descriptors of the global batch that lie beyond `radius` of each query.

    All images of the batch on all devices are candidates, even queries, positives and the query's own
    mined negatives. Gradients return to the device of each image.

    Args:
      descriptors: `(b, m, d)` of this device's tuples, query first, positive second.
      positions: `(b, m, 2)` float32, position units from a near origin.
      axis: name of the mapped axis.
      radius: negatives lie farther from the query than this.
      count: negatives per query.
      semi_hard: takes only images farther from the query than its positive.
      domain: `(b,)` dataset of each tuple, where there are several; negatives are of the query's own.

    Returns:
      negatives `(b, count, d)`; `(b, count)` bool, False where no candidate is left; and the negatives'
      numbers `(b, count)` among all images of the step.

    Source: Schroff et al. 2015 (semi-hard negatives).
    """
    d = descriptors.shape[-1]
    every = jax.lax.all_gather(descriptors, axis).reshape(-1, d)
    places = jax.lax.all_gather(positions, axis).reshape(-1, 2)
    query, positive = descriptors[:, 0], descriptors[:, 1]
    gaps = positions[:, 0][:, None, :] - places[None, :, :]
    far = jnp.sum(gaps**2, axis=-1) > radius**2
    if domain is not None:
        of = jnp.repeat(jax.lax.all_gather(domain, axis).reshape(-1), descriptors.shape[1])
        far &= domain[:, None] == of[None, :]
    # Half of |q|^2 - |q - e|^2, which ranks by L2 whatever the lengths.
    similar = jnp.matmul(query, every.T, precision=jax.lax.Precision.HIGHEST)
    similar = jax.lax.stop_gradient(similar - jnp.sum(every**2, axis=-1)[None, :] / 2)
    if semi_hard:
        to_positive = jnp.sum(query * positive - positive**2 / 2, axis=-1)
        far &= similar < jax.lax.stop_gradient(to_positive)[:, None]
    scores, chosen = jax.lax.top_k(jnp.where(far, similar, -jnp.inf), min(count, len(every)))
    return every[chosen], jnp.isfinite(scores), chosen
