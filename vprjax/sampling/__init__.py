"""Samplers: batches from `(seed, step, mined tuples)`, where only the mined table is saved.

The loss decides between tuples and places; the sampler answers every question that follows.
"""

from collections.abc import Sequence

from vprjax import losses
from vprjax.data.source import Places
from vprjax.losses.variant import OfBatch, OfPlaces, OfTuples
from vprjax.sampling.places import BatchSampler, PlaceSampler
from vprjax.sampling.tuples import TupleSampler

_SAMPLERS = {OfTuples: TupleSampler, OfPlaces: PlaceSampler, OfBatch: BatchSampler}


def kind(config) -> type[TupleSampler] | type[PlaceSampler]:
    """Returns the class of sampler that the config's loss asks for."""
    return _SAMPLERS[losses.kind(config.loss)]


def make_sampler(
    config, places: Places, others: Sequence[Places] = ()
) -> TupleSampler | PlaceSampler:
    """Makes the config's sampler of the training images, those of other datasets too.

    Raises:
      ValueError: the images give no batch.
    """
    return kind(config)(config, places, others)
