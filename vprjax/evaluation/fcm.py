"""The protocol: FCM at several tolerances, its ceiling, recall@N, precision and recall.

Positions and headings are float64. With headings, a reference is near only where its heading differs by
at most a tolerance.
"""

from collections.abc import Sequence

import numpy as np
from scipy.spatial import cKDTree


def fcm(
    query_positions: np.ndarray, matched_positions: np.ndarray, tolerances: Sequence[float]
) -> np.ndarray:
    """Frames correctly matched: percentage of all queries whose match lies at most `tau` away.

    `FCM(tau) = 100 * |{i : |q_i - r_i| <= tau}| / n` (paper, section IV). Every query counts, even where
    no reference lies within `tau`.

    Args:
      query_positions: `(n, 2)`, position units.
      matched_positions: `(n, 2)`, position of every query's nearest reference in descriptor space.
      tolerances: `(t,)`, position units.

    Returns:
      `(t,)` percentages.

    Raises:
      ValueError: shapes differ, there is no query, or a position is not finite.
    """
    return share_within(match_errors(query_positions, matched_positions), tolerances)


def match_errors(
    query_positions: np.ndarray,
    matched_positions: np.ndarray,
    headings: tuple[np.ndarray, np.ndarray] | None = None,
    heading_tolerance: float = np.pi,
) -> np.ndarray:
    """`(n,)` distances of queries to their matches; infinite where headings differ too much.

    Args:
      query_positions: `(n, 2)`, position units.
      matched_positions: `(n, 2)`.
      headings: of queries and matches, `(n,)` radians each.
      heading_tolerance: radians.

    Raises:
      ValueError: as in `fcm`.
    """
    queries, matched = _positions(query_positions), _positions(matched_positions)
    if queries.shape != matched.shape:
        raise ValueError(f"queries {queries.shape} and matches {matched.shape} differ in shape")
    errors = np.linalg.norm(queries - matched, axis=1)
    if headings is not None:
        errors[_turned(*headings) > heading_tolerance] = np.inf
    return errors


def share_within(errors: np.ndarray, tolerances: Sequence[float]) -> np.ndarray:
    """`(t,)` percentages of errors `(n,)` that are at most each tolerance."""
    return np.array([100 * np.mean(errors <= tolerance) for tolerance in tolerances])


def nearest_true(
    query_positions: np.ndarray,
    reference_positions: np.ndarray,
    headings: tuple[np.ndarray, np.ndarray] | None = None,
    heading_tolerance: float = np.pi,
) -> tuple[np.ndarray, np.ndarray]:
    """Distance `(q,)` and number `(q,)` of the reference nearest to every query in position.

    With headings of queries `(q,)` and references `(r,)`, only references that face the same way count:
    infinity and -1 where none does.

    Raises:
      ValueError: there is no query or reference, or a position is not finite.
    """
    queries, references = _positions(query_positions), _positions(reference_positions)
    if headings is None:
        return cKDTree(references).query(queries)
    errors, numbers = np.full(len(queries), np.inf), np.zeros(len(queries), np.int64)
    for i, query in enumerate(queries):
        found = np.linalg.norm(references - query, axis=1)
        found[_turned(headings[0][i], headings[1]) > heading_tolerance] = np.inf
        numbers[i], errors[i] = np.argmin(found), found.min()
        if np.isinf(errors[i]):
            numbers[i] = -1
    return errors, numbers


def oracle_fcm(
    query_positions: np.ndarray, reference_positions: np.ndarray, tolerances: Sequence[float]
) -> np.ndarray:
    """Ceiling of FCM: percentage `(t,)` of all queries with any reference at most `tau` away.

    Shapes and errors as in `fcm`, with reference positions `(r, 2)`.
    """
    return share_within(nearest_true(query_positions, reference_positions)[0], tolerances)


def recall_at(
    query_positions: np.ndarray,
    reference_positions: np.ndarray,
    indices: np.ndarray,
    radius: float,
    ns: Sequence[int],
    headings: tuple[np.ndarray, np.ndarray] | None = None,
    heading_tolerance: float = np.pi,
) -> np.ndarray:
    """Recall@N: percentage of all queries with a reference within `radius` among their first N.

    Args:
      query_positions: `(q, 2)`, position units.
      reference_positions: `(r, 2)`.
      indices: `(q, k)` numbers of references, nearest first; an N above k counts all k.
      radius: position units.
      ns: `(m,)` values of N.
      headings: of queries `(q,)` and references `(r,)`, radians.
      heading_tolerance: radians.

    Returns:
      `(m,)` percentages.

    Raises:
      ValueError: as in `fcm`.
    """
    queries, references = _positions(query_positions), _positions(reference_positions)
    if indices.ndim != 2 or len(indices) != len(queries):
        raise ValueError(f"indices {indices.shape} must be (q, k) for {len(queries)} queries")
    near = np.linalg.norm(references[indices] - queries[:, None, :], axis=2) <= radius
    if headings is not None:
        near &= _turned(headings[0][:, None], headings[1][indices]) <= heading_tolerance
    first_n_hit = np.logical_or.accumulate(near, axis=1)
    return np.array([100 * first_n_hit[:, min(n, indices.shape[1]) - 1].mean() for n in ns])


def precision_recall(
    distances: np.ndarray, correct: np.ndarray, possible: int
) -> tuple[np.ndarray, np.ndarray]:
    """Precision and recall `(t,)`, one entry per distinct distance in ascending order.

    A match is accepted where its distance is at most the threshold. Precision is the share of correct
    matches among the accepted; recall is the number of accepted correct matches over `possible`.

    Args:
      distances: `(n,)` distances of queries to their matches in descriptor space.
      correct: `(n,)` bool, whether the match lies within the radius.
      possible: queries that have any reference within the radius.

    Raises:
      ValueError: lengths differ, there is no query, or more are correct than possible.
    """
    distances, correct = np.asarray(distances), np.asarray(correct, bool)
    if distances.shape != correct.shape or distances.ndim != 1 or not len(distances):
        raise ValueError(f"distances {distances.shape} and correct {correct.shape} must be (n,)")
    if correct.sum() > possible:
        raise ValueError(f"{correct.sum()} queries are correct but only {possible} can be")
    order = np.argsort(distances, kind="stable")
    hits = np.cumsum(correct[order])
    last = np.append(np.flatnonzero(np.diff(distances[order])), len(order) - 1)  # of each distance
    return hits[last] / (last + 1), hits[last] / max(possible, 1)


def average_precision(precision: np.ndarray, recall: np.ndarray) -> float:
    """`100 * sum_i (R_i - R_{i-1}) P_i`, percent: area under the precision-recall steps."""
    return float(100 * np.sum(np.diff(recall, prepend=0.0) * precision))


def recall_at_full_precision(precision: np.ndarray, recall: np.ndarray) -> float:
    """Highest recall, percent, with no wrong match accepted; 0 where the nearest match is wrong."""
    return float(100 * max(recall[precision == 1.0], default=0.0))


def _turned(first, second) -> np.ndarray:
    """Absolute difference of headings, radians in `[0, pi]`."""
    return np.abs((np.asarray(first) - np.asarray(second) + np.pi) % (2 * np.pi) - np.pi)


def _positions(positions: np.ndarray) -> np.ndarray:
    array = np.asarray(positions, np.float64)
    if array.ndim != 2 or not len(array):
        raise ValueError(f"positions {array.shape} must be (n, 2) with at least one row")
    if not np.isfinite(array).all():
        raise ValueError("positions hold NaN or infinity")
    return array
