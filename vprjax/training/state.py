"""The train state's beginning."""

import numpy as np

from vprjax import models, optim
from vprjax.training import non_finite
from vprjax.training.step import TrainState


def create(config, variables: dict, classes) -> TrainState:
    """A fresh optimiser around the model's `variables` and ArcFace's `classes` (or ())."""
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


def optimiser(config, params):
    """The config's optimiser for this parameter tree."""
    frozen = models.frozen_prefixes(config.model)
    return optim.make_optimiser(config.optim, config.train.steps, params, frozen)
