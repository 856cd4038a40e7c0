"""A loss on the tuples of a batch: mined negatives, and negatives from the whole batch."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from vprjax.losses.variant import OfTuples
from vprjax.losses.vectors import distance

IN_BATCH = ("off", "hardest", "semi_hard")


def tuple_loss(of: OfTuples, tuples, axis: str) -> Callable:
    """Makes `(descriptors (b, 2 + n, d), batch, classes, step) -> dict of (b,)` of a loss on tuples.

    "active" is the share of a tuple's negatives that violate the margin; "negative_distances" are `(b, n)`.
    With `tuples.in_batch`, further negatives of every query come from all images of the step.

    Args:
      of: the loss.
      tuples: the `tuples` section.
      axis: name of the mapped axis, which in-batch negatives come from.
    """

    def loss(descriptors, batch, classes, step):
        del classes
        query, positive, negatives = descriptors[:, 0], descriptors[:, 1], descriptors[:, 2:]
        valid = jnp.ones(negatives.shape[:2], bool)
        if tuples.in_batch != "off":
            more, found = in_batch_negatives(
                descriptors,
                batch["positions"],
                axis,
                radius=tuples.negative_radius,
                count=tuples.in_batch_negatives,
                semi_hard=tuples.in_batch == "semi_hard",
            )
            negatives = jnp.concatenate([negatives, more], axis=1)
            valid = jnp.concatenate([valid, found], axis=1)
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


def in_batch_negatives(
    descriptors: jax.Array,
    positions: jax.Array,
    axis: str,
    *,
    radius: float,
    count: int,
    semi_hard: bool,
) -> tuple[jax.Array, jax.Array]:
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

    Returns:
      negatives `(b, count, d)` and `(b, count)` bool, False where no candidate is left.

    Source: Schroff et al. 2015 (semi-hard negatives).
    """
    d = descriptors.shape[-1]
    every = jax.lax.all_gather(descriptors, axis).reshape(-1, d)
    places = jax.lax.all_gather(positions, axis).reshape(-1, 2)
    query, positive = descriptors[:, 0], descriptors[:, 1]
    gaps = positions[:, 0][:, None, :] - places[None, :, :]
    far = jnp.sum(gaps**2, axis=-1) > radius**2
    similar = jax.lax.stop_gradient(jnp.matmul(query, every.T, precision=jax.lax.Precision.HIGHEST))
    if semi_hard:
        far &= similar < jnp.sum(query * positive, axis=-1)[:, None]
    scores, chosen = jax.lax.top_k(jnp.where(far, similar, -jnp.inf), min(count, len(every)))
    return every[chosen], jnp.isfinite(scores)
