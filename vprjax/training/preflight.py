"""All checks of both jobs in one order, each ahead of anything slower than itself."""

import dataclasses
import pathlib
import types

import numpy as np

from vprjax import models, sampling
from vprjax.config import apart, checks, limits
from vprjax.console import log
from vprjax.data import doubts, named, pictures, protocol, rendered, source
from vprjax.data.named import Named
from vprjax.data.source import Places
from vprjax.data.together import joined
from vprjax.descriptors.extraction import descriptor_size
from vprjax.errors import ConfigError, DataError
from vprjax.evaluation import baseline
from vprjax.runtime import distributed, parallel
from vprjax.sampling.places import PlaceSampler
from vprjax.sampling.tuples import TupleSampler
from vprjax.training import further, memory_estimate, state, validation
from vprjax.training.keep import NO_IMAGES, Keeper, KeepImages
from vprjax.weights import catalogue, files, pretrained
from vprjax.weights.hub import resolve
from vprjax.weights.released import load as released


@dataclasses.dataclass(frozen=True)
class TrainingData:
    """The images of one training run and their sampler.

    Attributes:
      images: the training images.
      held_out: the queries and references of validation, or None.
      sampler: the sampler of the batches.
      image_set: digest of all images of the training splits.
      image_form: how a picture from elsewhere becomes alike, JSON of `data.pictures.Form`.
      others: the further datasets, whose images follow the home's in `images`.
      keep: the keep images, which train no place.
      doubts: sentences on suspicious data, which the results repeat.
    """

    images: Places
    held_out: validation.Validation | None
    sampler: TupleSampler | PlaceSampler
    image_set: str
    image_form: dict
    others: tuple[Named, ...] = ()
    keep: KeepImages = NO_IMAGES
    doubts: tuple[str, ...] = ()

    @property
    def home(self) -> Places:
        """The training images of the home dataset."""
        count = len(self.images) - sum(len(part.places) for part in self.others)
        return self.images.subset(np.arange(count))

    @property
    def facts(self) -> dict:
        """Provenance: digests and forms of the images, and the numbers of those of other datasets."""
        facts = {"image_set": self.image_set, "image_form": self.image_form, **self.keep.facts}
        if self.others:
            facts["others"] = {str(part): len(part.places) for part in self.others}
            facts["others_set"] = [part.places.image_set() for part in self.others]
        return facts


@dataclasses.dataclass(frozen=True)
class Ready:
    """The dataset and weights that the checks of a job open.

    Attributes:
      dataset: the evaluated dataset, which training reads too.
      data: the training data; None where a checkpoint is evaluated.
      weights: the result of `pretrained.load`, or None for random values.
      weights_sha256: SHA-256 of the weights' file, or "random".
      warnings: sentences on suspicious data, which the results repeat.
      besides: what training reads, or read, of other datasets.
    """

    dataset: source.Dataset
    data: TrainingData | None = None
    weights: dict | None = None
    weights_sha256: str = "random"
    warnings: tuple[str, ...] = ()
    besides: tuple[Named, ...] = ()


def check_training(config, workdir: pathlib.Path) -> Ready:
    """Checks a job that trains and evaluates; it writes nothing but a missing rendered dataset.

    Raises:
      VprjaxError: a check fails; the sentence is on the first one.
    """
    dataset = _check_evaluation(config, workdir, models_evaluated=2)
    warnings = suspicions(config, dataset, None)
    weights, sha256, doubted = _weights(config, dataset)
    data = training_data(config, dataset)
    module = models.build_for_platform(config.model, parallel.AXIS)
    described = Keeper(config, data.keep, data.images).sets
    limits.check_untrained(module, described.values(), workdir)
    besides = (*data.others, *data.keep.named)
    return Ready(dataset, data, weights, sha256, (*warnings, *doubted, *data.doubts), besides)


