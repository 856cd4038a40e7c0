"""Losses: one file each, listed here by the name that `loss.name` takes.

Losses are pure. They compute and return float32 for inputs of any type; the caller reduces them.
"""

from collections.abc import Callable

from vprjax.losses import (
    arcface,
    circle,
    contrastive,
    cosface,
    multi_similarity,
    supcon,
    triplet,
)
from vprjax.losses.batch import batch_loss
from vprjax.losses.tuples import tuple_loss
from vprjax.losses.variant import Loss, OfBatch, OfPlaces, OfTuples
from vprjax.variants import pick

LOSSES: dict[str, Loss] = {
    "triplet": triplet.LOSS,
    "contrastive": contrastive.LOSS,
    "arcface": arcface.LOSS,
    "cosface": cosface.LOSS,
    "multi_similarity": multi_similarity.LOSS,
    "circle": circle.LOSS,
    "supcon": supcon.LOSS,
}


def make(config, tuples, axis: str) -> Callable:
    """Makes the config's loss `(descriptors (b, m, d), batch, classes, step) -> dict of (b,)`.

    Args:
      config: the `loss` section.
      tuples: the `tuples` section.
      axis: name of the mapped axis, which images of other devices come from.

    Raises:
      ValueError: the loss, or a name in its section, is unknown.
    """
    made = _made(config)
    if isinstance(made, OfBatch):
        return batch_loss(made, axis)
    return made.value if isinstance(made, OfPlaces) else tuple_loss(made, tuples, axis)


def kind(config) -> type[OfTuples] | type[OfPlaces] | type[OfBatch]:
    """Returns what the `loss` section's loss is on: tuples, places with class weights, or a batch."""
    return type(_made(config))


def class_rate(config) -> float:
    """Returns the learning-rate multiplier of the loss's class weights."""
    return _picked(config).class_rate(config.get(config.name))


def _picked(config) -> Loss:
    return pick("loss.name", config.name, LOSSES)


def _made(config):
    return _picked(config).make(config.get(config.name))
