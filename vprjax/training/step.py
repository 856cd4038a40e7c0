"""The train state and the pure per-device step."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import flax
import jax
import jax.numpy as jnp
import optax
from clu import metrics

from vprjax import optim
from vprjax.training import health, non_finite


class TrainState(flax.struct.PyTreeNode):
    """All that a step changes or reads; one copy per device.

    Attributes:
      step: steps taken.
      params: `{"model": the descriptor's parameters, "classes": (groups, n, d) ArcFace weights or ()}`.
      constants: the model's other collections (BatchNorm statistics, preprocessing).
      opt_state: optax state.
      ema: running means of the model's "params" and, where they train, "batch_stats"; or ().
      trap: `(2,)` int32, the non-finite guard's record: the first bad step and its tensor's number, or
        -1. From that step on nothing else changes.
    """

    step: jax.Array
    params: Any
    constants: Any
    opt_state: Any
    ema: Any
    trap: jax.Array


@flax.struct.dataclass
class TrainMetrics(metrics.Collection):
    """Means over a log interval's steps and over all devices; histograms are sums.

    `active` is the share of negatives that violate the margin. With ArcFace on places it is the share of
    images nearer to another place's weight than to their own.
    """

    loss: metrics.Average.from_output("loss")
    active: metrics.Average.from_output("active")
    positive_distance: metrics.Average.from_output("positive_distance")
    negative_distance: metrics.Average.from_output("negative_distance")
    positive_histogram: health.Histogram.from_output("positive_distance")
    negative_histogram: health.Histogram.from_output("negative_distances")
    variance: metrics.Average.from_output("variance")
    effective_rank: metrics.Average.from_output("effective_rank")
    grad_norm: metrics.Average.from_output("grad_norm")
    grad_norm_backbone: metrics.Average.from_output("grad_norm_backbone")
    grad_norm_head: metrics.Average.from_output("grad_norm_head")
    grad_norm_classes: metrics.Average.from_output("grad_norm_classes")


# With keep images: the mean squared change of their cosines too.
KeepMetrics = metrics.Collection.create(
    **{n: kind for n, kind in TrainMetrics.__annotations__.items() if n != "_reduction_counter"},
    keep=metrics.Average.from_output("keep"),
)


@dataclasses.dataclass(frozen=True)
class StepRules:
    """The rules of a step.

    Attributes:
      train_batch_norm: whether BatchNorm uses and updates the batch's statistics.
      axis: name of the mapped axis.
      accumulate: parts of each device's rows, computed one after the other to save memory.
      ema_decay: decay of the parameters' running mean; 0 keeps none.
      lowest: least value by parameter path; an update stays at it or above.
      keep_weight: weight of the loss on the keep images; 0 has none.
    """

    train_batch_norm: bool
    axis: str
    accumulate: int = 1
    ema_decay: float = 0.0
    lowest: Mapping[str, float] = dataclasses.field(default_factory=dict)
    keep_weight: float = 0.0


def make_train_step(
    apply_fn: Callable,
    loss_fn: Callable,
    optimiser: optax.GradientTransformation,
    augment: Callable,
    key: jax.Array,
    rules: StepRules,
    keep_fn: Callable | None = None,
) -> Callable:
    """Makes a step `(state, batch) -> (state, metrics)` for one device of the mapped axis.

    `batch["images"]` is uint8 `(b, m, h, w, c)`: b tuples or places of m images. The step averages losses
    over the global batch. Random keys depend on the step and the global row, so that the number of devices
    does not change the result. `batch["keep"]`, where `rules.keep_weight` asks for it, has "images"
    `(k, h, w, 3)` uint8 and what `keep_fn` reads; its gradients are computed apart, so that the peaks of
    both do not add.

    Args:
      apply_fn: the model, `(variables, images (n, h, w, c)) -> (n, d)`.
      loss_fn: `(descriptors (b, m, d), batch, classes, step) -> dict of (b,)`.
      optimiser: optax transformation of `params`.
      augment: `(images (m, h, w, c), key) -> (m, h, w, c)`.
      key: seed of the augmentation.
      rules: the rules of the step.
      keep_fn: `(descriptors (k, d), batch["keep"]) -> (k,)`.
    """
    axis = rules.axis
    find = _gradients(apply_fn, loss_fn, rules.train_batch_norm, rules.accumulate)

    def step(state: TrainState, batch: dict):
        rows = batch["images"].shape[0]
        first = jax.lax.axis_index(axis) * rows
        keys = jax.vmap(lambda row: jax.random.fold_in(jax.random.fold_in(key, state.step), row))(
            first + jnp.arange(rows)
        )
        keep = batch.get("keep")
        batch = {name: x for name, x in batch.items() if name != "keep"}
        batch["images"] = jax.vmap(augment)(batch["images"], keys)
        grads, (parts, descriptors, new) = find(state, batch)
        kind = TrainMetrics
        if rules.keep_weight:
            value, pull = _kept(apply_fn, keep_fn, state, keep)
            grads = jax.tree.map(lambda g, p: g + rules.keep_weight * p, grads, pull)
            parts, kind = {**parts, "keep": value}, KeepMetrics
        # Not `new`: trained BatchNorm averages over `axis` itself, and a mean of equals may round.
        grads = jax.lax.pmean(grads, axis)
        figures = health.spread(descriptors, axis) | health.gradient_norms(grads)
        measured = kind.gather_from_model_output(axis_name=axis, **parts, **figures)
        looked_at = jax.lax.pmean((descriptors.sum(), parts["loss"].sum()), axis)
        trap = non_finite.sprung(state.trap, state.step, non_finite.first_bad((*looked_at, grads)))
        return _updated(state, optimiser, grads, new, trap, rules), measured

    return step


def _kept(apply_fn, keep_fn, state, keep: dict) -> tuple[jax.Array, Any]:
    """Returns the loss on the keep images `(k,)` and its mean's gradients; statistics stay."""

    def value(params):
        variables = {"params": params["model"], **state.constants}
        found = keep_fn(apply_fn(variables, keep["images"]), keep)
        return found.mean(), found

    grads, found = jax.grad(value, has_aux=True)(state.params)
    return found, grads