def check_checkpoint(config, workdir: pathlib.Path, trained_on, models_evaluated: int) -> Ready:
    """Checks a job that evaluates a checkpoint of a model; `trained_on` is its `dataset` section.

    Raises:
      VprjaxError: a check fails; the sentence is on the first one.
    """
    splits = tuple(trained_on.train_splits) if config.train.steps else ()
    dataset = _check_evaluation(config, workdir, models_evaluated, (trained_on.name, splits))
    found = suspicions(config, dataset, trained_on_images(config, dataset, trained_on))
    texts = (*config.others.names, *config.keep.images) if config.train.steps else ()
    besides = named.still_there(texts, config.dataset.data_dir, trained_on.data_dir)
    return Ready(dataset, warnings=(*found, *seen(config, dataset, besides)), besides=besides)


def seen(config, dataset: source.Dataset, besides: tuple[Named, ...]) -> list[str]:
    """Returns sentences on queries that training read of other datasets, after it has logged them.

    Raises:
      ConfigError: a query split holds half of the images of such a split, or more.
    """
    found = apart.check_seen(dataset, config.dataset.query_splits, besides)
    for sentence in found:
        log(f"warning: {sentence}")
    return found


def trained_on_images(
    config, dataset: source.Dataset, trained_on
) -> tuple[source.Dataset, tuple[str, ...]]:
    """Returns the dataset and the splits that a model trained on, as far as they are still there."""
    trained = dataset
    if source.split_name(trained_on.name)[:2] != source.split_name(config.dataset.name)[:2]:
        try:
            trained = source.open_dataset(types.SimpleNamespace(dataset=trained_on))
        except DataError:
            return dataset, ()
    splits = trained_on.train_splits if config.train.steps else ()
    return trained, tuple(name for name in splits if trained.counts.get(name))


def check_untrained(config, workdir: pathlib.Path) -> Ready:
    """Checks a job that evaluates the model of `model.weights` as it is; nothing trains.

    Raises:
      VprjaxError: a check fails; the sentence is on the first one.
    """
    dataset = _check_evaluation(config, workdir, 1, (config.dataset.name, ()))
    warnings = suspicions(config, dataset, (dataset, ()))
    weights, sha256, doubted = _weights(config, dataset)
    return Ready(dataset, None, weights, sha256, (*warnings, *doubted))


def check_baseline(config, workdir: pathlib.Path) -> Ready:
    """Checks a job that evaluates a baseline; it runs in one process.

    Raises:
      VprjaxError: a check fails; the sentence is on the first one.
    """
    if parallel.process_count() > 1:
        raise ConfigError(
            f"baseline.name={config.baseline.name!r} runs in one process: start it without --hosts"
        )
    dataset = _check_evaluation(config, workdir, 1, (config.dataset.name, ()))
    return Ready(dataset, warnings=suspicions(config, dataset, (dataset, ())))


def _check_evaluation(
    config,
    workdir: pathlib.Path,
    models_evaluated: int,
    trained: tuple[str, tuple[str, ...]] | None = None,
) -> source.Dataset:
    """Runs the checks that both jobs share, the fastest first, and returns the dataset."""
    checks.check_values(config, *(trained or ()))
    distributed.check_joined()
    rendered.build_missing(config)
    dataset = source.open_dataset(config)
    checks.check_splits(config, dataset, training=trained is None)
    protocol.check_lists(config, dataset)
    if trained is None:
        protocol.check_validation(config, dataset)
    if config.baseline.name:
        baseline.check(config, dataset)
        return dataset
    module = models.build_for_platform(config.model, parallel.AXIS)
    limits.check_pca(config, module, dataset)
    limits.check_disk(config, module, dataset, workdir, models_evaluated)
    return dataset


