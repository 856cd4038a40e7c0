"""What an evaluation finds for one query split: figures, matches and curves."""

import dataclasses
import math
from collections.abc import Iterable

import numpy as np

from vprjax.evaluation import fcm

MODEL_NAMES = {  # key and title
    "off_the_shelf": "off the shelf",
    "fine_tuned": "fine-tuned",
    "baseline": "baseline",
}
BEFORE, AFTER = "off_the_shelf", "fine_tuned"  # the two models of a training run


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
class ReRanked:
    """A search in two stages beside the exact one; the figures themselves are those of both stages.

    Attributes:
      candidates: references per query that the first stage hands to the second.
      bits: of a hash.
      first_fcm: FCM, percent by tolerance, of the first stage alone.
      first_recall: recall@N by N of the first stage alone.
      exact_fcm: FCM of the exact search over all descriptors.
      exact_recall: recall@N of it.
      same_as_exact: share of all queries whose answer is the exact search's, percent.
      hash_bytes: per image, which the first stage reads.
      row_bytes: per image, of a descriptor.
      seconds: of hashing with the first stage, of the second, and of the exact search.
    """

    candidates: int
    bits: int
    first_fcm: dict[str, float]
    first_recall: dict[str, float]
    exact_fcm: dict[str, float]
    exact_recall: dict[str, float]
    same_as_exact: float
    hash_bytes: int
    row_bytes: int
    seconds: dict[str, float]

    def words(self, fcm: dict[str, float], unit: str) -> str:
        """One line: how both stages search, what the first alone and the exact search find, the cost."""
        shares = "; ".join(
            f"{t} {unit}: {shown(self.first_fcm[t], 1)}, {shown(fcm[t], 1)}, {shown(self.exact_fcm[t], 1)}"
            for t in fcm
        )
        s = self.seconds
        return (
            f"two stages: {self.bits}-bit hashes choose {self.candidates} references, whose descriptors "
            f"order them. FCM of the hashes alone, of both stages and of an exact search: {shares}. "
            f"{shown(self.same_as_exact, 1)} % of the answers are the exact search's; {self.hash_bytes} "
            f"against {self.row_bytes:,} bytes per image to search; {s['first']:.2f} + {s['second']:.2f} "
            f"against {s['exact']:.2f} s"
        )


@dataclasses.dataclass(frozen=True)
class Figures:
    """The numbers of one query split, in the order of results.json.

    Tolerances and N are keys as `keyed` writes them. Shares are percentages of the queries with a position:
    of all queries, but where the data lack some. Without any position all shares are NaN.

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
      rerank: the two stages of the search; None with `eval.rerank` 0.
      interval_exact: tolerances whose interval is Clopper-Pearson's, as the bootstrap's would have no width
        or rest on too few queries.
      with_position: count of the queries whose position is known.
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
    rerank: ReRanked | None = None
    interval_exact: list[str] = dataclasses.field(default_factory=list)
    with_position: int = 0
    warnings: list[str] = dataclasses.field(default_factory=list)

    def to_json(self) -> dict:
        """The figures as results.json keeps them: null for NaN, the last five only where they tell more."""
        out = _without_nan(dataclasses.asdict(self))
        for name in ("sequence", "rerank", "interval_exact", "warnings"):
            if not out[name]:
                del out[name]
        if self.with_position == self.queries:
            del out["with_position"]
        return out

    def position_words(self) -> str:
        """One sentence on queries without a position; empty where all have one."""
        if self.with_position == self.queries:
            return ""
        if not self.with_position:
            return f"none of {self.queries:,} queries has a position, so nothing is right or wrong"
        return (
            f"{self.with_position:,} of {self.queries:,} queries have a position, and all figures count "
            "these alone"
        )

    def exact_words(self, unit: str) -> str:
        """One sentence on the exact intervals and the queries below them; empty where there are none."""
        if not self.interval_exact:
            return ""
        shown = ", ".join(
            "{:.1f} to {:.1f} at {} {}".format(*self.interval[t], t, unit)
            for t in self.interval_exact
        )
        return (
            f"{self.with_position:,} queries with these answers are too few for a bootstrap, so the 95 % "
            f"interval is Clopper-Pearson's: {shown}"
        )


@dataclasses.dataclass(frozen=True)
class Matches:
    """The search result of every query.

    Attributes:
      query_ids: `(q,)` str.
      query_positions: `(q, 2)`, position units, NaN where unknown.
      numbers: `(q,)` number of the matched reference.
      ids: `(q,)` str, its image id.
      positions: `(q, 2)`, its position.
      errors: `(q,)` distance to the match in position units, infinite where headings differ too much, NaN
        without a position.
      distances: `(q,)` L2 distance to the match in descriptor space.
      nearest: `(q,)` number of the reference nearest in position, -1 where none faces the same way or the
        query has no position.
      nearest_errors: `(q,)` distance to that reference in position units, infinite where none faces the
        same way, NaN without a position.
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


def _without_nan(value):
    """JSON's value with None in place of NaN, at any depth."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_without_nan(item) for item in value)
    return None if isinstance(value, float) and math.isnan(value) else value


def shown(percent: float, digits: int = 2) -> str:
    """A figure as tables print it: "-" where no query has a position."""
    return "-" if math.isnan(percent) else f"{percent:.{digits}f}"


def keyed(keys: Iterable[float], values: Iterable[float]) -> dict[str, float]:
    """Values, rounded to 4 decimals, by their key as text: `{"25": 93.1034, "0.5": 12.069}`."""
    return {f"{key:g}": round(float(value), 4) for key, value in zip(keys, values, strict=True)}


def by_tolerance(tolerances: tuple[float, ...], errors: np.ndarray) -> dict[str, float]:
    """FCM, percent, by tolerance, from errors `(q,)` in position units; NaN without any error."""
    if not len(errors):
        return keyed(tolerances, [math.nan] * len(tolerances))
    return keyed(tolerances, fcm.share_within(errors, tolerances))
