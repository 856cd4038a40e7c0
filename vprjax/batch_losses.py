"""The losses on whole batches: mined and in-batch negatives of tuples, places for ArcFace. Pure."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from vprjax import losses

IN_BATCH = ("off", "hardest", "semi_hard")


def make(config, tuples, use_places: bool, axis: str) -> Callable:
    """The config's loss `(descriptors (b, m, d), batch, classes, step) -> dict of (b,)`.

    Args:
      config: the `loss` section.
      tuples: the `tuples` section.
      use_places: ArcFace on places rather than a loss on tuples.
      axis: name of the mapped axis, over which in-batch negatives are gathered.
    """
    return place_loss(config) if use_places else tuple_loss(config, tuples, axis)


def tuple_loss(config, tuples, axis: str) -> Callable:
    """Loss `(descriptors (b, 2 + n, d), batch, classes, step) -> dict of (b,)` of a tuple loss.

    "active" is the share of a tuple's negatives that violate the margin, "negative_distances" `(b, n)`.
    Contrastive takes the pairs `(q, p)` and every `(q, n_j)` and averages over them; triplet sums over
    negatives (Eq. 6); ArcFace `pair` reads the query as the class weight (Eq. 7). With
    `tuples.in_batch`, further negatives of every query come from all images of the step.
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
        if config.name == "triplet":
            value = losses.triplet(query, positive, negatives, config.triplet_margin, valid)
        elif config.name == "contrastive":
            value = _contrastive(query, positive, negatives, valid, config)
        else:
            value = losses.arcface_pair(
                query, positive, negatives, config.arcface_scale, _margin(config, step), valid
            )
        to_positive, to_negatives = (
            _distance(query, positive),
            _distance(query[:, None, :], negatives),
        )
        within = to_negatives < _reach(config, to_positive, step)[:, None]
        return {
            "loss": value,
            "active": jnp.sum(within & valid, axis=1) / jnp.maximum(jnp.sum(valid, axis=1), 1),
            "positive_distance": to_positive,
            "negative_distance": jnp.min(to_negatives, axis=1, initial=2.0, where=valid),
            "negative_distances": jnp.where(valid, to_negatives, jnp.inf),
        }

    return loss


def _reach(config, to_positive: jax.Array, step) -> jax.Array:
    """The distance `(b,)` within which a negative violates the margin, by that to the positive `(b,)`."""
    if config.name == "triplet":
        return jnp.sqrt(to_positive**2 + config.triplet_margin)
    if config.name == "contrastive":
        return jnp.full_like(to_positive, config.contrastive_margin)
    # ArcFace's angle, the margin added, as a chord of the unit sphere.
    angle = 2 * jnp.arcsin(jnp.minimum(to_positive / 2, 1)) + _margin(config, step)
    return 2 * jnp.sin(jnp.minimum(angle, jnp.pi) / 2)


def in_batch_negatives(
    descriptors: jax.Array,
    positions: jax.Array,
    axis: str,
    *,
    radius: float,
    count: int,
    semi_hard: bool,
) -> tuple[jax.Array, jax.Array]:
    """The `count` nearest descriptors of the global batch that lie beyond `radius` of each query.

    With `semi_hard` only those farther from the query than its positive (Schroff et al. 2015). All
    images of the batch on all devices are candidates, queries, positives and the query's own mined
    negatives too; gradients go back to where they came from.

    Args:
      descriptors: `(b, m, d)` of this device's tuples, query first, positive second.
      positions: `(b, m, 2)` position units, about a near origin (float32).
      axis: name of the mapped axis.
      radius: negatives lie farther from the query than this.
      count: negatives wanted.
      semi_hard: see above.

    Returns:
      negatives `(b, count, d)` and `(b, count)` bool, False where no candidate was left.
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


def _contrastive(query, positive, negatives, valid, config):
    """`(b,)`: the mean over a tuple's pairs, of which `valid (b, n)` says which negatives count."""
    others = jnp.concatenate([positive[:, None], negatives], axis=1)
    b, m, d = others.shape
    match = jnp.broadcast_to(jnp.arange(m)[None, :] == 0, (b, m))
    pairs = losses.contrastive(
        jnp.repeat(query, m, axis=0),
        others.reshape(b * m, d),
        match.reshape(b * m),
        config.contrastive_margin,
        squared=config.contrastive_squared,
    )
    return jnp.mean(pairs.reshape(b, m), axis=1, where=match | jnp.pad(valid, ((0, 0), (1, 0))))


def place_loss(config) -> Callable:
    """ArcFace on places: `(descriptors (p, k, d), batch, classes (g, n, d), step) -> dict of (p,)`.

    The group's class weights are `classes[group]`; rows past the group's own classes are masked.
    """

    def loss(descriptors, batch, classes, step):
        p, k, d = descriptors.shape
        group = batch["group"][0]
        mask = jnp.arange(classes.shape[1]) < batch["group_size"][0]
        labels = jnp.repeat(batch["labels"], k)
        flat = descriptors.reshape(p * k, d)
        value = losses.arcface(
            flat, classes[group], labels, config.arcface_scale, _margin(config, step), mask
        )
        cosine = jnp.matmul(flat, _unit(classes[group]).T, precision=jax.lax.Precision.HIGHEST)
        distance = jnp.sqrt(jnp.maximum(2 - 2 * cosine, 0))
        own = jnp.arange(classes.shape[1])[None, :] == labels[:, None]
        nearest_other = jnp.where(own | ~mask[None, :], jnp.inf, distance).min(axis=1)
        own_distance = jnp.where(own, distance, 0).sum(axis=1)
        return {
            "loss": value.reshape(p, k).mean(axis=1),
            "active": (own_distance > nearest_other).astype(jnp.float32).reshape(p, k).mean(axis=1),
            "positive_distance": own_distance.reshape(p, k).mean(axis=1),
            "negative_distance": nearest_other.reshape(p, k).mean(axis=1),
            "negative_distances": nearest_other,
        }

    return loss


def _margin(config, step) -> jax.Array:
    """ArcFace's margin at a step: it grows linearly from 0 over `arcface_margin_warmup` steps."""
    grown = jnp.minimum((step + 1) / max(config.arcface_margin_warmup, 1), 1.0)
    return config.arcface_margin * grown


def _unit(weights: jax.Array) -> jax.Array:
    """Class weights on the unit sphere, as ArcFace sees them."""
    return weights / jnp.maximum(jnp.linalg.norm(weights, axis=-1, keepdims=True), 1e-12)


def _distance(a, b):
    return jnp.sqrt(jnp.maximum(jnp.sum((a - b) ** 2, axis=-1), 0))
