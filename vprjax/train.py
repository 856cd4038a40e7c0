"""The host loop: when to step, mine, save and log."""

import functools
import pathlib
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from clu import parameter_overview

from vprjax import cpu_conv, initialise, models, optim, parallel, pretrained, train_step
from vprjax.checkpoint import Checkpoints
from vprjax.data import pipeline, source, transforms
from vprjax.errors import ConfigError, VprjaxError
from vprjax.extraction import Extractor
from vprjax.metric_writer import JsonLines, log, progress


class TrainingError(VprjaxError):
    """Training cannot go on."""


def build_module(model_config):
    """The config's model with the convolution that is fast on this platform."""
    convolution = cpu_conv.conv_general_dilated if jax.default_backend() == "cpu" else None
    return models.build(model_config, convolution, train_step.AXIS)


def train(config, workdir: pathlib.Path, provenance: dict) -> None:
    """Trains from the last checkpoint of `workdir`, or from the start, to `train.steps`.

    Writes `checkpoints/` (step 0 is the untrained model), `metrics.jsonl` (the same whatever
    interruptions there were) and `timing.jsonl` (wall time, not reproducible).

    Raises:
      ConfigError: the data do not allow what the config asks.
      TrainingError: the loss is not finite.
    """
    places = source.load(config, tuple(config.dataset.train_splits))
    try:
        sampler = pipeline.make_sampler(config, places)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    module = build_module(config.model)
    extract = Extractor(module.apply, config.eval.batch)
    checkpoints = Checkpoints(workdir / "checkpoints", config.train.keep_checkpoints)
    start = max(checkpoints.steps(), default=None)
    if start is None:
        state = _start(config, module, places, sampler, extract)
        _save(checkpoints, config, provenance, state, sampler)
        start = 0
    else:
        log(f"resume from {checkpoints.folder / str(start)}")
        state = _resume(config, checkpoints, start, sampler)
    _loop(config, workdir, module, places, sampler, extract, checkpoints, state, start, provenance)
    checkpoints.close()


def _start(config, module, places, sampler, extract) -> train_step.TrainState:
    variables, notes = initialise.initialise(config.model, config.seed, places.images, len(places))
    log("model: " + "; ".join(notes))
    log(parameter_overview.get_parameter_overview(variables["params"], include_stats=False))
    classes: Any = ()
    if pipeline.uses_places(config):
        described = extract(
            parallel.replicate(variables), places, np.arange(len(places)), "describe places"
        )
        classes = sampler.class_starts(described)
        log(f"ArcFace: {len(sampler.classes)} places in {len(classes)} groups")
    return _state(config, variables, classes)


def _state(config, variables: dict, classes) -> train_step.TrainState:
    params = {"model": variables["params"], "classes": classes}
    optimiser = _optimiser(config, params)
    return train_step.TrainState(
        step=np.zeros((), np.int32),
        params=params,
        constants={name: tree for name, tree in variables.items() if name != "params"},
        opt_state=optimiser.init(params),
    )


def _optimiser(config, params):
    frozen = models.frozen_prefixes(config.model)
    return optim.make_optimiser(config.optim, config.train.steps, params, frozen)


def _save(checkpoints, config, provenance, state, sampler) -> None:
    """Saves one device's copy; mined tuples go along so that a round resumes as it was."""
    state = jax.tree.map(np.asarray, state)
    model = {"params": state.params["model"], **state.constants}
    training = {
        "opt_state": state.opt_state,
        "classes": state.params["classes"],
        "tuples": sampler.table,
    }
    saved = {"config": config.to_dict(), "provenance": provenance}
    checkpoints.save(int(state.step), model, training, saved)


def _resume(config, checkpoints, step: int, sampler) -> train_step.TrainState:
    variables = checkpoints.restore_model(step)
    classes: Any = ()
    if pipeline.uses_places(config):
        groups = sampler.classes.groups
        width = jax.eval_shape(
            build_module(config.model).apply, variables, jnp.zeros((1, 224, 224, 3), jnp.uint8)
        ).shape[-1]
        classes = np.zeros((len(groups), max(map(len, groups)), width), np.float32)
    state = _state(config, variables, classes)
    template = {
        "opt_state": state.opt_state,
        "classes": classes,
        "tuples": np.zeros(sampler.table_shape, np.int32),
    }
    training = checkpoints.restore_training(step, template)
    sampler.table = np.asarray(training["tuples"])
    return state.replace(
        step=np.asarray(step, np.int32),
        params={"model": variables["params"], "classes": training["classes"]},
        opt_state=training["opt_state"],
    )


