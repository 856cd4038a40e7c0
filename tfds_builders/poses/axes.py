"""A world's axes as east, north and up, and what a camera's rotation says there."""

import numpy as np

from tfds_builders.poses.rigid import Poses

OPTICAL = 2  # a camera looks along z
STEEP = 0.1  # horizontal part of an axis below which it has no heading: 84 degrees of pitch

# Rows: east, north, up in the world's x, y, z. Each is right-handed.
WORLDS = {
    "enu": np.eye(3),  # z up, y north
    "ned": np.array([[0.0, 1, 0], [1, 0, 0], [0, 0, -1]]),  # z down, x north
    "y-down": np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]),  # a camera's: x right, z forward
}
# Each way a world's axis may point up, and its axes as east, north and up.
UPWARD = {
    "z": WORLDS["enu"],
    "-z": WORLDS["ned"],
    "-y": WORLDS["y-down"],
    "y": np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]),
    "x": np.array([[0.0, 1, 0], [0, 0, 1], [1, 0, 0]]),
    "-x": np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]]),
}


def to_enu(poses: Poses, world: np.ndarray) -> Poses:
    """The poses with places in east, north, up; `world` is one of `WORLDS`."""
    return Poses(poses.times, poses.places @ world.T, world @ poses.turns)


def headings(turns: np.ndarray, axis: int = OPTICAL) -> np.ndarray:
    """Radians clockwise from north, `(n,)`, of one body axis in an east-north-up world.

    NaN where the axis is within 6 degrees of the vertical.
    """
    east, north = turns[:, 0, axis], turns[:, 1, axis]
    return np.where(np.hypot(east, north) > STEEP, np.arctan2(east, north), np.nan)


def uprightness(turns: np.ndarray, down: int = 1) -> float:
    """Mean vertical part of what is up for cameras, whose axis `down` is not: 1 upright, 0 aside."""
    return float(-turns[:, 2, down].mean())


def upward(turns: np.ndarray) -> str:
    """The world's axis, of `UPWARD`, that the cameras' upward axes (-y) come nearest to."""
    mean = -turns[:, :, 1].mean(axis=0)
    axis = int(np.abs(mean).argmax())
    return ("-" if mean[axis] < 0 else "") + "xyz"[axis]
