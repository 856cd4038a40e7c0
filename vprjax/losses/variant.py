"""The declarations of a loss's file."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax

from vprjax.variants import Key


@dataclasses.dataclass(frozen=True)
class OfTuples:
    """A loss on tuples (query, positive, negatives).

    Attributes:
      value: `(query (b, d), positive (b, d), negatives (b, n, d), valid (b, n), step) -> (b,)`.
      reach: `(distance to the positive (b,), step) -> (b,)`, the distance below which a negative violates
        the margin.
    """

    value: Callable[..., jax.Array]
    reach: Callable[..., jax.Array]


@dataclasses.dataclass(frozen=True)
class OfPlaces:
    """A loss on places with learnable class weights.

    Attributes:
      value: `(descriptors (p, k, d), batch, classes (g, n, d), step) -> dict of (p,)`.
    """

    value: Callable[..., dict[str, jax.Array]]


@dataclasses.dataclass(frozen=True)
class OfBatch:
    """A loss on all pairs of a batch of places, without class weights.

    Attributes:
      value: cosines of anchors and the step's images `(n, m)`, masks of positive and of negative pairs
        `(n, m)` bool -> `(n,)`.
    """

    value: Callable[..., jax.Array]


@dataclasses.dataclass(frozen=True)
class Loss:
    """A loss: its title, its config keys and the function that it makes of them.

    Attributes:
      title: the loss's name in tables.
      make: the loss's config section -> a loss on tuples, places or a batch; this type decides the sampler.
      keys: the loss's config keys, `loss.NAME.KEY`.
      class_rate: the config section -> learning-rate multiplier of the class weights of a loss on places.
    """

    title: str
    make: Callable[[Any], OfTuples | OfPlaces | OfBatch]
    keys: Mapping[str, Key] = dataclasses.field(default_factory=dict)
    class_rate: Callable[[Any], float] = lambda section: 1.0
