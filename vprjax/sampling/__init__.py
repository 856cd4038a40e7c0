"""From `(seed, step, mined tuples)` to batches: no state to save but the mined table."""

from vprjax.data.source import Places
from vprjax.sampling.places import PlaceSampler
from vprjax.sampling.tuples import TupleSampler


def uses_places(config) -> bool:
    """Whether the loss trains on P x K batches of places rather than on tuples."""
    return config.loss.name == "arcface" and config.loss.arcface_classes == "places"


def make_sampler(config, places: Places) -> TupleSampler | PlaceSampler:
    """The sampler that the config's loss needs."""
    return PlaceSampler(config, places) if uses_places(config) else TupleSampler(config, places)
