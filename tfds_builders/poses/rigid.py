"""Poses as rotations and places: of quaternions, of matrices, inverted, and of a sensor on a body.

A pose takes coordinates of its body (or camera) into the world's: `x_world = turn @ x_body + place`.
A camera looks along its z axis, and its y axis points down in the picture.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

LOOSE = 0.01  # how far a quaternion's length, or a rotation's entries, may be from exact
ORDERS = {"xyzw": [0, 1, 2, 3], "wxyz": [1, 2, 3, 0]}


class Poses(NamedTuple):
    """Poses at times.

    Attributes:
      times: `(n,)` int64 nanoseconds.
      places: `(n, 3)` metres in the world.
      turns: `(n, 3, 3)` rotations, body to world.
    """

    times: np.ndarray
    places: np.ndarray
    turns: np.ndarray

    def take(self, index) -> "Poses":
        """The poses of an index or mask."""
        return Poses(self.times[index], self.places[index], self.turns[index])


def of_quaternions(values: np.ndarray, order: str, where: Callable[[int], str]) -> np.ndarray:
    """Rotations `(n, 3, 3)` of quaternions `(n, 4)`.

    Args:
      values: quaternions of length 1.
      order: "xyzw" or "wxyz".
      where: number of a row to its file and line, for the error.

    Raises:
      ValueError: a quaternion has another length.
    """
    from scipy.spatial.transform import Rotation  # slow to import

    lengths = np.linalg.norm(values, axis=1)
    bad = np.flatnonzero(~(np.abs(lengths - 1) <= LOOSE))
    if len(bad):
        raise ValueError(
            f"{where(int(bad[0]))}: the quaternion's length is {lengths[bad[0]]:.3g}, not 1; are these its "
            "columns?"
        )
    return Rotation.from_quat(values[:, ORDERS[order]]).as_matrix()


def of_matrices(values: np.ndarray, where: Callable[[int], str]) -> tuple[np.ndarray, np.ndarray]:
    """Rotations `(n, 3, 3)` and places `(n, 3)` of rows `(n, 12)` or `(n, 16)`, row-major.

    Raises:
      ValueError: a row holds no rotation; a mirrored one, of determinant -1, is none.
    """
    matrices = values.reshape(len(values), -1, 4)[:, :3]
    turns, places = matrices[:, :, :3], matrices[:, :, 3]
    known = np.nan_to_num(turns)  # NumPy warns of NaN in a determinant
    error = np.abs(known @ known.transpose(0, 2, 1) - np.eye(3)).max(axis=(1, 2))
    bad = np.flatnonzero(~((error <= LOOSE) & (np.linalg.det(known) > 0)))
    if len(bad):
        raise ValueError(
            f"{where(int(bad[0]))}: its 3x3 part is no rotation; are these the matrix's columns?"
        )
    return turns, places


def inverse(poses: Poses) -> Poses:
    """Camera-to-world poses of world-to-camera ones, and back: the place becomes `-turn^T place`."""
    turns = poses.turns.transpose(0, 2, 1)
    return Poses(poses.times, -(turns @ poses.places[:, :, None])[:, :, 0], turns)


def mounted(poses: Poses, sensor: np.ndarray) -> Poses:
    """Poses of a sensor, from a body's and the sensor's own in the body: 4x4, sensor to body."""
    sensor = np.asarray(sensor, np.float64)
    places = poses.places + poses.turns @ sensor[:3, 3]
    return Poses(poses.times, places, poses.turns @ sensor[:3, :3])


def chained(outer: Poses, inner: Poses) -> Poses:
    """Poses of a part on a body that moves: `inner` is the part's pose in the body at the same times."""
    places = outer.places + (outer.turns @ inner.places[:, :, None])[:, :, 0]
    return Poses(outer.times, places, outer.turns @ inner.turns)


def moved(poses: Poses, world: np.ndarray) -> Poses:
    """The poses in another world: `world` is 4x4, from the poses' world into the other."""
    world = np.asarray(world, np.float64)
    return Poses(
        poses.times, poses.places @ world[:3, :3].T + world[:3, 3], world[:3, :3] @ poses.turns
    )


def matrix(turn: np.ndarray, place) -> np.ndarray:
    """4x4 of a rotation and a place."""
    found = np.eye(4)
    found[:3, :3], found[:3, 3] = turn, place
    return found
