"""The host loop: when to step, mine, validate, save and stop."""

import concurrent.futures
import contextlib
import dataclasses
import functools
import pathlib
import shutil
from typing import Any

import numpy as np
from clu import parameter_overview

from vprjax import models
from vprjax.console import Progress, log, progress
from vprjax.data.source import Places
from vprjax.descriptors.extraction import Extractor, descriptor_size
from vprjax.errors import ConfigError, NoNegatives, Preempted
from vprjax.runtime import memory, parallel
from vprjax.runtime.preemption import Preemption
from vprjax.runtime.prefetch import prefetch
from vprjax.sampling.places import PlaceSampler
from vprjax.sampling.tuples import TupleSampler
from vprjax.storage.atomic import write_atomically
from vprjax.storage.checkpoint import Checkpoints
from vprjax.training import assemble, memory_estimate, resume, state, validation
from vprjax.training.non_finite import NotFinite, check_parameters, check_trap, trapped
from vprjax.training.preflight import TrainingData
from vprjax.training.recorder import Recorder
from vprjax.training.step import TrainState
from vprjax.weights import initialise

_SAVED = "SIGTERM: saved at step {}; the same command goes on from there"


@dataclasses.dataclass
class Job:
    """What one training run holds from start to end.

    Attributes:
      config: the whole config.
      workdir: gets `checkpoints/` (step 0 is the untrained model), `metrics.jsonl`, `validation.jsonl`
        (the same whatever interruptions there were), `timing.jsonl` (wall time) and `parameters.txt`.
      provenance: saved with every checkpoint.
      data: the training images, what they are validated on, the sampler.
      module: the model.
      extract: its extractor, for mining and validation.
      history: the validations so far.
    """

    config: Any
    workdir: pathlib.Path
    provenance: dict
    data: TrainingData
    module: Any
    extract: Extractor
    history: validation.History

    @property
    def images(self) -> Places:
        """The training images."""
        return self.data.images

    @property
    def held_out(self) -> validation.Validation | None:
        """What validation measures, or None."""
        return self.data.held_out

    @property
    def sampler(self) -> TupleSampler | PlaceSampler:
        """What a batch is made of."""
        return self.data.sampler

    @functools.cached_property
    def checkpoints(self) -> Checkpoints:
        """The run's; the folder is made on first use."""
        return Checkpoints(self.workdir / "checkpoints", self.config.train.keep_checkpoints)


def train(
    config, data: TrainingData, workdir: pathlib.Path, weights: dict | None, provenance: dict
) -> None:
    """Trains from the last sound checkpoint of `workdir`, or from `weights`, to `train.steps`.

    Args:
      config: the whole config, checked.
      data: what the model trains on.
      workdir: an existing folder.
      weights: what `pretrained.load` gave; None starts from random values.
      provenance: saved with every checkpoint, beside the digest of the training images.

    Raises:
      ConfigError: the workdir holds another run, or a step does not fit the memory.
      TrainingError: a figure is not finite.
      Preempted: SIGTERM came; the state is saved.
    """
    provenance = {**provenance, "image_set": data.image_set}
    module = models.build_for_platform(config.model, parallel.AXIS)
    extract = Extractor(module.apply, config.eval.batch)
    history = validation.History(config.validation.patience, [])
    job = Job(config, workdir, provenance, data, module, extract, history)
    begun = _begin(job, weights)
    if begun is not None:
        if parallel.is_primary():  # of an evaluation of the model as it was
            shutil.rmtree(workdir / "descriptors", ignore_errors=True)
        _run(job, *begun)
    if history.ended:
        log(f"stopped early: of {len(history.rows)} validations step {history.best}'s was best")
    job.checkpoints.prune(history.best_of(job.checkpoints.steps()))
    job.checkpoints.close()


def _begin(job: Job, weights: dict | None):
    """What `_run` takes besides the job; None where nothing is left to train.

    The one copy of the state that the devices' are made of ends here: with many classes it is gigabytes.
    """
    found = resume.resume(
        job.config, job.provenance, job.checkpoints, job.module, job.images, job.sampler
    )
    if found is None:
        (current, step_fn), collected = _start_and_compile(job, weights), None
    else:
        current, collected, job.history.rows = found
        step = int(current.step)
        unfinished = step < job.config.train.steps or _pending(job, step)
        step_fn = _compile_step(job, current) if unfinished and not job.history.ended else None
    if step_fn is not None:
        _check_memory(job, step_fn, current)
    if found is None:
        _save(job, current, collected)
    if step_fn is None:
        return None
    with memory.fits("the state", memory_estimate.remedy(job.config)):
        return step_fn, parallel.replicate(current), int(current.step), collected


