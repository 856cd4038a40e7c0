"""The declarations of a pooling head's file."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from vprjax.variants import Key


@dataclasses.dataclass(frozen=True)
class ClusterStart:
    """A start from k-means on L2-normalised local descriptors of training images.

    Attributes:
      key: the head's config key that counts the clusters.
      parameters: centres `(k, d)`, local descriptors `(n, d)` -> the head's parameters by name.
      more: a further key of clusters, which the descriptor leaves out.
    """

    key: str
    parameters: Callable[[np.ndarray, np.ndarray], Mapping[str, jax.Array]]
    more: str = ""


@dataclasses.dataclass(frozen=True)
class RegionStart:
    """A start of a square linear layer from whitened PCA of vectors of training images.

    Attributes:
      layer: the layer's name.
      vectors: the head's config section, a map `(b, h, w, c)` -> the vectors `(b, r, c)` that it whitens.
    """

    layer: str
    vectors: Callable[[Any, jax.Array], jax.Array]


@dataclasses.dataclass(frozen=True)
class Head:
    """A pooling head: a feature map `(b, h, w, c)` -> one vector `(b, d)` per image, not yet normalised.

    Attributes:
      title: the head's name in tables.
      make: the head's config section -> a function or Linen module; its parameters are "pooling/...".
      keys: the head's config keys, `model.NAME.KEY`.
      trains: whether it has parameters.
      start: the start of its parameters from training images; None keeps Linen's initial values.
      rates: the config section -> learning-rate multipliers by parameter; others have `optim.head_rate`.
      lowest: least value by parameter; training stays at it or above.
      logged: figures of metrics.jsonl by name, each the mean of a parameter.
      random: whether its own start is of random values, so that it describes nothing before training.
      one_size: whether descriptors of images of two sizes differ in length, or its weights fit one size.
      class_token: the config section -> whether it takes the class token `(b, c)` beside the map.
    """

    title: str
    make: Callable[[Any], Callable]
    keys: Mapping[str, Key] = dataclasses.field(default_factory=dict)
    trains: bool = False
    start: ClusterStart | RegionStart | None = None
    rates: Callable[[Any], Mapping[str, float]] = lambda section: {}
    lowest: Mapping[str, float] = dataclasses.field(default_factory=dict)
    logged: Mapping[str, str] = dataclasses.field(default_factory=dict)
    random: bool = False
    one_size: bool = False
    class_token: Callable[[Any], bool] = lambda section: False
