"""The optimiser: optax with warm-up and cosine, clipping and parameter groups, by pure functions."""

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

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


def rates(config, params: Any, frozen: Sequence[str], own: Mapping[str, float] = NOTHING) -> Any:
    """Returns the learning-rate multiplier of every parameter, by the first rule that matches its path.

    Frozen stages have 0, a path of `own` its rate, the rest of the head `head_rate` and the backbone 1.
    """
    rules = [(f"model/{re.escape(prefix)}", 0.0) for prefix in frozen]
    rules += [(f"{re.escape(path)}$", rate) for path, rate in own.items()]
    rules += [(r"model/(pooling|projection)/", config.head_rate), (r"", 1.0)]

    def rate(path, _):
        name = path_name(path)
        return next(value for pattern, value in rules if re.match(pattern, name))

    return jax.tree_util.tree_map_with_path(rate, params)


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


def make_optimiser(
    config,
    steps: int,
    params: Any,
    frozen: Sequence[str] = (),
    own: Mapping[str, float] = NOTHING,
) -> optax.GradientTransformation:
    """Makes AdamW, or SGD with momentum, over the parameter groups of `rates` and `decays`.

    Args:
      config: the `optim` section of the config.
      steps: length of the schedule.
      params: parameter tree, for its paths only.
      frozen: prefixes of paths under `model/` that nothing changes, not even weight decay.
      own: learning-rate multipliers of the head and the loss, by path.

    Raises:
      ValueError: the optimiser's name is unknown.
    """
    if config.name == "adamw":
        core = optax.scale_by_adam()
    elif config.name == "sgd":
        core = optax.trace(config.momentum)
    else:
        raise ValueError(f"optim.name={config.name!r} is unknown; known: {', '.join(OPTIMISERS)}")
    multipliers = rates(config, params, frozen, own)
    scale = optax.stateless(
        lambda updates, params: jax.tree.map(lambda u, m: u * m, updates, multipliers)
    )
    return optax.chain(
        optax.clip_by_global_norm(config.clip_norm) if config.clip_norm else optax.identity(),
        core,
        optax.add_decayed_weights(config.weight_decay, mask=decays),
        scale,
        optax.scale_by_learning_rate(schedule(config, steps)),
    )
