"""The host loop: when to step, mine, validate, save and stop."""

import contextlib
import functools
import pathlib
import shutil

from vprjax import models
from vprjax.console import Progress, log, progress
from vprjax.descriptors import store
from vprjax.descriptors.extraction import Extractor, descriptor_size
from vprjax.errors import NoNegatives, Preempted
from vprjax.evaluation import blend
from vprjax.models import multi_scale
from vprjax.runtime import memory, parallel
from vprjax.runtime.preemption import Preemption
from vprjax.runtime.prefetch import prefetch
from vprjax.training import keep, memory_estimate, validation
from vprjax.training.begin import begin
from vprjax.training.job import Job, model_variables, save, validates_at, validation_pending
from vprjax.training.non_finite import NotFinite, check_parameters, check_trap, trapped
from vprjax.training.preflight import TrainingData
from vprjax.training.recorder import Recorder
from vprjax.training.step import TrainState

_SAVED = "SIGTERM: saved at step {}; run the same command to go on from there"


def train(
    config, data: TrainingData, workdir: pathlib.Path, weights: dict | None, provenance: dict
) -> None:
    """Trains from the last sound checkpoint of `workdir`, or from `weights`, to `train.steps`.

    Args:
      config: the whole config, checked.
      data: the training images, the held-out images and the sampler.
      workdir: an existing folder.
      weights: the result of `pretrained.load`, or None for random values.
      provenance: facts that every checkpoint saves, beside the digest of the training images.

    Raises:
      ConfigError: the workdir holds another run, a run of `eval.blend_runs` has another start, or a step
        does not fit the memory.
      TrainingError: a tensor is not finite.
      Preempted: SIGTERM ended the run; the state is saved.
    """
    provenance = {**provenance, **data.facts}
    trained = models.ever_trained(config.model, config.optim.release)
    module = models.build_for_platform(trained, parallel.AXIS)
    extract = Extractor(module.apply, config.eval.batch)
    history = validation.History(config.validation.patience, [])
    job = Job(config, workdir, provenance, data, module, extract, history)
    begun = begin(job, weights)
    blend.check_starts(job.checkpoints, blend.asked(config).runs)  # ahead of the first step
    if begun is not None:
        if parallel.is_primary():  # an evaluation before this training left them
            shutil.rmtree(workdir / "descriptors", ignore_errors=True)
        run_rounds(job, *begun)
    if parallel.is_primary():
        keep.remove(workdir)
    if history.ended:
        log(f"stopped early: step {history.best} is the best of {len(history.rows)} validations")
    job.checkpoints.prune(history.best_of(job.checkpoints.steps()))
    job.checkpoints.close()


def _save_one(job: Job, current, recorder: Recorder) -> None:
    """Saves one device's copy of the checked state and of the metrics since the last row."""
    current, collected = parallel.unreplicate((current, recorder.collected))
    save(job, current, collected)


def run_rounds(job: Job, step_fn, current: TrainState, step: int, collected) -> None:
    """Runs all rounds from `step`, the replicated state's, to the last: mines, steps, validates, saves.

    Raises:
      NoNegatives: too few images lie beyond the negative radius; the state is saved.
      TrainingError: a tensor is not finite.
      Preempted: SIGTERM ended the run; the state is saved.
    """
    steps = job.config.train.steps
    recorder = Recorder(job.config, job.workdir, step, collected, job.history.last)
    with (
        contextlib.closing(recorder),
        Preemption() as preemption,
        progress("train", steps, "steps", step) as bar,
    ):
        try:
            with recorder.apart("keep"), preemption.at_once():
                _describe_untrained(job)
        except Preempted:
            raise Preempted(_SAVED.format(step)) from None
        if validation_pending(job, step):
            _validate(job, step, current, recorder, preemption)
            if preemption.agreed(step, ask=True):
                raise Preempted(_SAVED.format(step))
        while step < steps and not job.history.ended:
            if job.sampler.starts_round(step):
                before = job.sampler.mined
                try:
                    with recorder.apart("mining"), preemption.at_once():
                        mine_round(job, step, current)
                except Preempted:
                    job.sampler.restore(before)  # the signal may come when all tuples are there
                    _save_one(job, current, recorder)
                    raise Preempted(_SAVED.format(step)) from None
                except NoNegatives:  # a run with a larger pool goes on from here
                    _save_one(job, current, recorder)
                    raise
            last = min(job.sampler.round_end(step), steps, _next_validation(job, step))
            with memory.fits("a step", memory_estimate.remedy(job.config)):
                current = take_steps(job, step_fn, current, step, last, recorder, bar, preemption)
            step = last
        log(recorder.shares())
        log(f"memory: {memory.measured_peak() / memory.GIB:.2f} GiB at the measured peak")
        if preemption.agreed(step, ask=True):
            raise Preempted(_SAVED.format(step))


