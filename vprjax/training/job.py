"""The parts that one training run holds from start to end, and how it saves them."""

import dataclasses
import functools
import pathlib
from typing import Any

from vprjax.data.source import Places
from vprjax.descriptors.extraction import Extractor
from vprjax.runtime import parallel
from vprjax.sampling.places import PlaceSampler
from vprjax.sampling.tuples import TupleSampler
from vprjax.storage.checkpoint import Checkpoints
from vprjax.training import keep, resume, validation
from vprjax.training.preflight import TrainingData
from vprjax.training.recorder import Recorder
from vprjax.training.step import TrainState


@dataclasses.dataclass
class Job:
    """The parts that one training run holds from start to end.

    Interruptions change nothing in `metrics.jsonl` and `validation.jsonl`.

    Attributes:
      config: the whole config.
      workdir: folder of `checkpoints/` (step 0 is the untrained model), `metrics.jsonl`,
        `validation.jsonl`, `timing.jsonl` (wall time) and `parameters.txt`.
      provenance: facts that every checkpoint saves.
      data: the training images, the held-out images and the sampler.
      module: the model.
      extract: the model's extractor, for mining and validation.
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
        """The queries and references of validation, or None."""
        return self.data.held_out

    @property
    def sampler(self) -> TupleSampler | PlaceSampler:
        """The sampler of the batches."""
        return self.data.sampler

    @functools.cached_property
    def keeper(self) -> keep.Keeper:
        """What batches hold besides, of the untrained model."""
        return keep.Keeper(self.config, self.data.keep, self.images)

    def batch(self, step: int, rows: slice) -> dict:
        """Returns `rows` of a step's batch, and this process's share of its keep images."""
        found = self.sampler.batch(step, rows)
        return found | self.keeper.added(step, self.sampler.indices(step), rows)

    @functools.cached_property
    def checkpoints(self) -> Checkpoints:
        """The run's checkpoints; the first use makes their folder."""
        return Checkpoints(self.workdir / "checkpoints", self.config.train.keep_checkpoints)


def save(job: Job, current: TrainState, collected) -> None:
    """Saves one copy of the state through the first process, unless its step is saved already."""
    collected = Recorder.empty(job.config) if collected is None else collected
    saved = {
        "config": job.config.to_dict(),
        "provenance": job.provenance,
        "validations": job.history.rows,
    }
    if parallel.is_primary() and int(current.step) not in job.checkpoints.steps():
        best = job.history.best_of({*job.checkpoints.steps(), int(current.step)})
        resume.save(job.checkpoints, current, job.sampler, collected, saved, best)
    parallel.barrier("save")


def model_variables(current: TrainState) -> dict:
    """Returns the model's variables in a train state."""
    return {"params": current.params["model"], **current.constants}


def validates_at(job: Job, step: int) -> bool:
    """Whether validation follows this step: every `validation.every` steps, and after the last."""
    if job.held_out is None or not step:
        return False
    return step % job.config.validation.every == 0 or step == job.config.train.steps


def validation_pending(job: Job, step: int) -> bool:
    """Whether the run saved this step but was cut before its validation."""
    return validates_at(job, step) and job.history.last < step
