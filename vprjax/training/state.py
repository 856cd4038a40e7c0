"""The train state before the first step."""

import functools
from typing import Any

import jax
import numpy as np

from vprjax import losses, models, optim
from vprjax.data.source import Places
from vprjax.descriptors.extraction import model_shapes
from vprjax.training import non_finite
from vprjax.training.step import TrainState


def create(config, variables: dict, classes) -> TrainState:
    """Makes the train state of the model's `variables` and ArcFace's `classes` (or ())."""
    params = {"model": variables["params"], "classes": classes}
    averaged = ["params", "batch_stats"] if config.model.batch_norm == "train" else ["params"]
    ema = {name: variables[name] for name in averaged if name in variables}
    return TrainState(
        step=np.zeros((), np.int32),
        params=params,
        constants={name: tree for name, tree in variables.items() if name != "params"},
        opt_state=optimiser(config, params).init(params),
        ema=ema if config.optim.ema else (),
        trap=np.array(non_finite.NO_TRAP, np.int32),
    )


def shapes(config, module, images: Places, sampler) -> TrainState:
    """Returns the shapes and types of the state before the first step, without a model.

    Raises:
      ConfigError: the images are too small for the model.
    """
    descriptors, variables = model_shapes(module, images)
    classes: Any = ()
    if sampler.LEARNS_CLASSES:
        shape = *sampler.slots_shape, descriptors.shape[-1]
        classes = jax.ShapeDtypeStruct(shape, np.float32)
    return jax.eval_shape(functools.partial(create, config), variables, classes)


def optimiser(config, params):
    """Makes the config's optimiser for this parameter tree."""
    model, o = config.model, config.optim
    groups = optim.Groups(
        frozen=models.frozen_prefixes(models.ever_trained(model, o.release)),
        own={**models.head_rates(model), "classes": losses.class_rate(config.loss)},
        depth=models.depth_rates(model, o.depth_rate),
        release=models.released(model, o.release),
        added=models.ADDED if model.lora_rank else (),
    )
    return optim.make_optimiser(o, config.train.steps, params, groups)
