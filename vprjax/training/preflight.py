"""All checks of both jobs, in one order, each ahead of anything slower than itself."""

import dataclasses
import pathlib

from vprjax import models, sampling
from vprjax.config import checks, limits
from vprjax.console import log
from vprjax.data import rendered, source
from vprjax.data.source import Places
from vprjax.errors import ConfigError
from vprjax.runtime import distributed, parallel
from vprjax.sampling.places import PlaceSampler
from vprjax.sampling.tuples import TupleSampler
from vprjax.training import memory_estimate, state, validation
from vprjax.weights import pretrained


@dataclasses.dataclass(frozen=True)
class TrainingData:
    """What a model trains on.

    Attributes:
      images: the training images.
      held_out: what validation measures, or None.
      sampler: the batches.
      image_set: digest of all images of the training splits.
    """

    images: Places
    held_out: validation.Validation | None
    sampler: TupleSampler | PlaceSampler
    image_set: str


@dataclasses.dataclass(frozen=True)
class Ready:
    """What the checks of a job have opened.

    Attributes:
      dataset: the evaluated dataset, on which training trains too.
      data: what a model trains on; None where a checkpoint is evaluated.
      weights: what `pretrained.load` gave; None starts from random values.
      weights_sha256: their file's, or "random".
    """

    dataset: source.Dataset
    data: TrainingData | None = None
    weights: dict | None = None
    weights_sha256: str = "random"


def check_training(config, workdir: pathlib.Path) -> Ready:
    """Checks a job that trains and evaluates; nothing is written but a missing rendered dataset.

    Raises:
      VprjaxError: the first thing that is wrong, in one sentence.
    """
    dataset = _check_evaluation(config, workdir, models_evaluated=2)
    weights, sha256 = _weights(config.model)
    data = training_data(config, dataset)
    return Ready(dataset, data, weights, sha256)


def check_checkpoint(
    config, workdir: pathlib.Path, trained_dataset: str, models_evaluated: int
) -> Ready:
    """Checks a job that evaluates a checkpoint, whose model trained on `trained_dataset`.

    Raises:
      VprjaxError: the first thing that is wrong, in one sentence.
    """
    return Ready(_check_evaluation(config, workdir, models_evaluated, trained_dataset))


def _check_evaluation(
    config,
    workdir: pathlib.Path,
    models_evaluated: int,
    trained_dataset: str | None = None,
) -> source.Dataset:
    """The checks that both jobs share, the fastest first."""
    checks.check_values(config, trained_dataset)
    distributed.check_joined()
    rendered.build_missing(config)
    dataset = source.open_dataset(config)
    checks.check_splits(config, dataset, training=trained_dataset is None)
    warn_of_unit(config, dataset)
    module = models.build_for_platform(config.model, parallel.AXIS)
    limits.check_pca(config, module, dataset)
    limits.check_disk(config, module, dataset, workdir, models_evaluated)
    return dataset


def training_data(config, dataset: source.Dataset) -> TrainingData:
    """The training images, the held-out segment and the sampler.

    Raises:
      ConfigError: the images do not allow what the config asks, or the state does not fit the memory.
    """
    every = dataset.places(tuple(config.dataset.train_splits))
    images, held_out = validation.split_off(config, every, dataset)
    try:
        sampler = sampling.make_sampler(config, images)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    module = models.build_for_platform(config.model, parallel.AXIS)
    memory_estimate.check_state(state.shapes(config, module, images, sampler))
    return TrainingData(images, held_out, sampler, every.image_set())


def _weights(model_config) -> tuple[dict | None, str]:
    """The pretrained weights and their file's SHA-256."""
    if not model_config.weights:
        return None, "random"
    loaded = pretrained.load(
        model_config.weights, model_config.backbone, partial=model_config.partial_weights
    )
    return loaded, pretrained.fingerprint(model_config.weights)


def warn_of_unit(config, dataset: source.Dataset) -> None:
    """One line where the dataset's position unit is another than the config's."""
    unit, said = dataset.metadata.get("position_unit"), config.dataset.position_unit
    if unit and unit != said:
        log(
            f"warning: positions of {dataset.name} are in {unit}, dataset.position_unit is {said!r}: "
            f"radii and tolerances count {unit}, and what is printed says {said}"
        )
