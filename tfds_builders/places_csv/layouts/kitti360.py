"""KITTI-360: pictures in `data_2d_raw/<drive>/image_00`, poses in `data_poses/<drive>/cam0_to_world.txt`.

A row holds its frame and 16 numbers, rectified camera 0 to world: not every frame has one, since a pose
is kept only where the car moved on. `poses.txt` holds those of the IMU. The world is a spherical Mercator
plane, x east and y north, whose scale is 1 at its origin.
Source: https://github.com/autonomousvision/kitti360Scripts, convertPoseToOxts.py.
"""

import functools
import math
import pathlib
from collections.abc import Iterator

import numpy as np

from tfds_builders.errors import RawDataError
from tfds_builders.places_csv.layouts import drives
from tfds_builders.places_csv.layouts.drives import Drive, Found, Shots
from tfds_builders.places_csv.layouts.folders import remedy
from tfds_builders.places_csv.layouts.variant import Layout, Told
from tfds_builders.poses import calibration, rigid, tables, times
from tfds_builders.poses.between import ascending
from tfds_builders.poses.rigid import Poses

CAMERAS = ("image_00", "image_01")
TABLE = "cam0_to_world.txt"
RADIUS, ORIGIN = 6378137.0, (48.9843445, 8.4295857)  # metres; latitude and longitude
TWINS = ("2013_05_28_drive_0002_sync", "2013_05_28_drive_0018_sync")  # the first holds the second


def world() -> str:
    """The world's plane for PROJ."""
    latitude, longitude = map(math.radians, ORIGIN)
    scale = math.cos(latitude)
    east = scale * RADIUS * longitude
    north = scale * RADIUS * math.log(math.tan(math.pi / 4 + latitude / 2))
    return f"+proj=merc +R={RADIUS} +k_0={scale!r} +x_0={-east!r} +y_0={-north!r} +units=m +no_defs"


def read_kitti360(folder: pathlib.Path, told: Told, splits: dict[str, str] | None = None):
    """Reads one perspective camera; a row and a picture belong together by their frame.

    Raises:
      RawDataError: names every problem.
    """
    chosen = drives.choose(told, splits, _posed(folder), CAMERAS)
    found = drives.read(folder, told, chosen, functools.partial(_shots, folder, told))
    told.crs = world()
    if set(TWINS) <= {drive.name for drive in chosen}:
        told.warnings.append(
            f"the first frames of {TWINS[0]} are those of {TWINS[1]}: never evaluate one against the other"
        )
    return found


def _posed(folder: pathlib.Path) -> Found:
    """Drives with pictures and poses, and those with pictures alone."""
    posed = {path.parent.name for path in folder.glob(f"data_poses/*/{TABLE}")}
    found = sorted(name for name in posed if (folder / "data_2d_raw" / name).is_dir())
    if not found:
        do = remedy(
            folder,
            [f"data_poses/*/{TABLE}", "data_2d_raw"],
            "unpack the perspective images and the vehicle poses there",
        )
        raise RawDataError(
            f"{folder} holds no data_poses/DRIVE/{TABLE} with a data_2d_raw/DRIVE; {do}"
        )
    shown = sorted(path.parts[-2] for c in CAMERAS for path in folder.glob(f"data_2d_raw/*/{c}"))
    bare = sorted({*shown} - {*found})
    return Found(found, [drives.poseless(bare, f"data_poses/DRIVE/{TABLE}")] if bare else [])


def _shots(folder: pathlib.Path, told: Told, drive: Drive) -> Shots:
    held = folder / "data_2d_raw" / drive.name / drive.camera
    files = drives.image_files(held / "data_rect", told)
    frames = drives.frame_numbers(files)
    clock = _clock(held / "timestamps.txt")
    if frames.max() >= len(clock):
        raise RawDataError(
            f"{held / 'timestamps.txt'} has {len(clock):,} rows and no time of frame "
            f"{frames.max()}; download "
            "it again"
        )
    log = read_poses(folder / "data_poses" / drive.name / TABLE)
    told.warnings += _renumbered(drive, log.times, int(frames.max()))
    if drive.camera != CAMERAS[0]:
        path = folder / "calibration/perspective.txt"
        log = rigid.mounted(log, calibration.beside(path, f"P_rect_{drive.camera[-2:]}:"))
    told.warnings += drives.imageless(drive, log.times, frames)
    poses, reasons = drives.exact(log, frames, "no pose of its frame: the car had not moved on")
    return Shots(files, poses._replace(times=clock[frames]), reasons, look=0.0)


def _renumbered(drive: Drive, posed: np.ndarray, last: int) -> Iterator[str]:
    """Yields a sentence where poses count on without a gap, and end before the `last` picture."""
    if len(posed) > 1 and (np.diff(posed) == 1).all() and posed[-1] < last:
        yield (
            f"{drive.split}: {TABLE} counts its {len(posed):,} poses on without a gap and ends "
            f"{last - posed[-1]:,} frames before the pictures: if row numbers stand for frames, each pose "
            "is another picture's; use the dataset's own file"
        )


def read_poses(path: pathlib.Path) -> Poses:
    """Poses of rectified camera 0 in the world, with frames for times; raises RawDataError."""
    table = tables.rows(path, None, [17])
    frames = np.array(tables.column(path, table, 0, _frame), np.int64)
    turns, places = tables.rigid_motions(path, table, 1, 16)
    return Poses(frames, places, turns).take(ascending(frames)[0])


def _frame(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise ValueError(f"frame {text!r} is no whole number")
    return int(text)


def _clock(path: pathlib.Path) -> np.ndarray:
    """Nanoseconds of every frame, `(n,)` int64: the line's number is the frame."""
    lines = tables.text(path).splitlines()
    table = [tables.Row(number, [line]) for number, line in enumerate(lines, 1)]
    return np.array(tables.column(path, table, 0, times.moment), np.int64)


LAYOUT = Layout(
    title="KITTI-360: drives with `cam0_to_world.txt`",
    read=read_kitti360,
    position_unit="m",
    pose_source="GPS, IMU and laser, optimised: camera 0",
    timed=True,
    keys=drives.KEYS,
)
