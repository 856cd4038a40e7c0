"""NCLT: `<date>/lb3/Cam5/<utime>.tiff` and `groundtruth_<date>.csv`.

Rows without a header hold microseconds, metres north, east and down, and roll, pitch, heading of the
vehicle: Rz(h) Ry(p) Rx(r). Pictures lie on their side: a turn to the right makes them upright.
Source: http://robots.engin.umich.edu/nclt, its paper's calibration.
"""

import functools
import math
import pathlib

import numpy as np

from tfds_builders.errors import RawDataError
from tfds_builders.places_csv.layouts import drives
from tfds_builders.places_csv.layouts.drives import Drive, Shots
from tfds_builders.places_csv.layouts.folders import remedy
from tfds_builders.places_csv.layouts.variant import Layout, Told
from tfds_builders.poses import axes, between, rigid, tables, times
from tfds_builders.poses.rigid import Poses

LARGEST_GAP = 0.5  # seconds; rows come every 0.01
DOWN = 0  # of a picture as stored, its columns' direction points to the ground
# x, y, z in metres and roll, pitch, heading in degrees: the ring of cameras on the body, a camera on it.
RING = (0.035, 0.002, -1.23, -179.93, -0.23, 0.50)
ON_RING = {  # Cam5 looks forward; Cam0 looks up and is none of these
    "Cam5": (0.041862, -0.001905, -0.000212, 160.868615, 89.914152, 160.619894),
    "Cam1": (0.014543, 0.039337, 0.000398, -138.449751, 89.703877, -66.518051),
    "Cam2": (-0.032674, 0.025928, 0.000176, 160.101024, 89.836345, -56.101163),
    "Cam3": (-0.034969, -0.022993, 0.000030, 95.603967, 89.724274, -48.640335),
    "Cam4": (0.011238, -0.040367, -0.000393, -160.239278, 89.812338, 127.472911),
}


def read_nclt(folder: pathlib.Path, told: Told, splits: dict[str, str] | None = None):
    """Reads one camera of every day; its poses are those of the rows around its time.

    Raises:
      RawDataError: names every problem.
    """
    chosen = drives.choose(told, splits, drives.find(folder, "lb3"), tuple(ON_RING))
    return drives.read(folder, told, chosen, functools.partial(_shots, folder, told))


def _shots(folder: pathlib.Path, told: Told, drive: Drive) -> Shots:
    files = drives.image_files(folder / drive.name / "lb3" / drive.camera, told)
    taken = drives.named_times(files, lambda stem: times.whole(stem, "microseconds"))
    log, unknown = read_poses(_table(folder, drive.name))
    if unknown:
        told.warnings.append(
            f"{drive.split}: {unknown:,} rows of the ground truth hold no position; images in "
            "such a gap of "
            f"more than {LARGEST_GAP:g} s have no pose"
        )
    mount = mounting(drive.camera)
    poses, reasons = between.interpolate(log, taken, LARGEST_GAP)
    seen = axes.to_enu(rigid.mounted(poses, mount), axes.WORLDS["ned"])
    look = math.degrees(math.atan2(mount[1, 2], mount[0, 2]))
    return Shots(files, seen, reasons, look, DOWN)


def mounting(camera: str) -> np.ndarray:
    """4x4, a camera to the body, whose x is forward and y right."""
    return _matrix(RING) @ _matrix(ON_RING[camera])


def _matrix(values) -> np.ndarray:
    from scipy.spatial.transform import Rotation  # slow to import

    turn = Rotation.from_euler("xyz", values[3:], degrees=True)
    return rigid.matrix(turn.as_matrix(), values[:3])


def _table(folder: pathlib.Path, name: str) -> pathlib.Path:
    """The ground truth of a day, beside the day's folder, in it or in `ground_truth`."""
    file = f"groundtruth_{name}.csv"
    held = (folder, folder / name, folder / "ground_truth")
    found = next((path / file for path in held if (path / file).is_file()), None)
    if found is None:
        do = remedy(folder, [file], "put the day's ground truth there")
        raise RawDataError(f"{folder / file} does not exist; {do}")
    return found


def read_poses(path: pathlib.Path) -> tuple[Poses, int]:
    """The body's poses in a world of north, east, down, and the count of rows without one (NaN)."""
    from scipy.spatial.transform import Rotation  # slow to import

    table = tables.rows(path, ",", [7])
    clock = tables.column(path, table, 0, lambda text: times.whole(text, "microseconds"))
    values = tables.numbers(path, table, 1, 6)
    tables.check_radians(path, values[:, 3:])
    known = np.flatnonzero(np.isfinite(values).all(axis=1))
    if not len(known):
        raise RawDataError(f"{path} holds no row with a position; download it again")
    nanos = np.array(clock, np.int64)[known]
    order = between.ascending(nanos)[0]
    turns = Rotation.from_euler("xyz", values[known][order, 3:]).as_matrix()
    poses = Poses(nanos[order], values[known][order, :3], turns)
    return poses, len(table) - len(known)


LAYOUT = Layout(
    title="NCLT: days with `lb3` and `groundtruth_<day>.csv`",
    read=read_nclt,
    position_unit="m",
    pose_source="SLAM and odometry, interpolated; metres from 42.293227 N, 83.709657 W",
    timed=True,
    keys=drives.KEYS,
    sideways=True,
)