def _start_and_compile(job: Job, weights: dict | None):
    """The state before the first step, and the compiled step, which is made meanwhile."""
    if parallel.process_count() > 1:  # all processes compile with copies of the state itself
        current = _start(job, weights)
        return current, _compile_step(job, current)
    with concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="compile") as pool:
        shapes = state.shapes(job.config, job.module, job.images, job.sampler)
        compiling = pool.submit(_compile_step, job, shapes)
        return _start(job, weights), compiling.result()


def _start(job: Job, weights: dict | None) -> TrainState:
    """The untrained model and a fresh optimiser."""
    config, places = job.config, job.images
    try:
        variables, notes = initialise.initialise(
            config.model, weights, config.seed, places.images, len(places)
        )
    except ValueError as error:
        raise ConfigError(str(error)) from error
    variables = parallel.copied_from_first(variables)  # k-means may end elsewhere on another CPU
    parameters = parameter_overview.count_parameters(variables["params"])
    log(f"model: {int(parameters):,} parameters; " + "; ".join(notes))
    if parallel.is_primary():
        overview = parameter_overview.get_parameter_overview(variables["params"])
        write_atomically(job.workdir / "parameters.txt", overview + "\n")
    classes: Any = ()
    if job.sampler.LEARNS_CLASSES:
        members = job.sampler.class_members()
        classes = job.sampler.class_starts(
            job.extract.stream(parallel.replicate(variables), places, members, "describe places")
        )
        log(job.sampler.summary())
    return state.create(config, variables, classes)


def _save(job: Job, current: TrainState, collected) -> None:
    """Saves one copy of the state where its step is not saved yet, through the first process alone."""
    collected = Recorder.empty() if collected is None else collected
    saved = {
        "config": job.config.to_dict(),
        "provenance": job.provenance,
        "validations": job.history.rows,
    }
    if parallel.is_primary() and int(current.step) not in job.checkpoints.steps():
        best = job.history.best_of({*job.checkpoints.steps(), int(current.step)})
        resume.save(job.checkpoints, current, job.sampler, collected, saved, best)
    parallel.barrier("save")


def _save_one(job: Job, current, recorder: Recorder) -> None:
    """Saves one device's copy of what training has come to, which has been checked."""
    current, collected = parallel.unreplicate((current, recorder.collected))
    _save(job, current, collected)


def _compile_step(job: Job, current: TrainState):
    """The compiled train step for such a state, of which shapes are enough with one process."""
    step = assemble.train_step(job.config, job.module, current.params)
    return memory_estimate.compile_step(job.config, step, current, _first_batch(job))


def _first_batch(job: Job) -> dict[str, np.ndarray]:
    return parallel.split(job.sampler.batch(0, parallel.process_rows(len(job.sampler.indices(0)))))


def _check_memory(job: Job, step_fn, current: TrainState) -> None:
    """Tells what a step and a mining round take; raises ConfigError where they do not fit."""
    size = 4 * descriptor_size(job.module.apply, _variables(current), job.images)
    mined = size * job.sampler.cached_images(int(current.step))
    validated = size * len(job.held_out) if job.held_out else 0
    found = memory_estimate.estimate(step_fn, _first_batch(job), max(mined, validated))
    log(f"memory: {found}")
    interval, steps = job.config.tuples.mining_interval, job.config.train.steps
    if mined and interval > steps:
        log(
            f"warning: a mining round describes the images of tuples.mining_interval={interval} steps, and "
            f"train.steps is {steps}: lower the interval"
        )
    memory_estimate.check(job.config, found, mined, validated)


