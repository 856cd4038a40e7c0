"""Checks of the config, alone and against the data, before the first slow step."""

import difflib
from collections.abc import Iterable, Iterator

import numpy as np

from vprjax import models, sampling
from vprjax.config import conflicts
from vprjax.config.changes import leaves
from vprjax.config.ranges import RANGES, OneOf
from vprjax.data import source
from vprjax.errors import ConfigError, DataError
from vprjax.runtime import parallel

TESTLESS = "; to train alone, set dataset.query_splits=()"
TRAINLESS = "; to evaluate model.weights on a map and queries alone, use --mode=evaluate"


def check_values(
    config, trained_dataset: str | None = None, trained_splits: tuple[str, ...] = ()
) -> None:
    """Raises ConfigError on the first unusable value; the sentence names key, value and range.

    `trained_dataset`, the `dataset.name` that a model trained on, marks a job that only evaluates. Such a
    job skips the checks of training, but not those on checkpoints that were chosen or trained (on
    `trained_splits`) on their own test.
    """
    values = dict(leaves(config.to_dict()))
    for key in sorted(values.keys() - RANGES.keys()):
        near = difflib.get_close_matches(key, RANGES, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ConfigError(f"config key {key} is unknown{hint}")
    for key, allowed in RANGES.items():
        if key not in values:
            raise ConfigError(f"the config lacks {key}: it must be {allowed}")
        value = values[key]
        if not allowed.allows(value):
            hint = allowed.hint(value) if isinstance(allowed, OneOf) else ""
            raise ConfigError(f"{key}={value!r} must be {allowed}{hint}")
    try:
        models.check(config.model)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    checks = [*conflicts.objections(config), *_named_twice(config)]
    checks += [*conflicts.baseline(config, training=trained_dataset is None)]
    if trained_dataset is None:
        checks += [*_batches(config), *_validation(config), *_splits_apart(config)]
        checks += [*_released_late(config)]
    same = source.split_name(trained_dataset or config.dataset.name)[:2]  # of any version
    if source.split_name(config.dataset.name)[:2] == same:
        checks += [*_validated_on_test(config), *_trained_on_test(config, trained_splits)]
    for wrong, sentence in checks:
        if wrong:
            raise ConfigError(sentence)


def against_accumulation(config) -> list[str]:
    """Returns why this config cannot have train.accumulate above 1; empty where it can."""
    reasons = sampling.kind(config).against_accumulation(config)
    reasons += ["hide part of the batch from keep.batch_weight"] * bool(config.keep.batch_weight)
    held = config.tuples.push == "to_untrained"
    reasons += ["hide part of the batch from tuples.push"] * held
    if config.model.batch_norm == "train" and models.BACKBONES[config.model.backbone].batch_norm:
        reasons.append("change the statistics of model.batch_norm='train'")
    return [f"train.accumulate above 1 would {reason}; set one of them back" for reason in reasons]


def _batches(config) -> Iterator[tuple[bool, str]]:
    """Yields pairs on batches that do not split over devices and parts."""
    sampler, accumulate = sampling.kind(config), config.train.accumulate
    size = sampler.batch_size(config)
    parts = parallel.device_count() * accumulate
    yield (
        size % parts != 0,
        f"{sampler.BATCH_KEY}={size} must be a multiple of {parts}: {parallel.device_count()} devices x "
        f"train.accumulate={accumulate}",
    )
    for reason in against_accumulation(config):
        yield accumulate > 1, reason
    yield (
        bool(config.keep.images) and config.keep.batch % parallel.device_count() != 0,
        f"keep.batch={config.keep.batch} must be a multiple of {parallel.device_count()} devices",
    )


def _validation(config) -> Iterator[tuple[bool, str]]:
    """Yields pairs on validation that cannot work, or spoils the test."""
    v = config.validation
    yield (
        bool(v.query_split) != bool(v.reference_split),
        "validation.query_split and validation.reference_split go together: name both or neither",
    )
    yield (
        bool(v.query_split) and not v.every,
        f"validation.query_split={v.query_split!r} needs validation.every above 0",
    )
    yield (
        v.patience > 0 and not v.every,
        f"validation.patience={v.patience} needs validation.every above 0",
    )
    trained = v.every and v.query_split in config.dataset.train_splits
    yield (
        bool(trained),
        f"validation.query_split={v.query_split!r} is trained on (dataset.train_splits) and would choose "
        "the checkpoint that memorises it; name another or use validation.stretch",
    )
    yield (
        bool(v.every and v.query_split) and v.query_split == v.reference_split,
        f"validation.query_split and validation.reference_split are both {v.query_split!r}: every image "
        "would find itself; name two",
    )


def _released_late(config) -> Iterator[tuple[bool, str]]:
    """Yields a pair on stages that the run ends without releasing."""
    late = [step for step, _ in config.optim.release if step >= config.train.steps > 0]
    yield (
        bool(late),
        f"optim.release frees a stage after step {late[:1]}, but the run ends at train.steps="
        f"{config.train.steps}: name an earlier step or leave the pair out",
    )


def _validated_on_test(config) -> Iterator[tuple[bool, str]]:
    """Yields a pair on a checkpoint that is chosen on the evaluated splits."""
    v = config.validation
    tests = {*tested_splits(config)}
    shared = sorted(tests & {v.query_split, v.reference_split}) if v.every else []
    yield (
        bool(shared),
        f"validation uses the test split {shared[:1]}: a checkpoint chosen on it makes its figures "
        "worthless; name another or use validation.stretch",
    )


def _splits_apart(config) -> Iterator[tuple[bool, str]]:
    """Yields pairs on splits that must not be the same; training may read the reference split."""
    d = config.dataset
    both = sorted({*d.train_splits} & {*d.query_splits})
    yield (
        bool(both) and config.train.steps > 0,
        f"dataset.train_splits and dataset.query_splits share {both[:1]}: a query that was trained on "
        "measures nothing; leave it out of one of them",
    )


def _trained_on_test(config, trained_splits: tuple[str, ...]) -> Iterator[tuple[bool, str]]:
    """Yields a pair on queries that an evaluated model was trained on."""
    both = sorted({*trained_splits} & {*config.dataset.query_splits})
    yield (
        bool(both),
        f"dataset.query_splits holds {both[:1]}, which the model was trained on: such a query measures "
        "nothing; leave it out",
    )


def _named_twice(config) -> Iterator[tuple[bool, str]]:
    """Yields pairs on splits that a list names twice."""
    d = config.dataset
    for key, names in (("train", d.train_splits), ("query", d.query_splits)):
        twice = [name for name in names if list(names).count(name) > 1]
        yield bool(twice), f"dataset.{key}_splits names {twice[:1]} twice; name it once"


def check_splits(config, dataset: source.Dataset, training: bool) -> None:
    """Checks that every named split is there and large enough.

    Raises:
      DataError: a split is missing or empty.
      ConfigError: a split is too small, or lacks positions or headings.
    """
    tested = tested_splits(config)
    if not training and not tested:
        raise ConfigError("dataset.query_splits is empty: name at least one split to evaluate")
    names = [*tested]
    names += config.dataset.train_splits if training else ()
    names += _validated_splits(config) if training else ()
    for name in names:
        if not dataset.counts.get(name):
            have = ", ".join(f"{k} ({v})" for k, v in dataset.counts.items())
            hint = TRAINLESS if name in config.dataset.train_splits else ""
            hint = TESTLESS if name in tested else hint
            raise DataError(
                f"dataset {dataset.folder} has no images in split {name!r}; it has {have}"
                + (hint if training else "")
            )
    if training and not config.dataset.train_splits:
        raise DataError("dataset.train_splits is empty: name at least one split to train on")
    if tested:
        _check_tested(config, dataset, tested)
    trained = sum(dataset.counts.get(name, 0) for name in config.dataset.train_splits)
    lacking = [name for name in config.dataset.train_splits if not dataset.counts.get(name)]
    if config.eval.pca and (lacking or not trained):
        raise ConfigError(
            f"eval.pca={config.eval.pca} is fit on dataset.train_splits="
            f"{tuple(config.dataset.train_splits)}, but {config.dataset.name} has no images of "
            f"{', '.join(lacking) or 'them'}: name splits that it has, such as its references, or set "
            "eval.pca=0"
        )
    if config.eval.pca and config.eval.pca >= trained:
        raise ConfigError(
            f"eval.pca={config.eval.pca} must be below the {trained} images of dataset.train_splits that "
            "fit PCA"
        )
    _check_positions(config, dataset, training)
    if config.eval.heading_degrees:
        validated = _validated_splits(config) if training else ()
        _check_headings(config, dataset, dict.fromkeys((*tested, *validated)))


def tested_splits(config) -> tuple[str, ...]:
    """Returns the splits that evaluation reads, the references first; none without queries."""
    d = config.dataset
    return (d.reference_split, *d.query_splits) if d.query_splits else ()


def _check_tested(config, dataset: source.Dataset, tested: tuple[str, ...]) -> None:
    """Raises ConfigError where the evaluated splits are too small."""
    references, most = dataset.counts[config.dataset.reference_split], max(config.eval.recalls)
    if most > references:
        raise ConfigError(
            f"eval.recalls={tuple(config.eval.recalls)} must not go over the {references} images of "
            f"split {config.dataset.reference_split!r}"
        )
    for key, count, images in (
        ("rerank", references, "images"),
        ("query_expansion", references, "images"),
        ("database_augmentation", references - 1, "other images"),
    ):
        if config.eval[key] > count:
            raise ConfigError(
                f"eval.{key}={config.eval[key]} must not go over the {count} {images} of split "
                f"{config.dataset.reference_split!r}"
            )
    fewest = min(tested, key=dataset.counts.get)
    if config.eval.standardise and dataset.counts[fewest] < 2:
        raise ConfigError(
            f"eval.standardise={config.eval.standardise!r} takes mean and deviation of each split, and "
            f"{fewest!r} has one image: leave it out, or set it to ''"
        )
    if config.eval.sequence_length > dataset.counts[fewest]:
        raise ConfigError(
            f"eval.sequence_length={config.eval.sequence_length} must not go over the "
            f"{dataset.counts[fewest]} images of split {fewest!r}"
        )


def _validated_splits(config) -> tuple[str, ...]:
    """Returns the splits that validation in training reads."""
    v = config.validation
    if not v.every:
        return ()
    return (
        (v.query_split, v.reference_split) if v.query_split else tuple(config.dataset.train_splits)
    )


def _check_positions(config, dataset: source.Dataset, training: bool) -> None:
    """Raises ConfigError where an image of a split other than the queries has no position."""
    d, v = config.dataset, config.validation
    splits = {"dataset.reference_split": tested_splits(config)[:1]}
    if training:
        splits["dataset.train_splits"] = tuple(d.train_splits)
    if training and v.every and v.query_split:
        splits["validation.query_split"] = (v.query_split,)
        splits["validation.reference_split"] = (v.reference_split,)
    for key, names in splits.items():
        for name in names:
            places = dataset.places((name,))
            lacking = len(places) - len(places.located)
            if lacking:
                raise ConfigError(
                    f"{key}: {lacking:,} of {len(places):,} images of split {name!r} of {d.name} have no "
                    "position, which only queries may lack: give them one or leave them out"
                )


def _check_headings(config, dataset: source.Dataset, splits: Iterable[str]) -> None:
    for split in splits:
        places = dataset.places((split,))
        if not np.isfinite(places.headings[places.located]).all():
            raise ConfigError(
                f"eval.heading_degrees={config.eval.heading_degrees:g} needs headings, but some images of "
                f"split {split!r} of {config.dataset.name} have none; set it to 0"
            )
