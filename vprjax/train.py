"""The host loop: when to step, mine, save and log."""

import contextlib
import dataclasses
import functools
import pathlib
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from clu import parameter_overview

from vprjax import cpu_conv, initialise, models, optim, parallel, train_step
from vprjax.checkpoint import Checkpoints
from vprjax.data import pipeline, source, transforms
from vprjax.errors import ConfigError, TrainingError
from vprjax.extraction import Extractor
from vprjax.metric_writer import JsonLines, Progress, log, progress, write_atomically


def build_module(model_config):
    """The config's model with the convolution that is fast on this platform."""
    convolution = cpu_conv.conv_general_dilated if jax.default_backend() == "cpu" else None
    return models.build(model_config, convolution, parallel.AXIS)


@dataclasses.dataclass
class Job:
    """What one training run holds from start to end.

    Attributes:
      config: the whole config.
      workdir: gets `checkpoints/` (step 0 is the untrained model), `metrics.jsonl` (the same whatever
        interruptions there were), `timing.jsonl` (wall time) and `parameters.txt`.
      provenance: saved with every checkpoint.
      places: the training images.
      sampler: what a batch is made of.
      module: the model.
      extract: its extractor, for mining.
    """

    config: Any
    workdir: pathlib.Path
    provenance: dict
    places: source.Places
    sampler: pipeline.TupleSampler | pipeline.PlaceSampler
    module: Any
    extract: Extractor

    @functools.cached_property
    def checkpoints(self) -> Checkpoints:
        """The run's checkpoints; the folder is made on first use."""
        return Checkpoints(self.workdir / "checkpoints", self.config.train.keep_checkpoints)


def train(config, workdir: pathlib.Path, weights: dict | None, provenance: dict) -> None:
    """Trains from the last checkpoint of `workdir`, or from `weights`, to `train.steps`.

    Args:
      config: the whole config, checked.
      workdir: an existing folder.
      weights: what `pretrained.load` gave; None starts from random values.
      provenance: saved with every checkpoint.

    Raises:
      ConfigError: the data do not allow what the config asks.
      TrainingError: a figure is not finite.
    """
    places = source.load(config, tuple(config.dataset.train_splits))
    try:
        sampler = pipeline.make_sampler(config, places)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    module = build_module(config.model)
    extract = Extractor(module.apply, config.eval.batch)
    job = Job(config, workdir, provenance, places, sampler, module, extract)
    steps = job.checkpoints.steps()
    if steps:
        log(f"resume from {job.checkpoints.folder / str(steps[-1])}")
        state = _resume(job, steps[-1])
    else:
        state = _start(job, weights)
        _save(job, state)
    _run(job, state)
    job.checkpoints.close()


def _start(job: Job, weights: dict | None) -> train_step.TrainState:
    """The untrained model and a fresh optimiser."""
    config, places = job.config, job.places
    variables, notes = initialise.initialise(
        config.model, weights, config.seed, places.images, len(places)
    )
    parameters = parameter_overview.count_parameters(variables["params"])
    log(f"model: {parameters:,} parameters; " + "; ".join(notes))
    overview = parameter_overview.get_parameter_overview(variables["params"])
    write_atomically(job.workdir / "parameters.txt", overview + "\n")
    classes: Any = ()
    if pipeline.uses_places(config):
        every = np.arange(len(places))
        described = job.extract(parallel.replicate(variables), places, every, "describe places")
        classes = job.sampler.class_starts(described)
        log(f"ArcFace: {len(job.sampler.classes)} places in {len(classes)} groups")
    return _state(config, variables, classes)


def _state(config, variables: dict, classes) -> train_step.TrainState:
    params = {"model": variables["params"], "classes": classes}
    return train_step.TrainState(
        step=np.zeros((), np.int32),
        params=params,
        constants={name: tree for name, tree in variables.items() if name != "params"},
        opt_state=_optimiser(config, params).init(params),
    )


def _optimiser(config, params):
    frozen = models.frozen_prefixes(config.model)
    return optim.make_optimiser(config.optim, config.train.steps, params, frozen)


def _save(job: Job, state: train_step.TrainState) -> None:
    """Saves one device's copy; mined tuples go along so that a round resumes as it was."""
    state = jax.tree.map(np.asarray, state)
    model = {"params": state.params["model"], **state.constants}
    training = {
        "opt_state": state.opt_state,
        "classes": state.params["classes"],
        "tuples": job.sampler.table,
    }
    saved = {"config": job.config.to_dict(), "provenance": job.provenance}
    job.checkpoints.save(int(state.step), model, training, saved)


