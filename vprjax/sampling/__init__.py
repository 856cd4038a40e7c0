"""From `(seed, step, mined tuples)` to batches: no state to save but the mined table.

The loss decides between tuples and places; each sampler answers for itself what follows from that.
"""

from vprjax import losses
from vprjax.data.source import Places
from vprjax.sampling.places import PlaceSampler
from vprjax.sampling.tuples import TupleSampler


def kind(config) -> type[TupleSampler] | type[PlaceSampler]:
    """The sampler that the config's loss asks for."""
    return PlaceSampler if losses.trains_on_places(config.loss) else TupleSampler


def make_sampler(config, places: Places) -> TupleSampler | PlaceSampler:
    """The config's sampler of the training images.

    Raises:
      ValueError: the images give no batch.
    """
    return kind(config)(config, places)
