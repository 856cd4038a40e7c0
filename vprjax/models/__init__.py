"""Models: a backbone cut at a stage, a pooling, an optional linear projection."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from ml_collections import ConfigDict

from vprjax.cpu_ops import attention as cpu_attention
from vprjax.cpu_ops import convolution, residual, spread
from vprjax.cpu_ops import max_pool as cpu_max_pool
from vprjax.models import multi_scale
from vprjax.models.backbones import BACKBONES, low_rank
from vprjax.models.backbones.layers import Layers, fold_norm
from vprjax.models.descriptor import NORMS as NORMS
from vprjax.models.descriptor import USUAL_NORMS as USUAL_NORMS
from vprjax.models.descriptor import Descriptor
from vprjax.models.heads import HEADS
from vprjax.variants import pick

ADDED = low_rank.ADDED
HEAD = "head"  # as `train_from`: pooling and projection alone train
BATCH_NORMS = ("frozen", "train")
PROJECTION_STARTS = ("pca", "pca_whitened", "gaussian", "random")
DTYPES = ("float32", "bfloat16")


def build(model_config, batch_norm_axis: str | None = None, **operations: Callable) -> Descriptor:
    """Builds the module of `configs.base`'s `model` section.

    `module.apply(variables, images, train=False) -> (b, d)`; `method="features"` returns the local
    map `(b, h, w, c)`. Variables: "params" with "backbone", "pooling" (GeM, NetVLAD) and
    "projection" (if asked for), "batch_stats" (backbones with BatchNorm) and "preprocess".

    Args:
      model_config: the `model` section.
      batch_norm_axis: name of the mapped axis that trained BatchNorm averages over.
      operations: functions of `Layers`, by name, in place of the stock ones.

    Raises:
      ValueError: a name or value is not known.
    """
    check(model_config)
    c = model_config
    layers = Layers(
        dtype=jnp.dtype(c.compute_dtype),
        batch_norm=c.batch_norm,
        batch_norm_axis=batch_norm_axis,
        remat=c.remat,
        lora_rank=c.lora_rank,
        **operations,
    )
    projection = None
    if c.projection:
        projection = nn.Dense(c.projection, precision=jax.lax.Precision.HIGHEST)
    head, section = pick("model.pooling", c.pooling, HEADS), c.get(c.pooling)
    token = head.class_token(section)
    return Descriptor(
        backbone=backbone(c.backbone, c.stage, c.train_from, layers, token),
        pooling=head.make(section),
        projection=projection,
        frozen_backbone=c.train_from == HEAD,
        norms=tuple(c.norms),
        class_token=token,
        scales=tuple(map(float, c.scales)),
        scales_power=c.scales_power,
    )


def build_for_platform(model_config, batch_norm_axis: str) -> Descriptor:
    """Calls `build` with the operations that are fast on this platform."""
    if jax.default_backend() != "cpu":
        return build(model_config, batch_norm_axis=batch_norm_axis)
    return build_for_cpu(model_config, batch_norm_axis)


def build_for_cpu(model_config, batch_norm_axis: str | None = None) -> Descriptor:
    """Calls `build` with the operations that are fast on a CPU."""
    return build(
        model_config,
        batch_norm_axis,
        conv_general_dilated=convolution.conv_general_dilated,
        max_pool=cpu_max_pool.max_pool,
        attention=cpu_attention.dot_product_attention,
        add_relu=residual.add_relu,
        fork=residual.fork,
        spread=spread.spread,
    )


def constant(model_config, variables, max_pool: Callable = nn.max_pool) -> Callable:
    """Returns `images (b, h, w, 3) -> descriptors (b, d)`, a program for any platform to export.

    The variables are its constants. Convolutions are stock ones, with frozen BatchNorm in their kernels.
    """
    return _constant(build(model_config, max_pool=max_pool), variables)


def constant_for_cpu(model_config, variables) -> Callable:
    """Returns `constant` with the operations that are fast on a CPU."""
    return _constant(build_for_cpu(model_config), variables)


def _constant(module: Descriptor, variables) -> Callable:
    constants = jax.tree.map(np.asarray, variables)

    def describe(images: jax.Array) -> jax.Array:
        with nn.intercept_methods(fold_norm):
            return module.apply(constants, images)

    return describe


def head_rates(model_config) -> dict[str, float]:
    """Returns the head's own learning-rate multipliers by parameter path."""
    head = pick("model.pooling", model_config.pooling, HEADS)
    own = head.rates(model_config.get(model_config.pooling))
    return {f"model/pooling/{name}": rate for name, rate in own.items()}


