"""The choice of a blend on validation and on a keep set, neither of which is a test."""

import dataclasses
from collections.abc import Callable

import numpy as np

from vprjax.console import log
from vprjax.data import protocol, together
from vprjax.data.source import Places
from vprjax.descriptors.extraction import Extractor
from vprjax.evaluation import elsewhere, measure
from vprjax.evaluation.blend import Blend, Ends, Point
from vprjax.evaluation.elsewhere import Elsewhere
from vprjax.runtime import parallel

GRID = tuple(n / 10 for n in range(11))


def choose(ends: Ends, blend: Blend, score: Callable[[dict], tuple]) -> Blend:
    """Returns the blend at the share of `GRID` with the highest score, the smallest of equals.

    Args:
      ends: the parameters.
      blend: runs, weights and the keep set's name.
      score: `variables -> (home, keep or None)`, as `Point` has them.
    """
    curve = []
    for share in GRID:
        tried = dataclasses.replace(blend, share=share)
        curve.append(point := Point(share, *score(ends.at(tried))))
        keep = "" if point.keep is None else f", on {blend.keep} {point.keep:.1f}"
        log(f"blend {share:g}: mean FCM on validation {point.home:.1f}{keep}")
    best = max(range(len(curve)), key=lambda number: (curve[number].score, -number))
    share = GRID[parallel.from_first(best)]
    return dataclasses.replace(blend, share=share, curve=tuple(curve))


def scorer(
    config, extract: Extractor, held_out: tuple[Places, Places], keep: Elsewhere | None
) -> Callable[[dict], tuple]:
    """Returns `choose`'s score: FCM in percent, the mean over tolerances.

    Args:
      config: the whole config that validation counts by.
      extract: the model's extractor.
      held_out: queries and references of validation.
      keep: the keep set; its score is the mean over its query splits. None scores validation alone.

    Raises:
      ConfigError: no query of the keep set has a position.
    """
    splits = [] if keep is None else elsewhere.answerable(keep)

    def score(variables: dict) -> tuple[float, float | None]:
        replicated = parallel.replicate(variables)

        def described(places: Places, positives=None) -> measure.Described:
            frames = together.frames_of(places)
            rows = extract(replicated, frames, np.arange(len(frames)), "describe for the blend")
            return measure.Described(places, together.described(places, rows), positives)

        home = measure.mean_of(measure.fcm_of(config, *map(described, held_out)))
        if keep is None:
            return home, None
        reference = keep.config.dataset.reference_split
        references = described(keep.dataset.places((reference,)))
        found = []
        for split in splits:
            listed = protocol.positives(keep.dataset, split, reference)
            queries = described(keep.dataset.places((split,)), listed)
            found.append(measure.mean_of(measure.fcm_of(keep.config, queries, references)))
        return home, round(float(np.mean(found)), 4)

    return score
