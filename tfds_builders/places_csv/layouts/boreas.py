"""Boreas: `boreas-YYYY-MM-DD-HH-MM/camera/<GPSTime>.png` and `applanix/camera_poses.csv`.

The rows hold the camera's own position, and three angles of which none alone is its heading: together
they are the rotation C = roll(r) pitch(p) yaw(h) of passive matrices, camera to east-north-up.
Source: https://github.com/utiasASRL/pyboreas, DATA_REFERENCE.md and pyboreas/utils/utils.py.
"""

import functools
import pathlib

import numpy as np

from tfds_builders.errors import RawDataError
from tfds_builders.frame import Frame
from tfds_builders.places_csv.layouts import drives
from tfds_builders.places_csv.layouts.drives import Drive, Shots
from tfds_builders.places_csv.layouts.variant import Layout, Told
from tfds_builders.poses import tables, times
from tfds_builders.poses.between import ascending
from tfds_builders.poses.rigid import Poses

TABLE = "applanix/camera_poses.csv"
CLOCKS = ("GPSTime", "ROSTime")  # the first column's names
PLACE, ANGLES = ("easting", "northing", "altitude"), ("roll", "pitch", "heading")
UTM = "EPSG:32617"  # zone 17 north
UTM_NORTHING = 4e6  # metres: no local frame reaches them


def read_boreas(folder: pathlib.Path, told: Told, splits: dict[str, str] | None = None):
    """Reads the camera of every drive; a row and an image belong together by their whole microseconds.

    Raises:
      RawDataError: names every problem.
    """
    chosen = drives.choose(told, splits, drives.find(folder, TABLE, ("camera",)), ("camera",))
    found = drives.read(folder, told, chosen, functools.partial(_shots, folder, told))
    told.crs = _crs(found)
    return found


def _shots(folder: pathlib.Path, told: Told, drive: Drive) -> Shots:
    root = folder / drive.name
    files = drives.image_files(root / drive.camera, told)
    taken = drives.named_times(files, lambda stem: times.whole(stem, "microseconds"))
    log = read_poses(root / TABLE)
    poses, reasons = drives.exact(log, taken)
    told.warnings += drives.imageless(drive, log.times, taken)
    return Shots(files, poses, reasons, look=0.0)


def read_poses(path: pathlib.Path) -> Poses:
    """The poses of a `camera_poses.csv` by time; raises RawDataError that names lines."""
    from scipy.spatial.transform import Rotation  # slow to import

    head, *table = tables.rows(path, ",")
    missing = [name for name in PLACE + ANGLES if name not in head.fields]
    if missing or head.fields[0] not in CLOCKS or not table:
        raise RawDataError(
            f"{path}:{head.line}: the columns are {','.join(head.fields)[:80]}; use the {TABLE} of the "
            "dataset, with its header and rows"
        )
    short = [row.line for row in table if len(row.fields) != len(head.fields)]
    if short:
        raise RawDataError(f"{path}:{short[0]}: the row is cut; download or copy the file again")
    clock = tables.column(path, table, 0, lambda text: times.whole(text, "microseconds"))
    values = tables.numbers(path, table, 1, len(head.fields) - 1)
    place, angles = (
        values[:, [head.fields.index(name) - 1 for name in names]] for names in (PLACE, ANGLES)
    )
    tables.check_radians(path, angles)
    known = np.isfinite(np.hstack([place, angles])).all(axis=1)
    order, _, _ = ascending(np.array(clock, np.int64)[known])
    turns = Rotation.from_euler("xyz", angles[known][order]).inv().as_matrix()
    return Poses(np.array(clock, np.int64)[known][order], place[known][order], turns)


def _crs(splits: dict[str, list[Frame]]) -> str:
    """UTM where the numbers are of its size; some releases count from a first pose."""
    every = [frame.position for frames in splits.values() for frame in frames]
    return UTM if all(north > UTM_NORTHING for _, north in every) else ""


LAYOUT = Layout(
    title="Boreas: drives with `applanix/camera_poses.csv`",
    read=read_boreas,
    position_unit="m",
    pose_source="Applanix, post-processed: the camera's poses",
    timed=True,
    keys=drives.KEYS,
)