def lowest_values(model_config) -> dict[str, float]:
    """Returns, by parameter path, the least values that training keeps parameters at or above."""
    head = pick("model.pooling", model_config.pooling, HEADS)
    return {f"model/pooling/{name}": least for name, least in head.lowest.items()}


def backbone(
    name: str,
    stage: str = "",
    train_from: str = "",
    layers: Layers | None = None,
    class_token: bool = False,
):
    """Builds a backbone alone, `(b, h, w, 3) -> (b, h', w', c)`; stage "" is the last.

    With `class_token` it returns the pair of its map and its class token `(b, c)`.
    """
    _one_of("backbone", name, BACKBONES)
    variant = BACKBONES[name]
    stage = stage or list(variant.stages)[-1]
    _one_of("stage", stage, variant.stages)
    token = {"class_token": True} if class_token else {}
    return variant.module(stage=stage, train_from=train_from, layers=layers or Layers(), **token)


def frozen_prefixes(model_config) -> tuple[str, ...]:
    """Returns prefixes `"backbone/<group>/"` of the paths in front of `train_from`; all where it is HEAD.

    Their gradients are zero; an optimiser must also keep weight decay away from them.
    """
    check(model_config)
    stages = BACKBONES[model_config.backbone].stages
    if not model_config.train_from:
        return ()
    names = [*stages, HEAD]
    before = names[: names.index(model_config.train_from)]
    groups = dict.fromkeys(group for stage in before for group in stages[stage])
    # A parameter group trains as a whole, where two stages end in it.
    first = stages.get(model_config.train_from, ())
    return tuple(f"backbone/{g}/" for g in groups if g not in first)


def merged(model_config, variables: dict) -> tuple:
    """Returns the `model` section and the variables of the same model without low-rank additions."""
    if not model_config.lora_rank:
        return model_config, variables
    section = ConfigDict(model_config)
    section.lora_rank = 0
    return section, {**variables, "params": low_rank.merged(variables["params"])}


def depth_rates(model_config, rate: float) -> dict[str, float]:
    """Returns `rate^(stages above)` by prefix `"backbone/<group>/"`; the cut's stage has 1.

    Two stages that end in one parameter group count once. Nothing where `rate` is 1.
    """
    if rate == 1:
        return {}
    stages = BACKBONES[model_config.backbone].stages
    names = list(stages)
    last = names.index(model_config.stage) if model_config.stage else len(names) - 1
    used = list(dict.fromkeys(stages[name] for name in names[: last + 1]))
    return {
        f"backbone/{group}/": rate ** (len(used) - 1 - number)
        for number, groups in enumerate(used)
        for group in groups
    }


def released(model_config, release) -> dict[str, int]:
    """Returns the first step of each prefix `"backbone/<group>/"` that `optim.release` frees.

    Raises:
      ValueError: the pairs name no earlier and earlier stages at later and later steps.
    """
    section, out, before = ConfigDict(model_config), {}, 0
    stages = ("", *BACKBONES[model_config.backbone].stages)
    for step, stage in release:
        if stage not in stages:
            raise ValueError(
                f"optim.release: {model_config.backbone} has no stage {stage!r}; it has "
                f"{', '.join(stages[1:])}, and '' trains all"
            )
        if stage and not _used(model_config, stage):
            raise ValueError(
                f"optim.release: {stage!r} lies behind model.stage={model_config.stage!r}, where the "
                "backbone is cut: none of its layers would train; name an earlier stage"
            )
        frozen = frozen_prefixes(section)
        section.train_from = stage
        freed = [prefix for prefix in frozen if prefix not in frozen_prefixes(section)]
        if not freed or step <= before:
            raise ValueError(
                f"optim.release: ({step}, {stage!r}) must come after step {before} and free stages that "
                "model.train_from or the pair before it freezes"
            )
        out |= dict.fromkeys(freed, step)
        before = step
    return out


