"""Where the cameras of a rig are, of the files that KITTI's family ships."""

import pathlib

import numpy as np

from tfds_builders.errors import RawDataError
from tfds_builders.poses import rigid, tables


def beside(path: pathlib.Path, name: str) -> np.ndarray:
    """4x4, a rectified camera to camera 0, of the row `name` (such as `P2:`) of 12 numbers `K (I | t)`.

    Raises:
      RawDataError: there is no such row.
    """
    matrix = row(path, name, 12).reshape(3, 4)
    return rigid.matrix(np.eye(3), -np.linalg.inv(matrix[:, :3]) @ matrix[:, 3])


def row(path: pathlib.Path, name: str, count: int) -> np.ndarray:
    """The `count` numbers of the row that begins with `name`; raises RawDataError."""
    named = [found for found in tables.rows(path) if found.fields[0] == name]
    if not named or len(named[0].fields) != count + 1:
        raise RawDataError(
            f"{path} has no row {name} of {count} numbers; download the calibration again"
        )
    return tables.numbers(path, named[:1], 1, count)[0]