def _make_step(config, module, params):
    a = config.augment
    mirror = a.mirror and not pipeline.uses_places(config)  # A mirrored place is another place.
    augment = functools.partial(
        transforms.augment,
        crop=a.crop,
        mirror=mirror,
        brightness=a.brightness,
        contrast=a.contrast,
        noise=a.noise,
    )
    make_loss = train_step.place_loss if pipeline.uses_places(config) else train_step.tuple_loss
    step = train_step.make_train_step(
        module.apply,
        make_loss(config.loss),
        _optimiser(config, params),
        augment,
        jax.random.key(config.seed),
        config.model.batch_norm == "train",
    )
    return parallel.map_over_devices(step, axis_name=train_step.AXIS, donate=(0,))


def _loop(
    config, workdir, module, places, sampler, extract, checkpoints, state, start, provenance
) -> None:
    steps, every = config.train.steps, config.train.log_every
    metrics_file = JsonLines(workdir / "metrics.jsonl", start)
    timing_file = JsonLines(workdir / "timing.jsonl", start)
    step_fn = _make_step(config, module, state.params)
    schedule = optim.schedule(config.optim, steps)
    state = parallel.replicate(state)
    collected, began, mined = None, time.monotonic(), 0.0
    with progress("train", steps, "steps", start) as bar:
        step = start
        while step < steps:
            if sampler.starts_round(step):
                before = time.monotonic()
                _mine(sampler, step, extract, state, places)
                mined += time.monotonic() - before
            last = min(sampler.round_end(step), steps)
            for number, batch in pipeline.prefetch(
                lambda n: parallel.split(sampler.batch(n)), step, last
            ):
                state, measured = step_fn(state, batch)
                collected = measured if collected is None else _merge(collected, measured)
                done = number + 1
                figures = {}
                if done % every == 0 or done == steps:
                    figures = _figures(collected, state, schedule(number))
                    _trap(figures, done)
                    metrics_file.write(done, figures)
                    seconds = time.monotonic() - began
                    timing_file.write(done, {"seconds": round(seconds, 3), "mining": round(mined, 3)})
                    collected, began, mined = None, time.monotonic(), 0.0
                    figures = {"loss": figures["loss"], "active": figures["active"]}
                if done % config.train.checkpoint_every == 0 or done == steps:
                    _save(checkpoints, config, provenance, parallel.unreplicate(state), sampler)
                bar.advance(1, **figures)
            step = last
    metrics_file.close()
    timing_file.close()


def _merge(collected, measured):
    return collected.merge(measured)


def _mine(sampler, step: int, extract, state, places) -> None:
    variables = {"params": state.params["model"], **state.constants}
    try:
        sampler.mine(
            step, lambda images: extract(variables, places, images, f"mine at step {step}")
        )
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _figures(collected, state, learning_rate) -> dict[str, float]:
    """Means of the log interval and GeM's p, as plain numbers."""
    values = {k: float(v) for k, v in parallel.unreplicate(collected).compute().items()}
    values["learning_rate"] = float(learning_rate)
    p = state.params["model"].get("pooling", {}).get("p")
    if p is not None:
        values["gem_p"] = float(jnp.mean(p[0]))
    return values


def _trap(figures: dict[str, float], step: int) -> None:
    bad = [name for name, value in figures.items() if not np.isfinite(value)]
    if bad:
        raise TrainingError(
            f"{', '.join(bad)} not finite at step {step}: lower optim.learning_rate; the last "
            "checkpoint is untouched"
        )


def weights_fingerprint(config) -> str:
    """sha256 of the pretrained weights, or "random"."""
    return pretrained.fingerprint(config.model.weights) if config.model.weights else "random"
