"""The two poses of a log around a time: no extrapolation, and nothing across a gap."""

from typing import NamedTuple

import numpy as np

from tfds_builders.poses.rigid import Poses

OUTSIDE, GAP = "outside the pose log", "gap in the pose log"


class Between(NamedTuple):
    """Where times lie in a log.

    Attributes:
      before: `(n,)` number of the pose at or before each time.
      after: `(n,)` number of the pose at or after it.
      share: `(n,)` of the way from one to the other.
      outside: `(n,)` bool, before the first or after the last pose.
      gap: `(n,)` bool, the two poses lie too far apart.
    """

    before: np.ndarray
    after: np.ndarray
    share: np.ndarray
    outside: np.ndarray
    gap: np.ndarray


def locate(log: np.ndarray, times: np.ndarray, max_gap: float) -> Between:
    """Finds int64 `times` in a log of strictly ascending int64 times; all in one unit."""
    after = np.searchsorted(log, times, side="left")
    exact = (after < len(log)) & (log[np.minimum(after, len(log) - 1)] == times)
    outside = (after == len(log)) | ((after == 0) & ~exact)
    after = np.clip(after, 0, len(log) - 1)
    before = np.where(exact, after, np.maximum(after - 1, 0))
    span = np.maximum(log[after] - log[before], 1)
    share = (times - log[before]) / span
    return Between(before, after, share, outside, log[after] - log[before] > max_gap)


def ascending(times: np.ndarray) -> tuple[np.ndarray, int, int]:
    """The rows by strictly ascending time, the first of each, and the counts of repeated and unsorted rows.

    Published archives hold both.
    """
    order = np.argsort(times, kind="stable")
    keep = np.concatenate([[True], np.diff(times[order]) > 0])
    unsorted = int((times < np.maximum.accumulate(times)).sum())
    return order[keep], int((~keep).sum()), unsorted


def interpolate(log: Poses, times: np.ndarray, max_gap: float) -> tuple[Poses, np.ndarray]:
    """The poses at `times`: places linear in time, rotations about one axis at constant speed (slerp).

    Args:
      log: poses of strictly ascending times.
      times: `(n,)` int64 nanoseconds.
      max_gap: seconds between two poses, above which nothing between them has one.

    Returns:
      Poses, valid where the reason is "", and the `(n,)` reasons why one has none.
    """
    from scipy.spatial.transform import Rotation  # slow to import

    found = locate(log.times, times, max_gap * 1e9)
    turns = log.turns[found.before]
    turn = Rotation.from_matrix(turns.transpose(0, 2, 1) @ log.turns[found.after]).as_rotvec()
    part = Rotation.from_rotvec(found.share.clip(0, 1)[:, None] * turn).as_matrix()
    return Poses(times, _places(log, found), turns @ part), _reasons(found)


def interpolate_places(log: Poses, times: np.ndarray, max_gap: float) -> tuple[Poses, np.ndarray]:
    """`interpolate` of a log without rotations, whose poses keep none (NaN)."""
    found = locate(log.times, times, max_gap * 1e9)
    nothing = np.full((len(times), 3, 3), np.nan)
    return Poses(times, _places(log, found), nothing), _reasons(found)


def _places(log: Poses, found: Between) -> np.ndarray:
    first = log.places[found.before]
    return first + found.share[:, None] * (log.places[found.after] - first)


def _reasons(found: Between) -> np.ndarray:
    return np.select([found.outside, found.gap], [OUTSIDE, GAP], "")
