"""Losses: one file each, listed here by the name that `loss.name` takes. Pure.

Everything is computed and returned in float32 whatever the type of the inputs. The caller reduces.
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
    """The config's loss `(descriptors (b, m, d), batch, classes, step) -> dict of (b,)`.

    Args:
      config: the `loss` section.
      tuples: the `tuples` section.
      axis: name of the mapped axis, over which in-batch negatives are gathered.
    """
    made = _made(config)
    return made.value if isinstance(made, OfPlaces) else tuple_loss(made, tuples, axis)


def trains_on_places(config) -> bool:
    """Whether the `loss` section asks for batches of places rather than of tuples."""
    return isinstance(_made(config), OfPlaces)


def class_rate(config) -> float:
    """Learning-rate multiplier of the class weights, of a loss that has them."""
    return _picked(config).class_rate(config.get(config.name))


def _picked(config) -> Loss:
    return pick("loss.name", config.name, LOSSES)


def _made(config):
    return _picked(config).make(config.get(config.name))
