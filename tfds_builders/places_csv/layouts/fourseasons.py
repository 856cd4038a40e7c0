"""4Seasons: `recording_.../GNSSPoses.txt`, `Transformations.txt` and `undistorted_images/cam0/<ns>.png`.

Poses are of the left camera in the world of the visual odometry, which is turned and scaled. The chain
`e_gpsw inv(w_gpsw) S_AS scale T` takes them to the earth's centre.
Source: https://github.com/pmwenzel/4seasons-dataset, README.
"""

import pathlib
from typing import NamedTuple

import numpy as np

from tfds_builders.errors import RawDataError
from tfds_builders.places_csv.layouts import drives, earth
from tfds_builders.places_csv.layouts.drives import Drive, Shots
from tfds_builders.places_csv.layouts.variant import Layout, Told
from tfds_builders.poses import rigid, tables, times
from tfds_builders.poses.between import ascending
from tfds_builders.poses.rigid import Poses

TABLE, CHAIN = "GNSSPoses.txt", "Transformations.txt"
IMAGES = ("undistorted_images", "distorted_images")
CAMERAS = ("cam0", "cam1")
STEREO = "undistorted_calib_stereo.txt"  # left to right camera
WIDTHS = (9, 10, 11)  # the header names 11 columns, and the rows hold 10


class Chain(NamedTuple):
    """4x4 matrices of `Transformations.txt`."""

    s_as: np.ndarray
    w_gpsw: np.ndarray
    e_gpsw: np.ndarray


def read_fourseasons(folder: pathlib.Path, told: Told, splits: dict[str, str] | None = None):
    """Reads the keyframes of every recording, into one UTM zone; other images have no pose.

    Images and rows belong together by their whole nanoseconds.

    Raises:
      RawDataError: names every problem.
    """
    chosen = drives.choose(told, splits, drives.find(folder, TABLE, IMAGES), CAMERAS)
    shots = {drive: _shots(folder, told, drive) for drive in chosen}
    return drives.read(folder, told, chosen, earth.on_one_map(shots, told).__getitem__)


def _shots(folder: pathlib.Path, told: Told, drive: Drive) -> Shots:
    """The images of a recording with poses from the earth's centre."""
    root = folder / drive.name
    held = next((root / name for name in IMAGES if (root / name).is_dir()), root / IMAGES[0])
    files = drives.image_files(held / drive.camera, told)
    taken = drives.named_times(files, lambda stem: times.whole(stem, "nanoseconds"))
    log, _ = read_poses(root)
    if drive.camera == CAMERAS[1]:
        log = rigid.mounted(log, np.linalg.inv(_stereo(root)))
    poses, reasons = drives.exact(log, taken, "no keyframe")
    told.warnings += drives.imageless(drive, log.times, taken)
    return Shots(files, poses, reasons, look=0.0)


def read_poses(root: pathlib.Path) -> tuple[Poses, Poses]:
    """The left camera's poses from the earth's centre, and in the local east-north-up frame."""
    path = root / TABLE
    table = tables.rows(path, ",", WIDTHS)
    nanos = np.array(tables.column(path, table, 0, lambda t: times.whole(t, "nanoseconds")))
    order, _, _ = ascending(nanos)
    table, nanos = [table[i] for i in order], nanos[order]
    values = tables.numbers(path, table, 1, 8)
    turns = tables.rotations(path, table, values[:, 3:7], "xyzw")
    chain = read_chain(root / CHAIN)
    scaled = Poses(nanos, values[:, :3] * values[:, 7:8], turns)
    local = rigid.moved(scaled, np.linalg.inv(chain.w_gpsw) @ chain.s_as)
    return rigid.moved(local, chain.e_gpsw), local


def read_chain(path: pathlib.Path) -> Chain:
    """The matrices of `Transformations.txt`: a comment names each, the line after it holds 7 numbers."""
    found, name = {}, ""
    for number, line in enumerate(tables.text(path).splitlines(), 1):
        if line.startswith("#"):
            name = line.strip("# ").partition(":")[0]
        elif line.strip() and name in ("transform_S_AS", "transform_w_gpsw", "transform_e_gpsw"):
            row = tables.Row(number, line.split(","))
            values = tables.numbers(path, [row], 0, 7)
            turn = tables.rotations(path, [row], values[:, 3:], "xyzw")
            found[name.removeprefix("transform_").lower()] = rigid.matrix(turn[0], values[0, :3])
    missing = [name for name in Chain._fields if name not in found]
    if missing:
        raise RawDataError(
            f"{path} has no transform_{', transform_'.join(missing)}; download the recording's file again"
        )
    return Chain(**found)


def _stereo(root: pathlib.Path) -> np.ndarray:
    path = root / STEREO
    return tables.numbers(path, tables.rows(path, None, [4]), 0, 4)


LAYOUT = Layout(
    title="4Seasons: recordings with `GNSSPoses.txt`",
    read=read_fourseasons,
    position_unit="m",
    pose_source="GNSS and visual odometry: keyframes",
    timed=True,
    keys=drives.KEYS,
)
