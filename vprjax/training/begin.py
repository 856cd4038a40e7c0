"""The start of a run: a checkpoint or an untrained model, and a compiled step that fits the memory."""

import concurrent.futures
from typing import Any

import numpy as np
from clu import parameter_overview

from vprjax.console import log
from vprjax.data.source import Places
from vprjax.descriptors.extraction import descriptor_size
from vprjax.errors import ConfigError, NoNegatives, WeightsError
from vprjax.runtime import memory, parallel
from vprjax.storage.atomic import write_atomically
from vprjax.training import assemble, memory_estimate, resume, state
from vprjax.training.job import Job, model_variables, save, validation_pending
from vprjax.training.step import TrainState
from vprjax.weights import initialise


def begin(job: Job, weights: dict | None):
    """Returns what `loop.run_rounds` takes besides the job, or None where nothing is left to train.

    The host's copy of the state ends here: with many classes it takes gigabytes.

    Raises:
      ConfigError: the workdir holds another run, a later mining round lacks negatives, or a step does not
        fit the memory.
      WeightsError: the untrained model is gone, which the keep terms compare with.
    """
    found = resume.resume(
        job.config, job.provenance, job.checkpoints, job.module, job.images, job.sampler
    )
    try:  # before the step compiles
        job.sampler.check_rounds(0 if found is None else int(found[0].step))
    except ValueError as error:
        raise NoNegatives(str(error)) from error
    if found is None:
        (current, step_fn), collected = _start_and_compile(job, weights), None
    else:
        current, collected, job.history.rows = found
        step = int(current.step)
        unfinished = step < job.config.train.steps or validation_pending(job, step)
        if unfinished and job.keeper.sets and 0 not in job.checkpoints.steps():
            raise WeightsError(
                f"{job.checkpoints.folder / '0'} is gone, which holds the untrained model that the keep "
                "terms compare with: train again in another --workdir"
            )
        step_fn = compile_step(job, current) if unfinished and not job.history.ended else None
    if step_fn is not None:
        _check_memory(job, step_fn, current)
    if found is None:
        save(job, current, collected)
    if step_fn is None:
        return None
    with memory.fits("the state", memory_estimate.remedy(job.config)):
        return step_fn, parallel.replicate(current), int(current.step), collected


def _start_and_compile(job: Job, weights: dict | None):
    """Returns the state before the first step, and the step, which compiles meanwhile."""
    if parallel.process_count() > 1:  # several processes compile with copies of the state itself
        current = start_state(job, weights)
        return current, compile_step(job, current)
    with concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="compile") as pool:
        shapes = state.shapes(job.config, job.module, job.images, job.sampler)
        compiling = pool.submit(compile_step, job, shapes)
        return start_state(job, weights), compiling.result()


def start_state(job: Job, weights: dict | None) -> TrainState:
    """Returns the train state of the untrained model with a fresh optimiser.

    Raises:
      ConfigError: the training images are too few to start the model from.
    """
    config, places = job.config, job.images
    variables, _ = untrained_variables(config, places, weights)
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


def untrained_variables(config, places: Places, weights: dict | None) -> tuple[dict, list[str]]:
    """Returns the untrained model's variables, and notes on them; `places` start its head and projection.

    Raises:
      ConfigError: the images are too few to start the model from.
    """
    try:
        variables, notes = initialise.initialise(
            config.model, weights, config.seed, places.images, len(places)
        )
    except ValueError as error:
        raise ConfigError(str(error)) from error
    variables = parallel.copied_from_first(variables)  # k-means may end elsewhere on another CPU
    parameters = parameter_overview.count_parameters(variables["params"])
    log(f"model: {int(parameters):,} parameters; " + "; ".join(notes))
    return variables, notes


def compile_step(job: Job, current: TrainState):
    """Compiles the train step for `current`; one process needs its shapes alone."""
    step = assemble.train_step(job.config, job.module, current.params)
    return memory_estimate.compile_step(job.config, step, current, first_batch(job))


def first_batch(job: Job) -> dict[str, np.ndarray]:
    """Returns this process's rows of the first batch, split over its devices."""
    return parallel.split(job.batch(0, parallel.process_rows(len(job.sampler.indices(0)))))


def _check_memory(job: Job, step_fn, current: TrainState) -> None:
    """Logs the memory of a step and a mining round; raises ConfigError where they do not fit."""
    size = 4 * descriptor_size(job.module.apply, model_variables(current), job.images)
    mined = size * job.sampler.cached_images(int(current.step))
    validated = size * len(job.held_out) if job.held_out else 0
    found = memory_estimate.estimate(step_fn, first_batch(job), max(mined, validated))
    log(f"memory: {found}")
    interval, steps = job.config.tuples.mining_interval, job.config.train.steps
    if mined and interval > steps > 0:
        log(
            f"warning: a mining round describes the images of tuples.mining_interval={interval} steps, but "
            f"train.steps is {steps}: lower the interval"
        )
    memory_estimate.check(job.config, found, mined, validated)
