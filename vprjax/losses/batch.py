"""A loss on all pairs of a batch of places, gathered from all devices."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from vprjax.losses.variant import OfBatch
from vprjax.losses.vectors import unit

# A TPU or GPU would otherwise round the float32 inputs of a matrix product to bfloat16 or TF32.
_EXACT = jax.lax.Precision.HIGHEST


def batch_loss(of: OfBatch, axis: str) -> Callable:
    """Makes `(descriptors (p, k, d), batch, classes, step) -> dict of (p,)` of a loss on pairs.

    Every image of this device's places is an anchor. Its pairs are all other images of the step, of all
    devices; gradients return to the device of each. "active" is the share of anchors whose nearest image of
    another place is nearer than their farthest of the own place.

    Args:
      of: the loss.
      axis: name of the mapped axis, which the other devices' images come from.
    """

    def loss(descriptors, batch, classes, step):
        del classes, step
        p, k, d = descriptors.shape
        own = unit(jnp.asarray(descriptors, jnp.float32)).reshape(p * k, d)
        every = jax.lax.all_gather(own, axis).reshape(-1, d)
        labels = jnp.repeat(batch["labels"], k)
        all_labels = jax.lax.all_gather(labels, axis).reshape(-1)
        number = jax.lax.axis_index(axis) * p * k + jnp.arange(p * k)
        same = labels[:, None] == all_labels[None, :]
        positive = same & (number[:, None] != jnp.arange(len(every))[None, :])
        similar = jnp.matmul(own, every.T, precision=_EXACT)
        value = of.value(similar, positive, ~same)
        to_others = jnp.where(same, jnp.inf, _chord(similar))
        farthest = jnp.max(_chord(similar), axis=1, initial=0.0, where=positive)
        mean = jnp.sum(jnp.where(positive, _chord(similar), 0), axis=1)
        nearest = to_others.min(axis=1)
        figures = {
            "loss": value,
            "active": (nearest < farthest).astype(jnp.float32),
            "positive_distance": mean / jnp.maximum(positive.sum(axis=1), 1),
            "negative_distance": jnp.minimum(nearest, 2.0),
        }
        per_place = {name: x.reshape(p, k).mean(axis=1) for name, x in figures.items()}
        return {**per_place, "negative_distances": nearest.reshape(p, k)}

    return loss


def _chord(similar: jax.Array) -> jax.Array:
    """Returns the L2 distance of unit vectors from their cosine."""
    return jnp.sqrt(jnp.maximum(2 - 2 * jax.lax.stop_gradient(similar), 0))


def check_pairs(name: str, similar, positive, negative) -> None:
    """Raises ValueError where the three are not of one shape `(n, m)`."""
    if similar.ndim != 2 or not similar.shape == positive.shape == negative.shape:
        raise ValueError(
            f"{name}: similar {similar.shape}, positive {positive.shape} and negative {negative.shape} "
            "must all be (n, m)"
        )
