"""Validation during training: a held-out segment of the training route, or named splits."""

import dataclasses
from collections.abc import Collection

import numpy as np
from scipy.spatial import cKDTree

from vprjax.data import source
from vprjax.data.source import Places
from vprjax.descriptors.extraction import Extractor
from vprjax.errors import ConfigError
from vprjax.evaluation import measure
from vprjax.sampling import mining
from vprjax.storage.checkpoint import best_of


@dataclasses.dataclass(frozen=True)
class Validation:
    """Queries that training never sees, and their references.

    Training may see the references where they are a named split.
    """

    queries: Places
    references: Places

    def __len__(self) -> int:
        """Returns the number of images that one validation describes."""
        return len(self.queries) + len(self.references)

    def measure(self, config, extract: Extractor, variables, step: int) -> dict[str, float]:
        """Measures FCM by tolerance, and as `mean` the mean over tolerances, which ranks checkpoints."""
        words = f"validate at step {step}"
        sides = [
            measure.Described(x, extract(variables, x, np.arange(len(x)), words))
            for x in (self.queries, self.references)
        ]
        found = measure.fcm_of(config, *sides)
        return {**found, "mean": measure.mean_of(found)}


def split_off(config, places: Places, dataset: source.Dataset) -> tuple[Places, Validation | None]:
    """Returns the images left to train on, and the config's validation.

    `validation.query_split` names a split that is matched to `validation.reference_split`. Without it, the
    held-out segment is the last share `validation.stretch` of the first training split's route. Where laps
    make that every place, it is the last share of the split's longest visit.

    The references are the first split's images on the segment. The queries are images of other visits
    within `tuples.positive_radius` of them. Training leaves out every image within
    `tuples.negative_radius` of the segment. Visits are those of `mining.visits`, or the splits where
    `tuples.other_visit_seconds` is 0.

    Raises:
      ConfigError: the held-out segment has no second visit, or no image is left to train on.
    """
    v, tuples = config.validation, config.tuples
    if not v.every:
        return places, None
    if v.query_split:
        queries, references = (
            dataset.places((name,)) for name in (v.query_split, v.reference_split)
        )
        return places, Validation(queries, references)
    visit = places.splits  # without a pause between visits: a neighbouring frame is no other visit
    if tuples.other_visit_seconds:
        visit = mining.visits(places.timestamps, places.splits, tuples.other_visit_seconds)
    first = np.flatnonzero(places.splits == 0)
    lap = first[visit[first] == np.bincount(visit[first]).argmax()]
    for route in (first, lap):
        references = _end_of_route(places, route, v.stretch, tuples.negative_radius)
        gap, _ = cKDTree(places.positions[references]).query(places.positions)
        others = np.isin(visit, visit[references], invert=True)
        queries = np.flatnonzero(others & (gap <= tuples.positive_radius))
        rest = np.flatnonzero(gap > tuples.negative_radius)
        if len(queries) and len(rest):
            validation = Validation(places.subset(queries), places.subset(references))
            return places.subset(rest), validation
    if visit.min() == visit.max():
        raise ConfigError(
            "validation.every holds out a stretch that two visits show, but the training images are of one "
            f"visit (tuples.other_visit_seconds={tuples.other_visit_seconds:g}): name a second split in "
            "dataset.train_splits, a split in validation.query_split and validation.reference_split, or, "
            "where the split returns, its pause in tuples.other_visit_seconds"
        )
    raise ConfigError(
        f"validation.stretch={v.stretch:g} of the training route leaves {len(queries)} queries from "
        f"another visit and {len(rest)} images to train on, but both are needed: change it or name "
        "validation.query_split and validation.reference_split"
    )


def _end_of_route(places: Places, route: np.ndarray, share: float, longest: float) -> np.ndarray:
    """Returns those images of `route` that lie on the last `share` of its travelled distance.

    Steps longer than `longest` (a new lap, a cut recording) do not count.
    """
    steps = np.linalg.norm(np.diff(places.positions[route], axis=0), axis=1)
    steps = np.where(steps > longest, 0.0, steps)
    travelled = np.concatenate([[0.0], np.cumsum(steps)])
    return route[travelled >= (1 - share) * travelled[-1]]


def doubts(config, rows: list[list[float]]) -> list[str]:
    """A sentence where validations, `History.rows`, compared descriptors that evaluation reduces first."""
    if not (config.eval.pca and rows):
        return []
    return [
        f"validation chose by whole descriptors and these figures follow eval.pca={config.eval.pca}: "
        "another step may be best here; model.projection counts in both"
    ]


class History:
    """The validations so far: which step is best, and whether to stop.

    Attributes:
      rows: `[step, mean FCM]` of every validation; checkpoints save them.
    """

    def __init__(self, patience: int, rows: list[list[float]]):
        """Stops after `patience` validations without a better one; 0 never stops."""
        self._patience, self.rows = patience, rows

    def add(self, step: int, score: float) -> None:
        """Adds one validation."""
        self.rows.append([step, score])

    @property
    def last(self) -> int:
        """The step of the last validation, or 0 before the first."""
        return int(self.rows[-1][0]) if self.rows else 0

    @property
    def best(self) -> int | None:
        """The step of the highest score, the earliest of equals, or None before the first validation."""
        return self.best_of([row[0] for row in self.rows])

    def best_of(self, steps: Collection[float]) -> int | None:
        """Returns the best of `steps`, or None where none of them is validated."""
        return best_of(self.rows, steps)

    @property
    def ended(self) -> bool:
        """Whether `patience` validations have passed since the best one."""
        since = [row for row in self.rows if row[0] > self.best] if self.rows else []
        return bool(self._patience) and len(since) >= self._patience
