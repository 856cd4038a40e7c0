"""Saves the train state in a checkpoint and restores it."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from vprjax.config import changes
from vprjax.console import log
from vprjax.descriptors.extraction import descriptor_size
from vprjax.errors import VprjaxError, WeightsError
from vprjax.runtime import parallel
from vprjax.storage.checkpoint import Checkpoints
from vprjax.training.recorder import Recorder
from vprjax.training.state import create

_NONE, _REFUSED = -1, -2  # in place of a checkpoint's step


def save(
    checkpoints: Checkpoints, state, sampler, collected, saved: dict, best: int | None
) -> None:
    """Saves one device's copy of the model for evaluation, and of all that training resumes from.

    Args:
      checkpoints: the run's checkpoints.
      state: one copy of the state. The model is its running mean, or its parameters where it has none.
      sampler: the sampler, whose mined tuples are saved, so that a round resumes unchanged.
      collected: one copy of the metrics since the last logged row.
      saved: JSON: config, provenance, validations.
      best: a step whose checkpoint is kept too, or None.
    """
    state = jax.tree.map(np.asarray, state)
    training = {
        "opt_state": state.opt_state,
        "classes": state.params["classes"],
        "raw": state.params["model"] if state.ema else (),
        **_raw_statistics(state),
        **sampler.mined,
        "collected": [np.asarray(leaf) for leaf in jax.tree.leaves(collected)],
    }
    model = {"params": state.params["model"], **state.constants, **(state.ema or {})}
    checkpoints.save(int(state.step), model, training, saved, best)


def _raw_statistics(state) -> dict:
    """Returns the BatchNorm statistics of the raw parameters, where their running means are kept too."""
    found = {name: state.constants[name] for name in (state.ema or {}) if name != "params"}
    return {"raw_statistics": found} if found else {}


def resume(config, provenance: dict, checkpoints: Checkpoints, module, places, sampler):
    """Restores state, collected metrics and validations of the last sound checkpoint; None without one.

    The sampler gets its tuples back. A damaged checkpoint is set aside: the run resumes from the one
    before and ends the same. The first process chooses the checkpoint, and the others follow it.

    Raises:
      ConfigError: the run began with another config.
      WeightsError: no checkpoint is sound.
    """
    restore = functools.partial(_restore, config, provenance, checkpoints, module, places, sampler)
    step, found, refused = _NONE, None, None
    parallel.barrier("checkpoints listed")  # no step goes aside while another process lists them
    if parallel.is_primary():
        try:
            step, found = _last_sound(checkpoints, restore)
        except VprjaxError as error:
            step, refused = _REFUSED, error
    step = parallel.from_first(step)
    if refused is not None:
        raise refused
    if step == _REFUSED:
        raise WeightsError("the first process cannot resume from its checkpoints; see its error")
    if step == _NONE:
        return None
    log(f"resume from {checkpoints.folder / str(step)}")
    return restore(step) if found is None else found


def _last_sound(checkpoints: Checkpoints, restore: Callable):
    """Returns the last sound step and its restored parts; sets the damaged steps after it aside."""
    while steps := checkpoints.steps():
        try:
            return steps[-1], restore(steps[-1])
        except WeightsError as error:
            if len(steps) == 1:
                raise
            log(f"{error}; it is set aside")
            checkpoints.set_aside(steps[-1])
    return _NONE, None


def _restore(config, provenance, checkpoints: Checkpoints, module, places, sampler, step: int):
    saved = checkpoints.config(step)
    folder = checkpoints.folder.parent
    changes.check_resumed(config, provenance, saved, folder, sampler.without_effect)
    variables = checkpoints.restore_model(step)
    classes: Any = ()
    if sampler.LEARNS_CLASSES:
        width = descriptor_size(module.apply, variables, places)
        classes = np.zeros((*sampler.slots_shape, width), np.float32)
    state = create(config, variables, classes)
    metrics = Recorder.empty(config)
    template = {
        "opt_state": state.opt_state,
        "classes": classes,
        "raw": state.ema["params"] if state.ema else (),
        **_raw_statistics(state),
        **sampler.mined,
        "collected": jax.tree.leaves(metrics),
    }
    training = checkpoints.restore_training(step, template)
    sampler.restore(training)
    params = training["raw"] if config.optim.ema else variables["params"]
    state = state.replace(
        step=np.asarray(step, np.int32),
        params={"model": params, "classes": training["classes"]},
        constants={**state.constants, **training.get("raw_statistics", {})},
        opt_state=training["opt_state"],
    )
    collected = jax.tree.unflatten(jax.tree.structure(metrics), training["collected"])
    return state, collected, saved["validations"]
