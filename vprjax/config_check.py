"""Config and data checked against each other before the first slow step."""

import math

from vprjax import models, parallel
from vprjax.batch_losses import IN_BATCH
from vprjax.data import pipeline
from vprjax.data.source import Dataset
from vprjax.descriptors import DTYPES
from vprjax.errors import ConfigError, DataError
from vprjax.optim import OPTIMISERS
from vprjax.retrieval import SCANS

CHOICES = {
    "loss.name": ("triplet", "contrastive", "arcface"),
    "loss.arcface_classes": ("places", "pair"),
    "tuples.mining": ("hard", "random"),
    "tuples.in_batch": IN_BATCH,
    "optim.name": OPTIMISERS,
    "eval.descriptor_dtype": tuple(DTYPES),
    "eval.search_scan": SCANS,
}
ABOVE_ZERO = (
    "tuples.batch",
    "tuples.in_batch_negatives",
    "tuples.positive_radius",
    "tuples.negative_radius",
    "tuples.mining_interval",
    "places.cell",
    "places.groups",
    "places.min_images",
    "places.batch_places",
    "places.images_per_place",
    "loss.arcface_scale",
    "optim.learning_rate",
    "train.log_every",
    "train.accumulate",
    "train.checkpoint_every",
    "train.keep_checkpoints",
    "eval.batch",
    "eval.search_memory",
)
NOT_NEGATIVE = (
    "tuples.other_visit_seconds",
    "tuples.mining_pool",
    "tuples.negatives",
    "tuples.remembered",
    "places.heading_degrees",
    "augment.crop",
    "augment.brightness",
    "augment.contrast",
    "augment.noise",
    "loss.triplet_margin",
    "loss.contrastive_margin",
    "loss.arcface_margin",
    "loss.arcface_margin_warmup",
    "optim.weight_decay",
    "optim.warmup_steps",
    "optim.clip_norm",
    "train.steps",
    "validation.every",
    "validation.patience",
    "eval.recall_radius",
    "eval.heading_degrees",
    "eval.pca",
    "eval.sequence_length",
)


def _value(config, key: str):
    section, name = key.split(".")
    return config[section][name]


def check_values(config) -> None:
    """Raises ConfigError on the first key whose value cannot be used; names key, value and remedy."""
    for key, known in CHOICES.items():
        if _value(config, key) not in known:
            raise ConfigError(
                f"{key}={_value(config, key)!r} is unknown; known: {', '.join(known)}"
            )
    for key in ABOVE_ZERO:
        if not 0 < _value(config, key) < math.inf:
            raise ConfigError(f"{key}={_value(config, key)} must be above 0")
    for key in NOT_NEGATIVE:
        if not 0 <= _value(config, key) < math.inf:
            raise ConfigError(f"{key}={_value(config, key)} must be 0 or more")
    try:
        models.check(config.model)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    _check_pairs(config)


def _check_pairs(config) -> None:
    tuples, train = config.tuples, config.train
    if not config.dataset.name:
        raise ConfigError("dataset.name is empty: name a built dataset, e.g. places_csv/mine")
    if not config.dataset.tolerances or min(config.dataset.tolerances) < 0:
        raise ConfigError("dataset.tolerances must hold at least one number, none below 0")
    if not config.eval.recalls or min(config.eval.recalls) < 1:
        raise ConfigError("eval.recalls must hold at least one number, none below 1")
    if tuples.positive_radius >= tuples.negative_radius:
        raise ConfigError(
            f"tuples.positive_radius={tuples.positive_radius:g} must be below "
            f"tuples.negative_radius={tuples.negative_radius:g}"
        )
    if not config.augment.crop < 1:
        raise ConfigError(f"augment.crop={config.augment.crop:g} must be below 1")
    if not 0 <= config.optim.ema < 1:
        raise ConfigError(f"optim.ema={config.optim.ema:g} must be 0 or more and below 1")
    if not tuples.negatives and tuples.in_batch == "off":
        raise ConfigError("tuples.negatives=0 needs tuples.in_batch to be hardest or semi_hard")
    if tuples.remembered > tuples.negatives:
        raise ConfigError(
            f"tuples.remembered={tuples.remembered} must be at most tuples.negatives={tuples.negatives}"
        )
    _check_validation(config)
    key = "places.batch_places" if pipeline.uses_places(config) else "tuples.batch"
    parts = parallel.device_count() * train.accumulate
    if _value(config, key) % parts:
        raise ConfigError(
            f"{key}={_value(config, key)} must be a multiple of {parts}: {parallel.device_count()} "
            f"devices x train.accumulate={train.accumulate}"
        )
    if train.accumulate > 1 and tuples.in_batch != "off" and not pipeline.uses_places(config):
        raise ConfigError(
            "train.accumulate above 1 would hide part of the batch from tuples.in_batch; set one of them "
            "back"
        )
    if train.accumulate > 1 and config.model.batch_norm == "train":
        raise ConfigError(
            "train.accumulate above 1 would change the statistics of model.batch_norm='train'; set one "
            "of them back"
        )


def _check_validation(config) -> None:
    v = config.validation
    if bool(v.query_split) != bool(v.reference_split):
        raise ConfigError("validation.query_split and validation.reference_split go together")
    tests = {config.dataset.reference_split, *config.dataset.query_splits}
    shared = tests & {v.query_split, v.reference_split} if v.every else ()
    if shared:
        raise ConfigError(
            f"validation uses the test split {sorted(shared)[0]!r}: choosing a checkpoint on it would "
            "make its figures worthless; name another or use validation.stretch"
        )
    if v.every and not v.query_split and not 0 < v.stretch < 1:
        raise ConfigError(f"validation.stretch={v.stretch:g} must be above 0 and below 1")


def check_splits(config, dataset: Dataset, training: bool) -> None:
    """Raises DataError where a named split is missing or empty; lists what the dataset has."""
    names = [config.dataset.reference_split, *config.dataset.query_splits]
    names += config.dataset.train_splits if training else ()
    v = config.validation
    names += [v.query_split, v.reference_split] if training and v.every and v.query_split else []
    for name in names:
        if not dataset.counts.get(name):
            have = ", ".join(f"{k} ({v})" for k, v in dataset.counts.items())
            raise DataError(
                f"dataset {dataset.folder} has no images in split {name!r}; it has {have}"
            )
    if training and not config.dataset.train_splits:
        raise DataError("dataset.train_splits is empty: name at least one split to train on")