def _describe_untrained(job: Job) -> None:
    """Describes with the model of step 0 what the keep terms compare with."""
    if not job.keeper.sets:
        return
    variables = job.checkpoints.restore_model(0)
    key = {"model": store.fingerprint(job.config.model, variables)}
    extract = job.extract
    if job.module.scales != multi_scale.ONE:  # a step compares images of their own size
        module = job.module.clone(scales=multi_scale.ONE)
        extract = Extractor(module.apply, job.config.eval.batch)
    width = functools.partial(descriptor_size, extract.apply_fn, variables)
    copies = parallel.replicate(variables)

    def stream(places, indices, words, first):
        return extract.stream(copies, places, indices, words, first)

    job.keeper.describe(job.workdir / keep.FOLDER, key, width, stream)


def _next_validation(job: Job, step: int) -> int:
    every = job.config.validation.every
    return (step // every + 1) * every if every else job.config.train.steps


def take_steps(
    job: Job, step_fn, current, first: int, last: int, recorder, bar: Progress, preemption
):
    """Takes steps `first .. last` on one round's tuples and returns the state.

    Raises:
      TrainingError: a tensor is not finite.
      Preempted: SIGTERM ended the run; the state is saved.
    """
    every, steps = job.config.train.checkpoint_every, job.config.train.steps
    rows = parallel.process_rows(len(job.sampler.indices(first)))
    batches = prefetch(lambda n: parallel.place(job.batch(n, rows)), first, last)
    try:
        for number, batch in recorder.waiting(batches):
            current, measured = step_fn(current, batch)
            done = number + 1
            bar.advance(1, **recorder.add(done, measured, current))
            stop = preemption.agreed(done)
            validates = validates_at(job, done)
            if done % every == 0 or done == steps or stop or validates:
                check_trap(current)
                check_parameters(current)
                _save_one(job, current, recorder)
                if validates:
                    _validate(job, done, current, recorder, preemption)
                    stop = preemption.agreed(done, ask=True)
            if stop and done < steps:
                raise Preempted(_SAVED.format(done))
        # The check precedes the next round, whose tuples replace those of the bad step.
        check_trap(current)
        check_parameters(current)
    except NotFinite as error:
        images = job.sampler.indices(error.step - 1).ravel()
        raise trapped(error, list(job.images.image_ids[images])) from error
    return current


def mine_round(job: Job, step: int, current) -> None:
    """Mines the tuples of the round that starts at `step`.

    Raises:
      NoNegatives: too few images lie beyond the negative radius.
    """

    def describe(images):
        return job.extract(model_variables(current), job.images, images, f"mine at step {step}")

    try:
        job.sampler.mine(step, describe)
    except ValueError as error:
        raise NoNegatives(str(error)) from error


def _validate(job: Job, step: int, current, recorder: Recorder, preemption: Preemption) -> None:
    """Validates the model that evaluation would take: the running mean where there is one.

    The step's checkpoint records the result, unless SIGTERM cuts the validation short.
    """
    variables = model_variables(current)
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