def ever_trained(model_config, release):
    """Returns the `model` section with the earliest `train_from` that `optim.release` comes to."""
    if not release:
        return model_config
    section = ConfigDict(model_config)
    section.train_from = release[-1][1]
    return section


def _used(model_config, stage: str) -> bool:
    """Whether a backbone that is cut at `model.stage` has the first layers of a stage."""
    stages = BACKBONES[model_config.backbone].stages
    names = list(stages)
    last = names.index(model_config.stage) if model_config.stage else len(names) - 1
    return stages[stage][0] in {group for name in names[: last + 1] for group in stages[name]}


def check(model_config) -> None:
    """Checks that the `model` section can be built.

    Raises:
      ValueError: a value cannot be built; the sentence is on the first one.
    """
    c = model_config
    _one_of("backbone", c.backbone, BACKBONES)
    stages = BACKBONES[c.backbone].stages
    _one_of("stage", c.stage, ("", *stages), f" of {c.backbone}")
    _one_of("train_from", c.train_from, ("", *stages, HEAD), f" of {c.backbone}")
    if c.train_from == HEAD:
        if not pick("model.pooling", c.pooling, HEADS).trains and not c.projection:
            raise ValueError(
                f"model.train_from={HEAD!r} leaves nothing to train: model.pooling={c.pooling!r} has no "
                "parameters and model.projection=0; set one of the three"
            )
    elif c.train_from and not _used(c, c.train_from):
        raise ValueError(
            f"model.train_from={c.train_from!r} lies behind model.stage={c.stage!r}, where the "
            "backbone is cut: none of its layers would train; name an earlier stage"
        )
    head = pick("model.pooling", c.pooling, HEADS)
    if head.class_token(c.get(c.pooling)) and not BACKBONES[c.backbone].class_token:
        able = ", ".join(repr(name) for name, b in BACKBONES.items() if b.class_token) or "none"
        raise ValueError(
            f"model.pooling={c.pooling!r} takes a class token, which model.backbone={c.backbone!r} "
            f"has not; backbones with one: {able}"
        )
    _one_of("batch_norm", c.batch_norm, BATCH_NORMS)
    _one_of("projection_start", c.projection_start, PROJECTION_STARTS)
    _one_of("compute_dtype", c.compute_dtype, DTYPES)
    for key, own in head.keys.items():
        value = c[c.pooling][key]
        if not own.allowed.allows(value):
            raise ValueError(f"model.{c.pooling}.{key}={value!r} must be {own.allowed}")
    if c.lora_rank and not BACKBONES[c.backbone].low_rank:
        able = ", ".join(repr(name) for name, b in BACKBONES.items() if b.low_rank)
        raise ValueError(
            f"model.lora_rank={c.lora_rank} adds to the dense layers of a transformer, which "
            f"model.backbone={c.backbone!r} has not: set it to 0, or take one of {able}"
        )
    if c.projection < 0:
        raise ValueError(f"model.projection must be at least 0, not {c.projection}")
    if head.one_size and tuple(c.scales) != multi_scale.ONE:
        raise ValueError(
            f"model.scales={tuple(c.scales)} describes an image at other sizes than its own, but "
            f"model.pooling={c.pooling!r} takes one size: set model.scales=(1.0,)"
        )


def _one_of(key: str, value: str, known, of: str = "") -> None:
    if value not in known:
        names = ", ".join(repr(name) for name in known)
        raise ValueError(f"model.{key}={value!r} is not known; known{of}: {names}")
