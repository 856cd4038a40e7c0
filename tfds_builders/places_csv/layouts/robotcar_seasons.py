"""RobotCar Seasons v2: `images/<condition>/rear/<utime>.jpg` and `robotcar_v2_train.txt`.

A row of the list is `<condition>/<camera>/<utime>.png` and 16 numbers, camera to world; only test images
lack a pose. Reference images have theirs in the merged model's `.nvm`, world to camera with a centre.
The world is metric and shared; the axis nearest to the cameras' up is taken for up.
Source: https://www.visuallocalization.net/datasets.
"""

import functools
import pathlib

import numpy as np

from tfds_builders.errors import RawDataError
from tfds_builders.places_csv.layouts import drives
from tfds_builders.places_csv.layouts.drives import Drive, Shots
from tfds_builders.places_csv.layouts.folders import files_below, is_hidden, remedy
from tfds_builders.places_csv.layouts.variant import Layout, Told
from tfds_builders.poses import models, tables, times
from tfds_builders.poses.rigid import Poses

CAMERAS = ("rear", "left", "right")
LIST = "robotcar_v2_train.txt"
LOOKS = {"rear": 180.0}  # degrees from forward
MODEL = "*.nvm"


def read_robotcar_seasons(folder: pathlib.Path, told: Told, splits: dict[str, str] | None = None):
    """Reads one camera of every condition; a picture and its row belong together by name without suffix.

    Raises:
      RawDataError: names every problem.
    """
    names, poses = _poses(folder)
    poses, _ = models.upright(poses)
    rows = {name: row for row, name in enumerate(names)}
    posed = {name.partition("/")[0] for name in names}
    there = sorted(name for name in posed if (folder / "images" / name).is_dir())
    if not there:
        do = remedy(folder, [f"images/{name}" for name in posed], "unpack the images there")
        raise RawDataError(
            f"{folder / 'images'} holds no folder of a condition such as {min(posed)}; {do}"
        )
    bare = sorted(p.parent.name for p in folder.glob("images/*/rear") if p.parent.name not in posed)
    told_of = [drives.poseless(bare, f"row in {LIST} and no {MODEL}")] if bare else []
    chosen = drives.choose(told, splits, drives.Found(there, told_of), CAMERAS)
    shots = functools.partial(_shots, folder, told, rows, poses)
    return drives.read(folder, told, chosen, shots, free=True)


def _poses(folder: pathlib.Path) -> tuple[list[str], Poses]:
    """Names without suffix, and poses, of the list and of every model that is there."""
    every = [p for p in files_below(folder) if not is_hidden(p.name)]
    lists = [path for path in every if path.name == LIST]
    if not lists:
        raise RawDataError(f"{folder} holds no {LIST}; download it with the dataset's lists")
    table = tables.rows(lists[0], None, [17])
    turns, places = tables.rigid_motions(lists[0], table, 1, 16)
    nothing = np.arange(len(table), dtype=np.int64)
    found = [([row.fields[0] for row in table], Poses(nothing, places, turns))]
    found += [models.read_nvm(path) for path in every if path.match(MODEL)]
    names = [name.rpartition(".")[0] for part, _ in found for name in part]
    return names, Poses(
        *(np.concatenate(parts) for parts in zip(*(p for _, p in found), strict=True))
    )


def _shots(
    folder: pathlib.Path, told: Told, rows: dict[str, int], poses: Poses, drive: Drive
) -> Shots:
    files = drives.image_files(folder / "images" / drive.name / drive.camera, told)
    taken = drives.named_times(files, lambda stem: times.whole(stem, "microseconds"))
    index = np.array([rows.get(f"{drive.name}/{drive.camera}/{p.stem}", -1) for p in files])
    found = poses.take(np.maximum(index, 0))._replace(times=taken)
    reasons = np.where(index < 0, "a test image: no pose is published", "")
    return Shots(files, found, reasons, look=LOOKS.get(drive.camera, np.nan))


LAYOUT = Layout(
    title="RobotCar Seasons v2: conditions with `robotcar_v2_train.txt`",
    read=read_robotcar_seasons,
    position_unit="m",
    pose_source="structure from motion, aligned by INS; its tie to UTM is not published",
    timed=True,
    keys=drives.KEYS,
)
