"""FCM of parts of a query split: stretches of the route, labels."""

import itertools
from collections.abc import Sequence

import numpy as np

from vprjax.evaluation.result import LabelFcm, SegmentFcm, by_tolerance

SEGMENTS = 10
LABELS = 100  # listed at most: a label per query is a name and no class of queries


def segments(
    errors: np.ndarray, tolerances: Sequence[float], numbers: np.ndarray
) -> list[SegmentFcm]:
    """FCM of `SEGMENTS` consecutive stretches of about equal length.

    Args:
      errors: `(q,)` distances of queries to their matches, position units.
      tolerances: position units.
      numbers: `(q,)` the queries' numbers in their split.
    """
    edges = np.linspace(0, len(errors), min(SEGMENTS, len(errors)) + 1).astype(int).tolist()
    return [
        SegmentFcm(int(numbers[a]), b - a, by_tolerance(tolerances, errors[a:b]))
        for a, b in itertools.pairwise(edges)
    ]


def labels(
    errors: np.ndarray, names: np.ndarray, tolerances: Sequence[float]
) -> dict[str, LabelFcm]:
    """FCM by label, of the `LABELS` labels with most queries; the empty label is left out.

    Args:
      errors: `(q,)` distances of queries to their matches, position units.
      names: `(q,)` str, the queries' labels.
      tolerances: position units.
    """
    found, which, counts = np.unique(names.astype(str), return_inverse=True, return_counts=True)
    out = {}
    for number in sorted(np.argsort(-counts, kind="stable")[:LABELS]):
        if found[number]:
            own = errors[which == number]
            out[str(found[number])] = LabelFcm(len(own), by_tolerance(tolerances, own))
    return out
