"""What changed between two models on the same queries: the one home of the paired difference."""

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np

from vprjax.evaluation import bootstrap
from vprjax.evaluation.result import Result


@dataclasses.dataclass(frozen=True)
class Change:
    """From one model's right answers to another's; shares in percent.

    Attributes:
      queries: count of the queries that both models answer.
      before: share that the first model has right.
      after: share that the second model has right.
      difference: points, after minus before.
      interval: 95 % interval of the difference, by `bootstrap.paired_shares`.
      p: two-sided, of no difference.
      lost: count of the queries that the first model alone has right.
      gained: count of the queries that the second model alone has right.
    """

    queries: int
    before: float
    after: float
    difference: float
    interval: tuple[float, float]
    p: float
    lost: int
    gained: int

    @property
    def worse(self) -> bool:
        """Whether the interval lies wholly below 0."""
        return self.interval[1] < 0

    def to_json(self) -> dict:
        """As results.json keeps it."""
        return dataclasses.asdict(self)


def change(before: np.ndarray, after: np.ndarray) -> Change:
    """Compares right answers `(n,)` bool of two models, in time order.

    Raises:
      ValueError: lengths differ or there is no query.
    """
    gap, bounds, p = bootstrap.paired_shares(before, after)
    low, high = (round(100 * float(end), 4) for end in bounds)
    return Change(
        queries=len(before),
        before=round(100 * float(before.mean()), 4),
        after=round(100 * float(after.mean()), 4),
        difference=round(100 * gap, 4),
        interval=(low, high),
        p=round(p, 4),
        lost=int(np.count_nonzero(before & ~after)),
        gained=int(np.count_nonzero(after & ~before)),
    )


def by_tolerance(
    before: np.ndarray, after: np.ndarray, tolerances: Iterable[float]
) -> dict[str, Change]:
    """`change` by tolerance, from errors `(n,)` of both models in position units.

    Queries without a position (NaN) are left out; without any query the result is empty.
    """
    known = np.isfinite(before) | np.isinf(before)
    if not known.any():
        return {}
    pair = before[known], after[known]
    return {f"{t:g}": change(*(errors <= t for errors in pair)) for t in tolerances}


def of_results(by_model: dict[str, Result], tolerances: Sequence[float]) -> dict[str, Change]:
    """`by_tolerance` from the first model of a query split to the last; empty for one model."""
    if len(by_model) < 2:
        return {}
    every = [result.matches.errors for result in by_model.values()]
    return by_tolerance(every[0], every[-1], tolerances)
