"""What an evaluation finds for one query split: figures, matches and curves."""

import dataclasses
from collections.abc import Iterable

import numpy as np

from vprjax.evaluation import fcm

MODEL_NAMES = {"off_the_shelf": "off the shelf", "fine_tuned": "fine-tuned"}  # key and title


@dataclasses.dataclass(frozen=True)
class SegmentFcm:
    """FCM of consecutive queries.

    Attributes:
      first: number of the segment's first query.
      queries: count.
      fcm: percent by tolerance.
    """

    first: int
    queries: int
    fcm: dict[str, float]


@dataclasses.dataclass(frozen=True)
class LabelFcm:
    """FCM, percent by tolerance, of the `queries` queries that carry one label."""

    queries: int
    fcm: dict[str, float]


@dataclasses.dataclass(frozen=True)
class SequenceFcm:
    """FCM, percent by tolerance, of matching the last `length` frames together."""

    length: int
    fcm: dict[str, float]


@dataclasses.dataclass(frozen=True)
class Figures:
    """The numbers of one query split, in the order of results.json.

    Tolerances and N are keys as `keyed` writes them, shares are percentages of all queries.

    Attributes:
      fcm: FCM by tolerance.
      interval: 95 % interval of FCM by tolerance, by block bootstrap.
      oracle_fcm: ceiling of FCM by tolerance.
      segments: FCM of consecutive stretches of the route.
      labels: FCM by the queries' label; empty where queries carry none.
      recall: recall@N by N.
      queries: count.
      references: count.
      average_precision: area under the precision-recall curve, percent.
      recall_at_full_precision: highest recall without a wrong match, percent.
      sequence: FCM of sequence matching; None with `eval.sequence_length` 1.
      interval_exact: tolerances whose interval is Clopper-Pearson's, as the bootstrap's would have no width
        or rest on too few queries.
      warnings: sentences on what makes these figures doubtful.
    """

    fcm: dict[str, float]
    interval: dict[str, tuple[float, float]]
    oracle_fcm: dict[str, float]
    segments: list[SegmentFcm]
    labels: dict[str, LabelFcm]
    recall: dict[str, float]
    queries: int
    references: int
    average_precision: float
    recall_at_full_precision: float
    sequence: SequenceFcm | None = None
    interval_exact: list[str] = dataclasses.field(default_factory=list)
    warnings: list[str] = dataclasses.field(default_factory=list)

    def to_json(self) -> dict:
        """The figures as results.json keeps them: the last three only where there are any."""
        out = dataclasses.asdict(self)
        for name in ("sequence", "interval_exact", "warnings"):
            if not out[name]:
                del out[name]
        return out

    def exact_words(self, unit: str) -> str:
        """One sentence on the exact intervals and the queries below them; empty where there are none."""
        if not self.interval_exact:
            return ""
        shown = ", ".join(
            "{:.1f} to {:.1f} at {} {}".format(*self.interval[t], t, unit)
            for t in self.interval_exact
        )
        return (
            f"{self.queries:,} queries with these answers are too few for a bootstrap, so the 95 % "
            f"interval is Clopper-Pearson's: {shown}"
        )


@dataclasses.dataclass(frozen=True)
class Matches:
    """The search result of every query.

    Attributes:
      query_ids: `(q,)` str.
      query_positions: `(q, 2)`, position units.
      numbers: `(q,)` number of the matched reference.
      ids: `(q,)` str, its image id.
      positions: `(q, 2)`, its position.
      errors: `(q,)` distance to the match in position units, infinite where headings differ too much.
      distances: `(q,)` L2 distance to the match in descriptor space.
      nearest: `(q,)` number of the reference nearest in position, -1 where none faces the same way.
      nearest_errors: `(q,)` distance to that reference in position units, infinite where none does.
    """

    query_ids: np.ndarray
    query_positions: np.ndarray
    numbers: np.ndarray
    ids: np.ndarray
    positions: np.ndarray
    errors: np.ndarray
    distances: np.ndarray
    nearest: np.ndarray
    nearest_errors: np.ndarray


@dataclasses.dataclass(frozen=True)
class Curves:
    """What figures draw as lines; shares in percent.

    Attributes:
      tolerances: `(t,)` position units.
      fcm: `(t,)`.
      oracle_fcm: `(t,)`.
      precision: `(p,)`.
      recall: `(p,)`.
    """

    tolerances: np.ndarray
    fcm: np.ndarray
    oracle_fcm: np.ndarray
    precision: np.ndarray
    recall: np.ndarray


@dataclasses.dataclass(frozen=True)
class Result:
    """All findings of one model on one query split.

    Attributes:
      figures: what results.json keeps.
      matches: what `matches/*.csv` keeps, and more for pictures.
      curves: for pictures.
      strip: `(a, b)` float32, descriptor distances of evenly spread queries and references.
    """

    figures: Figures
    matches: Matches
    curves: Curves
    strip: np.ndarray


Results = dict[str, dict[str, Result]]  # by model and query split


def keyed(keys: Iterable[float], values: Iterable[float]) -> dict[str, float]:
    """Values, rounded to 4 decimals, by their key as text: `{"25": 93.1034, "0.5": 12.069}`."""
    return {f"{key:g}": round(float(value), 4) for key, value in zip(keys, values, strict=True)}


def by_tolerance(tolerances: tuple[float, ...], errors: np.ndarray) -> dict[str, float]:
    """FCM, percent, by tolerance, from errors `(q,)` in position units."""
    return keyed(tolerances, fcm.share_within(errors, tolerances))
