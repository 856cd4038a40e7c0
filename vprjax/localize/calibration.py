"""From the measure of an answer to "this is the place" or "I do not know this place".

The measure is the ratio of an answer's descriptor distance to that of the next other place (`next_place`).
It was the distance itself in earlier versions, whose files still count so. A model knows nothing of the
values at which its answers are right: data with positions tell. On queries that no training saw, `fit`
finds the largest value at which answers keep a precision, and how often answers at a value are right.

Queries of known places alone would say nothing of strange ones: where nearly all answers are right, any
value keeps the precision. So each query counts twice, once lost: with its place taken out of the map.
Lost queries are of the map's own kind; a picture of another kind is told by its likeness to the map.
"""

import dataclasses
import json
import math
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.optimize import isotonic_regression

from vprjax.errors import DataError
from vprjax.evaluation import bootstrap
from vprjax.storage import checksum
from vprjax.storage.atomic import write_atomically

FILE = "calibration.json"
NONE = np.empty(0)
REFUSED = 0.95  # share of the queries whose place the map lacks that are not located, at least
DISTANCE, RATIO = "distance", "ratio"
WORDS = {DISTANCE: "descriptor distance", RATIO: "ratio to the next other place"}  # by measure


@dataclasses.dataclass(frozen=True)
class Calibration:
    """What the measures of one model's answers mean.

    Attributes:
      model: id of the model.
      data: the queries and the map that it rests on, for people.
      queries: their count.
      radius: an answer is right up to this distance in position units; another place lies beyond it.
      precision: share of right answers that was asked for, in 0 to 1, where half of all queries are lost.
      threshold: the largest measure of an answer that counts as located; -1 where none has the precision.
      reached: precision of the located answers among these queries; 0 where there are none.
      answered: share of these queries that are located.
      distances: `(m,)` rising values of the measure.
      shares: `(m,)` falling, the share of right answers at these values.
      measure: "ratio" or "distance"; a file without it is of an earlier version and means the distance.
      plain: beside a calibration by ratios, the one of the same queries by distances. It judges answers
        without a position, which know no other place; None in files of earlier versions.
      likeness: the least `likeness` to the map of a picture that can be located; -1 refuses none, as do
        files of earlier versions.
      images: number of images of the map that it was made with, whose mean likeness counts from; 0 where it
        was made without a map, and in files of earlier versions.
    """

    model: str
    data: str
    queries: int
    radius: float
    precision: float
    threshold: float
    reached: float
    answered: float
    distances: tuple[float, ...]
    shares: tuple[float, ...]
    measure: str = DISTANCE
    plain: "Calibration | None" = None
    likeness: float = -1.0
    images: int = 0

    def __post_init__(self):
        """Raises DataError where the measure is unknown."""
        if self.measure not in WORDS:
            raise DataError(
                f"a calibration by {self.measure!r} is of a later version: install that, or calibrate again"
            )

    def judging(self, known: bool) -> "Calibration | None":
        """What judges an answer, by whether its position is known; None where nothing does."""
        return self if known or self.measure == DISTANCE else self.plain

    def confidence(self, values: np.ndarray) -> np.ndarray:
        """How often an answer of each measure is right, in 0 to 1, linear between the known ones.

        An infinite measure is of a picture unlike the map, whose confidence is the least of all.
        """
        return np.interp(values, self.distances, self.shares)

    def located(self, values: np.ndarray) -> np.ndarray:
        """Whether each measure is small enough for the precision."""
        return np.asarray(values) <= self.threshold

    def words(self, unit: str = "m") -> str:
        """The threshold and what it does, in one sentence."""
        name = WORDS[self.measure]
        if self.threshold < 0:
            return (
                f"no {name} gives {100 * self.precision:g} % right answers on "
                f"{self.queries:,} queries where as many more are lost, so nothing is located; give more "
                "queries or a lower precision"
            )
        return (
            f"of {self.queries:,} queries, {100 * self.answered:.1f} % have an answer whose {name} "
            f"is at most {self.threshold:.4f}, {100 * self.reached:.1f} % of these right within "
            f"{self.radius:g} {unit}"
        )

    def write(self, path: pathlib.Path) -> None:
        """Writes a sealed JSON file atomically.

        Raises:
          OSError: the file cannot be written.
        """
        values = checksum.seal(json.loads(json.dumps(dataclasses.asdict(self))))
        write_atomically(path, json.dumps(values, indent=2) + "\n")


def read(path: pathlib.Path) -> Calibration:
    """The calibration of a file.

    Raises:
      DataError: it is missing, damaged or of something else.
    """
    try:
        return from_json(checksum.unseal(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} is no calibration ({type(error).__name__}: {error}); run "
            "python -m vprjax.localize calibrate again"
        ) from error


def from_json(values: Mapping[str, Any]) -> Calibration:
    """The calibration whose fields these are.

    Raises:
      DataError: the measure is unknown.
      TypeError: a field is missing or unknown.
    """
    columns = {name: tuple(values[name]) for name in ("distances", "shares")}
    plain = values.get("plain")
    return Calibration(**{**values, **columns, "plain": from_json(plain) if plain else None})


