"""Samplers: batches from `(seed, step, mined tuples)`, where only the mined table is saved.

The loss decides between tuples and places; the sampler answers every question that follows.
"""

from vprjax import losses
from vprjax.data.source import Places
from vprjax.sampling.places import PlaceSampler
from vprjax.sampling.tuples import TupleSampler


def kind(config) -> type[TupleSampler] | type[PlaceSampler]:
    """Returns the class of sampler that the config's loss asks for."""
    return PlaceSampler if losses.trains_on_places(config.loss) else TupleSampler


def make_sampler(config, places: Places) -> TupleSampler | PlaceSampler:
    """Makes the config's sampler of the training images.

    Raises:
      ValueError: the images give no batch.
    """
    return kind(config)(config, places)
