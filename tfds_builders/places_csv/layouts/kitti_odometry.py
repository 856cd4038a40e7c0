"""KITTI odometry: `sequences/00/image_0/000000.png`, its `times.txt`, and `poses/00.txt`.

A row of 12 numbers is the rotation and place of camera 0 in the first camera's frame, x right, y down,
z forward. The plan is (x, z); what is called north here is where the first image looks.
"""

import functools
import pathlib
from collections.abc import Iterator

import numpy as np

from tfds_builders.errors import RawDataError
from tfds_builders.places_csv.layouts import drives
from tfds_builders.places_csv.layouts.drives import Drive, Found, Shots
from tfds_builders.places_csv.layouts.folders import is_hidden, remedy
from tfds_builders.places_csv.layouts.variant import Layout, Told
from tfds_builders.poses import axes, calibration, rigid, tables, times
from tfds_builders.poses.rigid import Poses

CAMERAS = ("image_0", "image_1", "image_2", "image_3")
START = 0.05  # metres, and entries of a rotation, by which the first row may differ from none


def read_kitti(folder: pathlib.Path, told: Told, splits: dict[str, str] | None = None):
    """Reads the sequences that have poses (00 to 10); row number, frame and picture's name are one.

    Raises:
      RawDataError: names every problem.
    """
    chosen = drives.choose(told, splits, _posed(folder), _cameras(folder))
    return drives.read(folder, told, chosen, functools.partial(_shots, folder, told))


def _posed(folder: pathlib.Path) -> Found:
    """Sequences with times and poses, and those with pictures that lack either."""
    sequences = folder / "sequences"
    shown = {p.parent.name for p in sequences.glob("*/image_*") if not is_hidden(p.parent.name)}
    timed = {path.parent.name for path in sequences.glob("*/times.txt")}
    posed = {path.stem for path in (folder / "poses").glob("*.txt")}
    clockless = sorted(shown & posed - timed)
    unpack = f"no sequences/{clockless[0]}/times.txt" if clockless else ""
    unpack += "; unpack the archive of the calibration files, which holds it" if clockless else ""
    found = sorted(timed & posed)
    if not found:
        do = remedy(
            folder,
            ["sequences/*/times.txt", "poses/*.txt"],
            f"there is {unpack}"
            if unpack
            else "unpack the odometry images, calibration and ground truth poses there",
        )
        raise RawDataError(
            f"{folder} holds no sequences/NN/times.txt with a poses/NN.txt (only 00 to 10 have poses); "
            f"{do}"
        )
    bare = [f"{', '.join(clockless)}: left out, with pictures but {unpack}"] if unpack else []
    if poseless := sorted(shown - posed):
        bare.append(
            f"{', '.join(poseless)}: left out, with pictures but no poses/NN.txt (only 00 to 10 have one)"
        )
    return Found(found, bare)


def _cameras(folder: pathlib.Path) -> tuple[str, ...]:
    """The cameras, those first that any sequence has: colour images are a download of their own."""
    held = {p.name for p in folder.glob("sequences/*/image_*") if not is_hidden(p.name)}
    return tuple(sorted(CAMERAS, key=lambda name: name not in held))


def _shots(folder: pathlib.Path, told: Told, drive: Drive) -> Shots:
    root, path = folder / "sequences" / drive.name, folder / f"poses/{drive.name}.txt"
    files = drives.image_files(root / drive.camera, told)
    table = tables.rows(path, None, [12])
    turns, places = tables.rigid_motions(path, table, 0)
    clock = read_times(root / "times.txt")
    if len(clock) != len(table):
        raise RawDataError(
            f"{path} has {len(table):,} rows where {root / 'times.txt'} has {len(clock):,}; these "
            "are of two "
            "sequences, or a file is cut"
        )
    log = Poses(clock, places, turns)
    told.warnings += _late(drive, path, log)
    if drive.camera != "image_0":
        log = rigid.mounted(log, calibration.beside(root / "calib.txt", f"P{drive.camera[-1]}:"))
    frames = drives.frame_numbers(files)
    told.warnings += drives.imageless(drive, np.arange(len(table)), frames)
    there = np.minimum(frames, len(table) - 1)
    reasons = np.where(frames < len(table), "", "no row of its frame")
    return Shots(files, axes.to_enu(log.take(there), axes.WORLDS["y-down"]), reasons, look=0.0)


def _late(drive: Drive, path: pathlib.Path, log: Poses) -> Iterator[str]:
    """Yields a sentence where the first row is not the first camera's place in its own frame."""
    apart, turned = np.abs(log.places[0]).max(), np.abs(log.turns[0] - np.eye(3)).max()
    if max(apart, turned) > START:
        away = np.linalg.norm(log.places[0])
        yield (
            f"{drive.split}: {path.name} begins {away:.2f} m from the first image's place, or turned from "
            "it: if its first rows are lost, each image has a later one's pose; else positions and "
            "north are of another frame"
        )


def read_times(path: pathlib.Path) -> np.ndarray:
    """Nanoseconds from the sequence's start, `(n,)` int64, one a row."""
    table = tables.rows(path, None, [1])
    found = tables.column(path, table, 0, lambda text: times.seconds(text, since_1970=False))
    return np.array(found, np.int64)


LAYOUT = Layout(
    title="KITTI odometry: `sequences/NN` with `poses/NN.txt`",
    read=read_kitti,
    position_unit="m",
    pose_source="GPS and IMU, of camera 0 in the first image's frame; north is where that looks",
    timed=True,
    keys=drives.KEYS,
)
