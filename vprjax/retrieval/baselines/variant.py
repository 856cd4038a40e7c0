"""The declarations of a baseline's file."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from vprjax.data.source import Places
from vprjax.variants import Key

State = dict[str, np.ndarray]  # what a baseline learns from training images


@dataclasses.dataclass(frozen=True)
class Facts:
    """The sizes of the data that a baseline's objections depend on.

    Attributes:
      references: number of references.
      queries: number of queries of the shortest split.
      height: of an image, pixels.
      width: of an image, pixels.
    """

    references: int
    queries: int
    height: int
    width: int


@dataclasses.dataclass(frozen=True)
class Matching:
    """Costs of matches that are no L2 distance of descriptors.

    Attributes:
      costs: `(references (r, d), state, settings) -> function of queries (n, d) to costs (n, r)`; the
        lowest wins.
      length: frames per sequence, of the settings; 1 matches single frames.
      speeds: references per query frame, of the settings.
      surety: `(costs (n, r), settings) -> (n,)`, low where the best match is sure.
    """

    costs: Callable[[np.ndarray, State, Any], Callable[[np.ndarray], np.ndarray]]
    length: Callable[[Any], int] = lambda settings: 1
    speeds: Callable[[Any], Sequence[float]] = lambda settings: (1.0,)
    surety: Callable[[np.ndarray, Any], np.ndarray] = lambda costs, settings: costs.min(axis=1)


@dataclasses.dataclass(frozen=True)
class Baseline:
    """A method that is no network: its title, config keys and functions.

    Attributes:
      title: the method's name in tables.
      reference: its paper.
      about: two sentences on what it does.
      describe: `(image (h, w, 3) uint8 RGB, state, settings) -> (d,)` float32.
      keys: its config keys, `baseline.NAME.KEY`.
      fit: `(training images, settings, seed) -> (state, notes)`; raises ConfigError where they are too few.
        The notes are sentences that the result repeats.
      objections: `(settings, facts)`, sentences on settings that the data do not allow.
      doubts: `(settings, facts)`, sentences on settings that hardly suit the data; the result repeats them.
      matching: how descriptors are compared; None is the exact search by L2.
      bits: of a number of the descriptor, as a map would keep it.
      lacks: what an image with an all-zero descriptor does not have.
    """

    title: str
    reference: str
    about: str
    describe: Callable[[np.ndarray, State, Any], np.ndarray]
    keys: Mapping[str, Key] = dataclasses.field(default_factory=dict)
    fit: Callable[[Places, Any, int], tuple[State, list[str]]] = lambda places, settings, seed: (
        {},
        [],
    )
    objections: Callable[[Any, Facts], list[str]] = lambda settings, facts: []
    doubts: Callable[[Any, Facts], list[str]] = lambda settings, facts: []
    matching: Matching | None = None
    bits: int = 32
    lacks: str = "contrast"