def training_data(config, dataset: source.Dataset) -> TrainingData:
    """Returns the training images, the held-out segment and the sampler.

    Raises:
      ConfigError: the images do not allow the config, or the state does not fit the memory.
    """
    every = dataset.places(tuple(config.dataset.train_splits))
    others, keep, doubted = further.opened(config, dataset, every)
    home, held_out = validation.split_off(config, every, dataset)
    parts = [part.places for part in others]
    images = joined([home, *parts])
    try:
        sampler = sampling.make_sampler(config, home, parts)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    module = models.build_for_platform(config.model, parallel.AXIS)
    memory_estimate.check_state(state.shapes(config, module, images, sampler))
    form = pictures.form_of(dataset.metadata, every.images([0]).shape[1:3])
    digest, shape = every.image_set(), form.to_json()
    return TrainingData(images, held_out, sampler, digest, shape, others, keep, doubted)


def _weights(config, dataset: source.Dataset) -> tuple[dict | None, str, list[str]]:
    """Loads the pretrained weights; returns them, their file's SHA-256, and doubts that results repeat."""
    c, path = config.model, config.model.weights
    if not path:
        return None, "random", []
    file = resolve(path)
    arrays = files.read(file, f"backbone {c.backbone}")
    found = released.find(file, arrays)
    if found is None or released.lacks_layers(found, c):
        loaded = pretrained.load(path, c.backbone, partial=c.partial_weights, arrays=arrays)
        doubted = [words] if found is None and (words := catalogue.backbone_alone(c)) else []
        return loaded, pretrained.fingerprint(path), _logged(doubted)
    loaded = released.start_of(found, c)
    d = config.dataset  # without queries training alone reads images
    places = dataset.places((d.reference_split,) if d.query_splits else tuple(d.train_splits))
    if "head" in loaded:  # some heads' weights fit one size of images
        descriptor_size(models.build(found.config).apply, found.variables, places)
    size = places.images([0]).shape[1:3]
    doubted = [*filter(None, (released.other_head(found, c), released.other_size(found, *size)))]
    return loaded, pretrained.fingerprint(path), _logged(doubted)


def _logged(doubted: list[str]) -> list[str]:
    for words in doubted:
        log(f"warning: {words}")
    return doubted


def suspicions(
    config,
    dataset: source.Dataset,
    trained: tuple[source.Dataset, tuple[str, ...]] | None,
) -> tuple[str, ...]:
    """Returns the sentences on suspicious data of a job, after it has logged them.

    `trained` holds the dataset and the splits that an evaluated model trained on, None in training.

    Raises:
      ConfigError: splits that must be apart hold the same images.
    """
    d = config.dataset
    names = (*(() if trained else d.train_splits), *checks.tested_splits(config))
    splits = {name: dataset.places((name,)) for name in names}
    unit = dataset.metadata.get("position_unit")
    found = [*_unit_differs(config, dataset), *doubts.of_poses(splits, unit or d.position_unit)]
    known = doubts.Known(splits[d.reference_split]) if d.query_splits else None
    by_distance = [n for n in d.query_splits if n not in (dataset.metadata.get("positives") or {})]
    for name in by_distance:
        found += doubts.of_truth(
            name,
            splits[name],
            known,
            d.tolerances,
            d.position_unit,
            config.eval.heading_degrees,
        )
        radius = config.eval.recall_radius
        found += doubts.of_recall(name, splits[name], known, radius, d.position_unit)
    found += protocol.differences(config, dataset)
    found += apart.check(config, dataset, trained)
    for sentence in found:
        log(f"warning: {sentence}")
    return tuple(found)


def _unit_differs(config, dataset: source.Dataset) -> list[str]:
    """Returns a sentence where the dataset's position unit differs from the config's."""
    unit, said = dataset.metadata.get("position_unit"), config.dataset.position_unit
    if not unit or unit == said:
        return []
    return [
        f"positions of {dataset.name} are in {unit}, dataset.position_unit is {said!r}: "
        f"radii and tolerances count {unit}, but tables print {said}; set it to {unit!r}"
    ]