def fit(
    values: np.ndarray, right: np.ndarray, precision: float, lost: np.ndarray = NONE, **facts
) -> Calibration:
    """Calibrates on the answers to queries with known positions.

    Half of all queries are taken as lost. The threshold is the largest `t` at which answers with
    `value <= t` are right in a share of at least `precision`, and a share `REFUSED` of the lost queries'
    answers lies above it. Shares fall with the value (isotonic regression); a block of `n` answers of
    which `k` are right counts as `(k + 1/2) / (n + 1)`, so that few answers never make certainty.

    Args:
      values: `(q,)` measures of the queries' answers, infinite where a query is unlike the map.
      right: `(q,)` bool.
      precision: in 0 to 1.
      lost: `(m,)` measures of answers to queries whose place the map lacks; none by default.
      facts: `model`, `data`, `radius`, `measure` and `likeness` of the calibration.

    Raises:
      ValueError: there is no query, lengths differ, or the precision is not in 0 to 1.
    """
    values, right = np.asarray(values, np.float64), np.asarray(right, bool)
    if not 0 < precision <= 1:
        raise ValueError(f"precision {precision:g} must be above 0 and at most 1")
    threshold = _threshold(values, right, np.sort(lost), precision)
    located = values <= threshold
    every, good = np.concatenate([values, lost]), np.concatenate([right, np.zeros(len(lost))])
    weights = np.ones(len(every))
    weights[len(values) :] = len(values) / max(1, len(lost))
    alike = np.isfinite(every)
    knots, shares = _shares(every[alike], good[alike], weights[alike])
    return Calibration(
        queries=len(right),
        precision=float(precision),
        threshold=threshold,
        reached=float(right[located].mean()) if located.any() else 0.0,
        answered=float(located.mean()),
        distances=tuple(knots.tolist()),
        shares=tuple(shares.tolist()),
        **facts,
    )


def _threshold(values, right, lost, precision: float) -> float:
    """The largest value up to which enough answers are right and few lost ones located; -1 for none."""
    order = np.argsort(values, kind="stable")[: np.isfinite(values).sum()]
    rising = values[order]
    ends = np.append(np.diff(rising) > 0, True)[: len(order)]  # equal values are located together
    strange = np.searchsorted(lost, rising, side="right") / max(1, len(lost))
    shares = np.cumsum(right[order]) / (np.arange(1, len(order) + 1) + len(values) * strange)
    enough = np.flatnonzero(ends & (strange <= 1 - REFUSED + 1e-9) & (shares >= precision))
    return float(rising[enough[-1]]) if len(enough) else -1.0


def _shares(values, right, weights) -> tuple[np.ndarray, np.ndarray]:
    """Values `(m,)` and falling shares `(m,)` of right answers there: the ends of every block."""
    order = np.argsort(values, kind="stable")
    found = isotonic_regression(right[order], weights=weights[order], increasing=False)
    starts = found.blocks
    counts = np.add.reduceat(weights[order], starts[:-1])
    hits = np.add.reduceat((right * weights)[order], starts[:-1])
    shares = np.minimum.accumulate((hits + 0.5) / (counts + 1))
    ends = np.stack([values[order][starts[:-1]], values[order][starts[1:] - 1]], axis=1)
    knots, first = np.unique(ends.ravel(), return_index=True)
    return knots, np.repeat(shares, 2)[first]


@dataclasses.dataclass(frozen=True)
class Check:
    """How a calibration does on other queries; shares in 0 to 1, intervals at 95 %.

    Attributes:
      queries: count.
      answered: share of queries that are located.
      answered_interval: of that share.
      precision: share of right answers among the located; NaN where there are none.
      precision_interval: of that share.
    """

    queries: int
    answered: float
    answered_interval: tuple[float, float]
    precision: float
    precision_interval: tuple[float, float]

    def words(self) -> str:
        """The figures as one sentence."""
        located = "{:.1f} % [{:.1f}, {:.1f}] of {:,} queries are located".format(
            100 * self.answered, *(100 * x for x in self.answered_interval), self.queries
        )
        if math.isnan(self.precision):
            return located
        return located + ", {:.1f} % [{:.1f}, {:.1f}] of these rightly".format(
            100 * self.precision, *(100 * x for x in self.precision_interval)
        )


def check(calibration: Calibration, values: np.ndarray, right: np.ndarray) -> Check:
    """Measures a calibration on answers, their measures `values (q,)` and `right (q,)`, in time order.

    Raises:
      ValueError: there is no query.
    """
    located, right = calibration.located(values), np.asarray(right, bool)
    answered, _ = bootstrap.share_interval(located[:, None])
    precision, bounds = math.nan, (0.0, 1.0)
    if located.any():
        own, _ = bootstrap.share_interval(right[located][:, None])
        precision, bounds = float(right[located].mean()), tuple(map(float, own[0]))
    return Check(
        len(right), float(located.mean()), tuple(map(float, answered[0])), precision, bounds
    )