def _run(job: Job, step_fn, current: TrainState, step: int, collected) -> None:
    """All rounds from `step`, the replicated state's, to the last: mine, step, validate, save."""
    steps = job.config.train.steps
    recorder = Recorder(job.config, job.workdir, step, collected, job.history.last)
    with (
        contextlib.closing(recorder),
        Preemption() as preemption,
        progress("train", steps, "steps", step) as bar,
    ):
        if _pending(job, step):
            _validate(job, step, current, recorder, preemption)
            if preemption.agreed(step, ask=True):
                raise Preempted(_SAVED.format(step))
        while step < steps and not job.history.ended:
            if job.sampler.starts_round(step):
                try:
                    with recorder.apart("mining"), preemption.at_once():
                        _mine(job, step, current)
                except Preempted:
                    _save_one(job, current, recorder)
                    raise Preempted(_SAVED.format(step)) from None
                except NoNegatives:  # with a larger pool it goes on from here
                    _save_one(job, current, recorder)
                    raise
            last = min(job.sampler.round_end(step), steps, _next_validation(job, step))
            with memory.fits("a step", memory_estimate.remedy(job.config)):
                current = _steps(job, step_fn, current, step, last, recorder, bar, preemption)
            step = last
        log(recorder.shares())
        log(f"memory: {memory.measured_peak() / memory.GIB:.2f} GiB at the measured peak")
        if preemption.agreed(step, ask=True):
            raise Preempted(_SAVED.format(step))


def _next_validation(job: Job, step: int) -> int:
    every = job.config.validation.every
    return (step // every + 1) * every if every else job.config.train.steps


def _steps(job: Job, step_fn, current, first: int, last: int, recorder, bar: Progress, preemption):
    """Steps `first .. last`, on tuples that stay the same."""
    every, steps = job.config.train.checkpoint_every, job.config.train.steps
    rows = parallel.process_rows(len(job.sampler.indices(first)))
    batches = prefetch(lambda n: parallel.place(job.sampler.batch(n, rows)), first, last)
    try:
        for number, batch in recorder.waiting(batches):
            current, measured = step_fn(current, batch)
            done = number + 1
            bar.advance(1, **recorder.add(done, measured, current))
            stop = preemption.agreed(done)
            validates = _validates(job, done)
            if done % every == 0 or done == steps or stop or validates:
                check_trap(current)
                check_parameters(current)
                _save_one(job, current, recorder)
                if validates:
                    _validate(job, done, current, recorder, preemption)
                    stop = preemption.agreed(done, ask=True)
            if stop and done < steps:
                raise Preempted(_SAVED.format(done))
        # Before the next round's tuples replace those of the culprit.
        check_trap(current)
        check_parameters(current)
    except NotFinite as error:
        images = job.sampler.indices(error.step - 1).ravel()
        raise trapped(error, list(job.images.image_ids[images])) from error
    return current


def _variables(current: TrainState) -> dict:
    return {"params": current.params["model"], **current.constants}


def _mine(job: Job, step: int, current) -> None:
    def describe(images):
        return job.extract(_variables(current), job.images, images, f"mine at step {step}")

    try:
        job.sampler.mine(step, describe)
    except ValueError as error:
        raise NoNegatives(str(error)) from error


def _validates(job: Job, step: int) -> bool:
    """After every so many steps, and after the last one, whose model is to be compared too."""
    if job.held_out is None or not step:
        return False
    return step % job.config.validation.every == 0 or step == job.config.train.steps


def _pending(job: Job, step: int) -> bool:
    """Whether a run that was cut at this step, saved before its validation, has to make up for that."""
    return _validates(job, step) and job.history.last < step


def _validate(job: Job, step: int, current, recorder: Recorder, preemption: Preemption) -> None:
    """Measures the model that would be evaluated: the running mean where there is one.

    The step's checkpoint is told of it, but where SIGTERM cuts it short.
    """
    variables = _variables(current)
    if job.config.optim.ema:
        variables |= current.ema
    try:
        with recorder.apart("validation"), preemption.at_once():
            found = job.held_out.measure(job.config, job.extract, variables, step)
    except Preempted:
        return
    job.history.add(step, found["mean"])
    recorder.validated(step, found)
    shown = " ".join(f"{name}={value:.1f}" for name, value in found.items())
    log(f"validation at step {step}: FCM {shown}")
    if job.history.ended:
        recorder.stopped(step, current)
    if parallel.is_primary():
        job.checkpoints.amend(step, {"validations": job.history.rows})
    parallel.barrier("amend")
