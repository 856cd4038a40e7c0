"""The protocol: FCM at a ladder of tolerances, its ceiling, and recall at N. float64 positions."""

from collections.abc import Sequence

import numpy as np
from scipy.spatial import cKDTree


def fcm(
    query_positions: np.ndarray, matched_positions: np.ndarray, tolerances: Sequence[float]
) -> np.ndarray:
    """Frames correctly matched: percentage of all queries whose match lies at most `tau` away.

    `FCM(tau) = 100 * |{i : |q_i - r_i| <= tau}| / n` (paper, section IV). A query counts whether or not
    any reference exists within `tau`.

    Args:
      query_positions: `(n, 2)`, position units.
      matched_positions: `(n, 2)`, positions of each query's nearest reference by descriptor.
      tolerances: `(t,)`, position units.

    Returns:
      `(t,)` percentages.

    Raises:
      ValueError: shapes differ, there is no query, or a position is not finite.
    """
    queries, matched = _positions(query_positions), _positions(matched_positions)
    if queries.shape != matched.shape:
        raise ValueError(f"queries {queries.shape} and matches {matched.shape} differ in shape")
    return _share_within(np.linalg.norm(queries - matched, axis=1), tolerances)


def oracle_fcm(
    query_positions: np.ndarray, reference_positions: np.ndarray, tolerances: Sequence[float]
) -> np.ndarray:
    """The ceiling of FCM: percentage of all queries that have any reference at most `tau` away.

    Shapes and errors as in `fcm`, with `(r, 2)` reference positions.
    """
    queries, references = _positions(query_positions), _positions(reference_positions)
    return _share_within(cKDTree(references).query(queries)[0], tolerances)


def recall_at(
    query_positions: np.ndarray,
    reference_positions: np.ndarray,
    indices: np.ndarray,
    radius: float,
    ns: Sequence[int],
) -> np.ndarray:
    """Recall@N: percentage of all queries with a reference within `radius` among their first N.

    Args:
      query_positions: `(q, 2)`, position units.
      reference_positions: `(r, 2)`.
      indices: `(q, k)` references by descending similarity; where N exceeds k all k count.
      radius: position units.
      ns: `(m,)` values of N.

    Returns:
      `(m,)` percentages.

    Raises:
      ValueError: as in `fcm`.
    """
    queries, references = _positions(query_positions), _positions(reference_positions)
    if indices.ndim != 2 or len(indices) != len(queries):
        raise ValueError(f"indices {indices.shape} must be (q, k) for {len(queries)} queries")
    distances = np.linalg.norm(references[indices] - queries[:, None, :], axis=2)
    first_n_hit = np.logical_or.accumulate(distances <= radius, axis=1)
    return np.array([100 * first_n_hit[:, min(n, indices.shape[1]) - 1].mean() for n in ns])


def _positions(positions: np.ndarray) -> np.ndarray:
    array = np.asarray(positions, np.float64)
    if array.ndim != 2 or not len(array):
        raise ValueError(f"positions {array.shape} must be (n, 2) with at least one row")
    if not np.isfinite(array).all():
        raise ValueError("positions hold NaN or infinity")
    return array


def _share_within(distances: np.ndarray, tolerances: Sequence[float]) -> np.ndarray:
    return np.array([100 * np.mean(distances <= tolerance) for tolerance in tolerances])
