"""The train state, the losses on batches and the pure per-device step."""

from collections.abc import Callable
from typing import Any

import flax
import jax
import jax.numpy as jnp
import optax
from clu import metrics

from vprjax import losses


class TrainState(flax.struct.PyTreeNode):
    """All that a step changes or reads; one copy a device.

    Attributes:
      step: steps taken.
      params: `{"model": the descriptor's parameters, "classes": (groups, n, d) ArcFace weights or ()}`.
      constants: the model's other collections (BatchNorm statistics, preprocessing).
      opt_state: optax state.
    """

    step: jax.Array
    params: Any
    constants: Any
    opt_state: Any


@flax.struct.dataclass
class TrainMetrics(metrics.Collection):
    """Means over the steps of a log interval and over all devices."""

    loss: metrics.Average.from_output("loss")
    active: metrics.Average.from_output("active")
    positive_distance: metrics.Average.from_output("positive_distance")
    negative_distance: metrics.Average.from_output("negative_distance")
    grad_norm: metrics.Average.from_output("grad_norm")


def tuple_loss(config) -> Callable:
    """Loss `(descriptors (b, 2 + n, d), batch, classes) -> dict of (b,)` of a tuple loss.

    Contrastive takes the pairs `(q, p)` and every `(q, n_j)` and averages over them; triplet sums over
    negatives (Eq. 6); ArcFace `pair` reads the query as the class weight (Eq. 7).
    """

    def loss(descriptors, batch, classes):
        del batch, classes
        query, positive, negatives = descriptors[:, 0], descriptors[:, 1], descriptors[:, 2:]
        if config.name == "triplet":
            value = losses.triplet(query, positive, negatives, config.triplet_margin)
        elif config.name == "contrastive":
            value = _contrastive(query, descriptors[:, 1:], config)
        else:
            value = losses.arcface_pair(
                query, positive, negatives, config.arcface_scale, config.arcface_margin
            )
        positive_distance = _distance(query, positive)
        negative_distance = _distance(query[:, None, :], negatives).min(axis=1)
        return {
            "loss": value,
            "active": (value > 0).astype(jnp.float32),
            "positive_distance": positive_distance,
            "negative_distance": negative_distance,
        }

    return loss


def _contrastive(query, others, config):
    b, m, d = others.shape
    match = jnp.broadcast_to(jnp.arange(m)[None, :] == 0, (b, m))
    pairs = losses.contrastive(
        jnp.repeat(query, m, axis=0),
        others.reshape(b * m, d),
        match.reshape(b * m),
        config.contrastive_margin,
        squared=config.contrastive_squared,
    )
    return pairs.reshape(b, m).mean(axis=1)


def place_loss(config) -> Callable:
    """ArcFace on places: `(descriptors (p, k, d), batch, classes (g, n, d)) -> dict of (p,)`.

    The group's class weights are `classes[group]`; rows past the group's own classes are masked.
    """

    def loss(descriptors, batch, classes):
        p, k, d = descriptors.shape
        group = batch["group"][0]
        mask = jnp.arange(classes.shape[1]) < batch["group_size"][0]
        labels = jnp.repeat(batch["labels"], k)
        flat = descriptors.reshape(p * k, d)
        value = losses.arcface(
            flat, classes[group], labels, config.arcface_scale, config.arcface_margin, mask
        )
        distance = jnp.sqrt(jnp.maximum(2 - 2 * flat @ _unit(classes[group]).T, 0))
        own = jnp.arange(classes.shape[1])[None, :] == labels[:, None]
        nearest_other = jnp.where(own | ~mask[None, :], jnp.inf, distance).min(axis=1)
        own_distance = jnp.where(own, distance, 0).sum(axis=1)
        return {
            "loss": value.reshape(p, k).mean(axis=1),
            "active": (own_distance > nearest_other).astype(jnp.float32).reshape(p, k).mean(axis=1),
            "positive_distance": own_distance.reshape(p, k).mean(axis=1),
            "negative_distance": nearest_other.reshape(p, k).mean(axis=1),
        }

    return loss


def _unit(weights: jax.Array) -> jax.Array:
    """Class weights on the unit sphere, as ArcFace sees them."""
    return weights / jnp.maximum(jnp.linalg.norm(weights, axis=-1, keepdims=True), 1e-12)


def _distance(a, b):
    return jnp.sqrt(jnp.maximum(jnp.sum((a - b) ** 2, axis=-1), 0))


def make_train_step(
    apply_fn: Callable,
    loss_fn: Callable,
    optimiser: optax.GradientTransformation,
    augment: Callable,
    key: jax.Array,
    train_batch_norm: bool,
    axis: str,
) -> Callable:
    """A step `(state, batch) -> (state, metrics)` for one device of the mapped `axis`.

    `batch["images"]` is uint8 `(b, m, h, w, c)`: b tuples or places of m images. Losses are averaged
    over the global batch; random keys depend on the step and the global row, so that the result does
    not depend on the number of devices.
    """

    def forward(params, constants, images, batch):
        b, m = images.shape[:2]
        variables = {"params": params["model"], **constants}
        flat = images.reshape(b * m, *images.shape[2:])
        if train_batch_norm:
            descriptors, new = apply_fn(variables, flat, train=True, mutable=["batch_stats"])
        else:
            descriptors, new = apply_fn(variables, flat), {}
        parts = loss_fn(descriptors.reshape(b, m, -1), batch, params["classes"])
        return parts["loss"].mean(), (parts, new)

    def step(state: TrainState, batch: dict):
        rows = batch["images"].shape[0]
        first = jax.lax.axis_index(axis) * rows
        keys = jax.vmap(lambda row: jax.random.fold_in(jax.random.fold_in(key, state.step), row))(
            first + jnp.arange(rows)
        )
        images = jax.vmap(augment)(batch["images"], keys)
        grads, (parts, new) = jax.grad(forward, has_aux=True)(
            state.params, state.constants, images, batch
        )
        grads, new = jax.lax.pmean((grads, new), axis)
        updates, opt_state = optimiser.update(grads, state.opt_state, state.params)
        measured = TrainMetrics.gather_from_model_output(
            axis_name=axis, **parts, grad_norm=optax.global_norm(grads)
        )
        state = state.replace(
            step=state.step + 1,
            params=optax.apply_updates(state.params, updates),
            constants={**state.constants, **new},
            opt_state=opt_state,
        )
        return state, measured

    return step
