"""The optimiser: optax with warm-up and cosine, clipping and parameter groups, by pure functions."""

import dataclasses
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

OPTIMISERS = ("adamw", "sgd")
NOTHING: Mapping = MappingProxyType({})


def schedule(config, steps: int) -> optax.Schedule:
    """Makes a linear warm-up to `learning_rate` over `warmup_steps`, then a cosine to 0 at `steps`."""
    warmup = min(config.warmup_steps, max(steps - 1, 0))
    return optax.warmup_cosine_decay_schedule(
        init_value=config.learning_rate / (warmup + 1),
        peak_value=config.learning_rate,
        warmup_steps=warmup,
        decay_steps=max(steps, 1),
    )


def path_name(path) -> str:
    """Returns the name of a parameter tree's key path: `"model/backbone/conv1_1/kernel"`."""
    return "/".join(str(getattr(key, "key", getattr(key, "idx", key))) for key in path)


@dataclasses.dataclass(frozen=True)
class Groups:
    """The groups of a parameter tree; a prefix counts below `model/`.

    Attributes:
      frozen: prefixes that nothing changes, not even weight decay.
      own: learning-rate multipliers of the head's and the loss's own parameters, by whole path.
      depth: learning-rate multiplier by prefix of a stage.
      release: the step before which nothing changes, by prefix.
      added: names of the backbone's only parameters that train, at any depth; () trains all.
    """

    frozen: tuple[str, ...] = ()
    own: Mapping[str, float] = dataclasses.field(default_factory=dict)
    depth: Mapping[str, float] = dataclasses.field(default_factory=dict)
    release: Mapping[str, int] = dataclasses.field(default_factory=dict)
    added: tuple[str, ...] = ()

    @property
    def still(self) -> list[str]:
        """Patterns of the paths that nothing changes."""
        found = [f"model/{re.escape(prefix)}" for prefix in self.frozen]
        if self.added:
            found.append(f"model/backbone/(?!.*/({'|'.join(map(re.escape, self.added))})$)")
        return found


NO_GROUPS = Groups()


def rates(config, params: Any, groups: Groups = NO_GROUPS) -> Any:
    """Returns the learning-rate multiplier of every parameter, by the first rule that matches its path.

    What is still has 0, an own path its rate, the rest of the head `head_rate`, a stage its rate by depth
    and the rest of the backbone 1.
    """
    rules = [(pattern, 0.0) for pattern in groups.still]
    rules += [(f"{re.escape(path)}$", rate) for path, rate in groups.own.items()]
    rules += [(r"model/(pooling|projection)/", config.head_rate)]
    rules += [(f"model/{re.escape(prefix)}", rate) for prefix, rate in groups.depth.items()]
    return _by_path(params, [*rules, (r"", 1.0)])


def _by_path(params: Any, rules: list[tuple[str, Any]]) -> Any:
    """Returns per parameter the value of the first pattern that matches its path."""

    def value(path, _):
        name = path_name(path)
        return next(value for pattern, value in rules if re.match(pattern, name))

    return jax.tree_util.tree_map_with_path(value, params)


def apply_updates(params: Any, updates: Any, lowest: Mapping[str, float] = NOTHING) -> Any:
    """Returns `params + updates`, where a path of `lowest` stays at its value or above."""

    def kept(path, p):
        least = lowest.get(path_name(path))
        if least is None:
            return p
        return jnp.where(
            jnp.isfinite(p), jnp.maximum(p, least), p
        )  # the non-finite guard needs NaN to stay

    return jax.tree_util.tree_map_with_path(kept, optax.apply_updates(params, updates))


def decays(params: Any) -> Any:
    """Returns True for the model's kernels, the only parameters that weight decay touches."""
    return jax.tree_util.tree_map_with_path(
        lambda path, _: path_name(path).endswith("/kernel"), params
    )


class Start(NamedTuple):
    """The state of `pull_to_start`: the parameters before the first step."""

    start: Any


def pull_to_start(weight: float) -> optax.GradientTransformation:
    """Adds `weight (p - start)` to the update of every parameter, whose start it keeps in its state.

    Behind Adam's scaling and ahead of the learning rate, as AdamW's decoupled decay is: a step moves `p` by
    `-rate weight (p - start)` besides, whatever the gradients' sizes.

    Source: L2-SP (Li et al. 2018), decoupled as in Loshchilov & Hutter 2019.
    """

    def update(updates, state, params=None):
        pulled = jax.tree.map(lambda u, p, s: u + weight * (p - s), updates, params, state.start)
        return pulled, state

    return optax.GradientTransformation(lambda params: Start(params), update)


def pulled(params: Any, groups: Groups) -> Any:
    """Returns True for the parameters that `keep_start` pulls: the model's that train, less own paths."""
    free = [(pattern, False) for pattern in groups.still]
    free += [(f"{re.escape(path)}$", False) for path in groups.own]
    return _by_path(params, [*free, (r"model/", True), (r"", False)])


def hold_until(first: Any) -> optax.GradientTransformation:
    """Makes the update of every parameter 0 before its step of `first`; the state counts the steps."""

    def update(updates, state, params=None):
        del params
        held = jax.tree.map(
            lambda u, step: jnp.where(state.count >= step, u, jnp.zeros_like(u)), updates, first
        )
        return held, optax.ScaleByScheduleState(state.count + 1)

    start = optax.ScaleByScheduleState(jnp.zeros((), jnp.int32))
    return optax.GradientTransformation(lambda params: start, update)


def make_optimiser(
    config, steps: int, params: Any, groups: Groups = NO_GROUPS
) -> optax.GradientTransformation:
    """Makes AdamW, or SGD with momentum, over the parameter groups of `rates` and `decays`.

    The moments and the clipped norm follow all gradients from the first step on, those of stages still to
    be released too: Adam's first update after a run of zero gradients would be three times the rate.

    Args:
      config: the `optim` section of the config.
      steps: length of the schedule.
      params: parameter tree, for its paths only.
      groups: the groups of its paths.

    Raises:
      ValueError: the optimiser's name is unknown.
    """
    if config.name == "adamw":
        core = optax.scale_by_adam()
    elif config.name == "sgd":
        core = optax.trace(config.momentum)
    else:
        raise ValueError(f"optim.name={config.name!r} is unknown; known: {', '.join(OPTIMISERS)}")
    multipliers = rates(config, params, groups)
    parts = [
        optax.clip_by_global_norm(config.clip_norm) if config.clip_norm else optax.identity(),
        core,
        optax.add_decayed_weights(config.weight_decay, mask=decays),
    ]
    if config.keep_start:
        parts.append(optax.masked(pull_to_start(config.keep_start), pulled(params, groups)))
    parts += [
        optax.stateless(
            lambda updates, params: jax.tree.map(lambda u, m: u * m, updates, multipliers)
        ),
        optax.scale_by_learning_rate(schedule(config, steps)),
    ]
    if groups.release:
        rules = [(f"model/{re.escape(p)}", step) for p, step in groups.release.items()]
        parts.append(hold_until(_by_path(params, [*rules, (r"", 0)])))
    return optax.chain(*parts)
