"""The train state's beginning, and its way into a checkpoint and back."""

from typing import Any

import jax
import numpy as np

from vprjax import health, models, optim, train_step
from vprjax.checkpoint import Checkpoints
from vprjax.data import pipeline
from vprjax.extraction import descriptor_size
from vprjax.recorder import Recorder


def create(config, variables: dict, classes) -> train_step.TrainState:
    """A fresh optimiser around the model's `variables` and ArcFace's `classes` (or ())."""
    params = {"model": variables["params"], "classes": classes}
    return train_step.TrainState(
        step=np.zeros((), np.int32),
        params=params,
        constants={name: tree for name, tree in variables.items() if name != "params"},
        opt_state=optimiser(config, params).init(params),
        ema=variables["params"] if config.optim.ema else (),
        trap=np.array(health.NO_TRAP, np.int32),
    )


def optimiser(config, params):
    """The config's optimiser for this parameter tree."""
    frozen = models.frozen_prefixes(config.model)
    return optim.make_optimiser(config.optim, config.train.steps, params, frozen)


def save(
    checkpoints: Checkpoints, state, sampler, collected, saved: dict, best: int | None
) -> None:
    """Saves one device's copy: the model that is evaluated, and all that training goes on from.

    Args:
      checkpoints: where to.
      state: one copy of the state. With a running mean that is the model, else the parameters are.
      sampler: its mined tuples go along, so that a round resumes as it was.
      collected: one copy of the metrics since the last logged row.
      saved: JSON: config, provenance, validations.
      best: a step whose checkpoint is kept, too.
    """
    state = jax.tree.map(np.asarray, state)
    averaged = jax.tree.leaves(state.ema)
    model = {"params": state.ema if averaged else state.params["model"], **state.constants}
    training = {
        "opt_state": state.opt_state,
        "classes": state.params["classes"],
        "raw": state.params["model"] if averaged else (),
        **sampler.mined,
        "collected": [np.asarray(leaf) for leaf in jax.tree.leaves(collected)],
    }
    checkpoints.save(int(state.step), model, training, saved, best)


def resume(config, checkpoints: Checkpoints, step: int, module, places, sampler):
    """The state and collected metrics as saved at `step`; the sampler gets its tuples back."""
    variables = checkpoints.restore_model(step)
    classes: Any = ()
    if pipeline.uses_places(config):
        width = descriptor_size(module.apply, variables, places)
        classes = np.zeros((*sampler.slots_shape, width), np.float32)
    state = create(config, variables, classes)
    metrics = Recorder.empty()
    template = {
        "opt_state": state.opt_state,
        "classes": classes,
        "raw": state.ema,
        **sampler.mined,
        "collected": jax.tree.leaves(metrics),
    }
    training = checkpoints.restore_training(step, template)
    sampler.restore(training)
    params = training["raw"] if config.optim.ema else variables["params"]
    state = state.replace(
        step=np.asarray(step, np.int32),
        params={"model": params, "classes": training["classes"]},
        opt_state=training["opt_state"],
    )
    return state, jax.tree.unflatten(jax.tree.structure(metrics), training["collected"])
