"""TUM trajectories: `rgb.txt` (time and file of each picture) and `groundtruth.txt` beside it.

Rows hold seconds, the camera's place and its quaternion, x y z w, camera to world; z is up.
Source: https://cvg.cit.tum.de/data/datasets/rgbd-dataset/file_formats.
"""

import functools
import os
import pathlib

import numpy as np

from tfds_builders.errors import RawDataError
from tfds_builders.places_csv.layouts import drives
from tfds_builders.places_csv.layouts.drives import Drive, Shots
from tfds_builders.places_csv.layouts.variant import Layout, Told
from tfds_builders.poses import between, tables, times
from tfds_builders.poses.rigid import Poses

TABLE, LIST = "groundtruth.txt", "rgb.txt"
LARGEST_GAP = 0.2  # seconds; motion capture has 100 rows a second


def read_tum(folder: pathlib.Path, told: Told, splits: dict[str, str] | None = None):
    """Reads the pictures of every sequence's `rgb.txt`, with the poses of the rows around their times.

    Raises:
      RawDataError: names every problem.
    """
    chosen = drives.choose(told, splits, drives.find(folder, TABLE, ("rgb",)), ("rgb",))
    return drives.read(folder, told, chosen, functools.partial(_shots, folder, told), free=True)


def _shots(folder: pathlib.Path, told: Told, drive: Drive) -> Shots:
    root = folder / drive.name
    table = tables.rows(root / LIST, None, [2])
    clock = np.array(tables.column(root / LIST, table, 0, times.seconds), np.int64)
    names = [row.fields[1].replace("\\", "/") for row in table]  # some are written on Windows
    files = [pathlib.Path(os.path.normpath(root / name)) for name in names]
    outside = [n for n, path in enumerate(files) if not path.is_relative_to(folder)]
    if outside:
        line, (_, name) = table[outside[0]]
        raise RawDataError(
            f"{root / LIST}:{line}: {name} is not below {folder}, as {len(outside):,} of {len(table):,} "
            f"paths; write them from {root} on, e.g. rgb/{pathlib.PurePath(name).name}"
        )
    missing = [path for path in files if not path.is_file()]
    if missing:
        raise RawDataError(
            *(f"{root / LIST} lists {path}, which does not exist; unpack it" for path in missing)
        )
    poses, reasons = between.interpolate(read_poses(root / TABLE), clock, LARGEST_GAP)
    told.warnings += drives.lying(drive.split, poses.take(reasons == ""))
    return Shots(files, poses, reasons)


def read_poses(path: pathlib.Path) -> Poses:
    """The poses of a trajectory; raises RawDataError that names lines."""
    table = tables.rows(path, None, [8])
    clock = np.array(tables.column(path, table, 0, times.seconds), np.int64)
    values = tables.numbers(path, table, 1, 7)
    turns = tables.rotations(path, table, values[:, 3:], "xyzw")
    return Poses(clock, values[:, :3], turns).take(between.ascending(clock)[0])


LAYOUT = Layout(
    title="TUM: sequences with `rgb.txt` and `groundtruth.txt`",
    read=read_tum,
    position_unit="m",
    pose_source="motion capture, interpolated; a frame of its own",
    timed=True,
    keys=drives.KEYS,
    free=True,
)
