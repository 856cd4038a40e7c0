"""EuRoC: pictures and `sensor.yaml` in `mav0/cam0`, poses in `mav0/state_groundtruth_estimate0/data.csv`.

Rows hold nanoseconds, place and quaternion, w x y z, of the body; the camera's `T_BS` in `sensor.yaml`
puts it on the body. z is up.
Source: https://projects.asl.ethz.ch/datasets/doku.php?id=kmavvisualinertialdatasets.
"""

import functools
import pathlib
import re

import numpy as np

from tfds_builders.errors import RawDataError
from tfds_builders.places_csv.layouts import drives
from tfds_builders.places_csv.layouts.drives import Drive, Shots
from tfds_builders.places_csv.layouts.variant import Layout, Told
from tfds_builders.poses import between, rigid, tables, times
from tfds_builders.poses.rigid import Poses

CAMERAS = ("cam0", "cam1")
TABLE = "state_groundtruth_estimate0/data.csv"
LARGEST_GAP = 0.2  # seconds; the estimate has 200 rows a second


def read_euroc(folder: pathlib.Path, told: Told, splits: dict[str, str] | None = None):
    """Reads one camera of every flight, with the poses of the rows around its times.

    Raises:
      RawDataError: names every problem.
    """
    found = drives.find(folder, f"mav0/{TABLE}", ("mav0/cam0",))
    chosen = drives.choose(told, splits, found, CAMERAS)
    return drives.read(folder, told, chosen, functools.partial(_shots, folder, told), free=True)


def _shots(folder: pathlib.Path, told: Told, drive: Drive) -> Shots:
    root = folder / drive.name / "mav0"
    files = drives.image_files(root / drive.camera / "data", told)
    taken = drives.named_times(files, lambda stem: times.whole(stem, "nanoseconds"))
    body, reasons = between.interpolate(read_poses(root / TABLE), taken, LARGEST_GAP)
    poses = rigid.mounted(body, read_mounting(root / drive.camera / "sensor.yaml"))
    told.warnings += drives.lying(drive.split, poses.take(reasons == ""))
    return Shots(files, poses, reasons)


def read_poses(path: pathlib.Path) -> Poses:
    """The body's poses; raises RawDataError that names lines."""
    table = tables.rows(path, ",", [8, 17])
    clock = tables.column(path, table, 0, lambda text: times.whole(text, "nanoseconds"))
    values = tables.numbers(path, table, 1, 7)
    turns = tables.rotations(path, table, values[:, 3:], "wxyz")
    nanos = np.array(clock, np.int64)
    return Poses(nanos, values[:, :3], turns).take(between.ascending(nanos)[0])


def read_mounting(path: pathlib.Path) -> np.ndarray:
    """4x4, camera to body, of `T_BS` in a `sensor.yaml`; raises RawDataError."""
    found = re.search(r"^T_BS:.*?data:\s*\[([^\]]*)\]", tables.text(path), re.DOTALL | re.MULTILINE)
    fields = found[1].replace(",", " ").split() if found else []
    if len(fields) != 16:
        raise RawDataError(f"{path} holds no T_BS of 16 numbers; download the flight again")
    turns, places = tables.rigid_motions(path, [tables.Row(1, fields)], 0, 16)
    return rigid.matrix(turns[0], places[0])


LAYOUT = Layout(
    title="EuRoC: flights with `mav0`",
    read=read_euroc,
    position_unit="m",
    pose_source="motion capture or laser tracker with IMU, interpolated; a frame of its own",
    timed=True,
    keys=drives.KEYS,
    free=True,
)