def _gradients(apply_fn, loss_fn, train_batch_norm: bool, accumulate: int) -> Callable:
    """Makes `(state, batch) -> (gradients, (loss_fn's parts, descriptors, new collections))`."""

    def forward(params, constants, batch, step):
        b, m = batch["images"].shape[:2]
        variables = {"params": params["model"], **constants}
        flat = batch["images"].reshape(b * m, *batch["images"].shape[2:])
        if train_batch_norm:
            descriptors, new = apply_fn(variables, flat, train=True, mutable=["batch_stats"])
        else:
            descriptors, new = apply_fn(variables, flat), {}
        parts = loss_fn(descriptors.reshape(b, m, -1), batch, params["classes"], step)
        return parts["loss"].mean(), (parts, descriptors, new)

    def gradients(state, batch):
        grads, aux = jax.grad(forward, has_aux=True)(
            state.params, state.constants, batch, state.step
        )
        return grads, aux

    def accumulated(state, batch):
        pieces = jax.tree.map(
            lambda x: x.reshape(accumulate, x.shape[0] // accumulate, *x.shape[1:]), batch
        )

        def add(total, piece):
            grads, aux = gradients(state, piece)
            return jax.tree.map(jnp.add, total, grads), aux

        zero = jax.tree.map(jnp.zeros_like, state.params)
        total, (parts, descriptors, new) = jax.lax.scan(add, zero, pieces)
        grads = jax.tree.map(lambda g: g / accumulate, total)
        parts = {name: value.reshape(-1) for name, value in parts.items()}
        return grads, (parts, descriptors.reshape(-1, descriptors.shape[-1]), new)

    return accumulated if accumulate > 1 else gradients


def _updated(state, optimiser, grads, new, trap, rules: StepRules) -> TrainState:
    """Returns the next state; after the guard's finding only the step moves."""
    updates, opt_state = optimiser.update(grads, state.opt_state, state.params)
    params = optim.apply_updates(state.params, updates, rules.lowest)
    ema = state.ema
    if rules.ema_decay:
        # Early on the decay is smaller, so that the mean soon forgets the untrained start.
        decay = jnp.minimum(rules.ema_decay, (1 + state.step) / (10 + state.step))
        now = {"params": params["model"], **new}
        ema = jax.tree.map(lambda e, x: decay * e + (1 - decay) * x, ema, {k: now[k] for k in ema})
    moved = state.replace(
        params=params, constants={**state.constants, **new}, opt_state=opt_state, ema=ema
    )
    sound = trap[0] < 0
    kept = jax.tree.map(lambda a, b: jnp.where(sound, a, b), moved, state)
    return kept.replace(step=state.step + 1, trap=trap)