def _resume(job: Job, step: int) -> train_step.TrainState:
    """The state as it was saved at `step`; the sampler gets its mined tuples back."""
    variables = job.checkpoints.restore_model(step)
    classes: Any = ()
    if pipeline.uses_places(job.config):
        image = jnp.asarray(job.places.images([0]))
        width = jax.eval_shape(job.module.apply, variables, image).shape[-1]
        classes = np.zeros((*job.sampler.slots_shape, width), np.float32)
    state = _state(job.config, variables, classes)
    template = {
        "opt_state": state.opt_state,
        "classes": classes,
        "tuples": job.sampler.table,
    }
    training = job.checkpoints.restore_training(step, template)
    job.sampler.table = np.asarray(training["tuples"])
    return state.replace(
        step=np.asarray(step, np.int32),
        params={"model": variables["params"], "classes": training["classes"]},
        opt_state=training["opt_state"],
    )


def make_step(config, module, params):
    """The mapped train step `(state, batch) -> (state, metrics)`; the state's buffers are reused."""
    a = config.augment
    augment = functools.partial(
        transforms.augment,
        crop=a.crop,
        mirror=a.mirror and not pipeline.uses_places(config),  # A mirrored place is another place.
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
        parallel.AXIS,
    )
    return parallel.map_over_devices(step, donate=(0,))


def _run(job: Job, state: train_step.TrainState) -> None:
    """All mining rounds from the state's step to the last."""
    steps, step = job.config.train.steps, int(state.step)
    step_fn = make_step(job.config, job.module, state.params)
    state = parallel.replicate(state)
    recorder = Recorder(job.config, job.workdir, step)
    with contextlib.closing(recorder), progress("train", steps, "steps", step) as bar:
        while step < steps:
            if job.sampler.starts_round(step):
                with recorder.mining():
                    _mine(job, step, state)
            last = min(job.sampler.round_end(step), steps)
            state = _round(job, step_fn, state, step, last, recorder, bar)
            step = last


def _round(
    job: Job, step_fn, state, first: int, last: int, recorder: "Recorder", bar: Progress
) -> train_step.TrainState:
    """Steps `first .. last`, on tuples that stay the same."""
    every, steps = job.config.train.checkpoint_every, job.config.train.steps
    batches = pipeline.prefetch(lambda n: parallel.split(job.sampler.batch(n)), first, last)
    for number, batch in batches:
        state, measured = step_fn(state, batch)
        done = number + 1
        bar.advance(1, **recorder.add(done, measured, state))
        if done % every == 0 or done == steps:
            _save(job, parallel.unreplicate(state))
    return state


def _mine(job: Job, step: int, state) -> None:
    variables = {"params": state.params["model"], **state.constants}

    def describe(images):
        return job.extract(variables, job.places, images, f"mine at step {step}")

    try:
        job.sampler.mine(step, describe)
    except ValueError as error:
        raise ConfigError(str(error)) from error


class Recorder:
    """Collects the steps' metrics and writes them every `log_every` steps."""

    def __init__(self, config, workdir: pathlib.Path, start: int):
        """Opens `metrics.jsonl` and `timing.jsonl`; rows past step `start` are dropped."""
        self._every, self._steps = config.train.log_every, config.train.steps
        self._schedule = optim.schedule(config.optim, self._steps)
        self._metrics = JsonLines(workdir / "metrics.jsonl", start)
        self._timing = JsonLines(workdir / "timing.jsonl", start)
        self._collected = None
        self._began, self._mining = time.monotonic(), 0.0

    @contextlib.contextmanager
    def mining(self):
        """A context whose time counts as mining."""
        start = time.monotonic()
        yield
        self._mining += time.monotonic() - start

    def add(self, done: int, measured, state) -> dict[str, float]:
        """Takes the metrics of step number `done`; returns figures for the progress bar."""
        collected = measured if self._collected is None else self._collected.merge(measured)
        self._collected = collected
        if done % self._every and done != self._steps:
            return {}
        figures = {k: float(v) for k, v in parallel.unreplicate(collected).compute().items()}
        figures["learning_rate"] = float(self._schedule(done - 1))
        p = state.params["model"].get("pooling", {}).get("p")
        if p is not None:
            figures["gem_p"] = float(jnp.mean(p[0]))
        bad = [name for name, value in figures.items() if not np.isfinite(value)]
        if bad:
            raise TrainingError(
                f"{', '.join(bad)} not finite at step {done}: lower optim.learning_rate; the last "
                "checkpoint is untouched"
            )
        self._metrics.write(done, figures)
        seconds = time.monotonic() - self._began
        self._timing.write(
            done, {"seconds": round(seconds, 3), "mining_seconds": round(self._mining, 3)}
        )
        self._collected, self._began, self._mining = None, time.monotonic(), 0.0
        return {"loss": figures["loss"], "active": figures["active"]}

    def close(self) -> None:
        """Closes the files."""
        self._metrics.close()
        self._timing.close()
