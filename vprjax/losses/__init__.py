"""Losses: one file each, listed here by the name that `loss.name` takes.

Losses are pure. They compute and return float32 for inputs of any type; the caller reduces them.
"""

from collections.abc import Callable

from vprjax.losses import arcface, contrastive, triplet
from vprjax.losses.tuples import tuple_loss
from vprjax.losses.variant import Loss, OfPlaces
from vprjax.variants import pick

LOSSES: dict[str, Loss] = {
    "triplet": triplet.LOSS,
    "contrastive": contrastive.LOSS,
    "arcface": arcface.LOSS,
}


def make(config, tuples, axis: str) -> Callable:
    """Makes the config's loss `(descriptors (b, m, d), batch, classes, step) -> dict of (b,)`.

    Args:
      config: the `loss` section.
      tuples: the `tuples` section.
      axis: name of the mapped axis, which in-batch negatives come from.

    Raises:
      ValueError: the loss, or a name in its section, is unknown.
    """
    made = _made(config)
    return made.value if isinstance(made, OfPlaces) else tuple_loss(made, tuples, axis)


def trains_on_places(config) -> bool:
    """Whether the `loss` section asks for batches of places instead of tuples."""
    return isinstance(_made(config), OfPlaces)


def class_rate(config) -> float:
    """Returns the learning-rate multiplier of the loss's class weights."""
    return _picked(config).class_rate(config.get(config.name))


def _picked(config) -> Loss:
    return pick("loss.name", config.name, LOSSES)


def _made(config):
    return _picked(config).make(config.get(config.name))
