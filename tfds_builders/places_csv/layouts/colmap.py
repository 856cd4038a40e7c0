"""COLMAP's text model: `images.txt` in RAW, `sparse` or `sparse/0`, and the pictures below `images`.

A row holds a quaternion, w x y z, and a translation from world to camera: the camera lies at -R^T t. The
world has no scale and no north; the axis that comes nearest to the cameras' up is taken for up.
Source: https://colmap.github.io/format.html.
"""

import functools
import pathlib
from collections.abc import Iterator

import numpy as np

from tfds_builders.errors import RawDataError
from tfds_builders.places_csv.layouts import drives, folders
from tfds_builders.places_csv.layouts.drives import Drive, Shots
from tfds_builders.places_csv.layouts.variant import Layout, Told
from tfds_builders.poses import models
from tfds_builders.poses.rigid import Poses

TABLE = "images.txt"
POINTS = "points3D.txt"
HOMES = ("", "sparse", "sparse/0")
BEHIND = 0.05  # of the points that cameras see; a sound model has none


def read_colmap(folder: pathlib.Path, told: Told, splits: dict[str, str] | None = None):
    """Reads every folder of the model's image names as a split, in the order of the names.

    Raises:
      RawDataError: names every problem.
    """
    names, poses = models.read_images_txt(_table(folder))
    told.warnings += _turned(_table(folder).with_name(POINTS), poses)
    poses, up = models.upright(poses)
    rows = {name: row for row, name in enumerate(names)}
    told.warnings.append(
        f"the model has no scale and no north: positions are in its units, and its axis {up} is "
        "taken for up; "
        'where it is in metres, give the config "position_unit": "m"'
    )
    parents = sorted({pathlib.PurePosixPath(name).parent for name in names})
    known = (
        parents if not splits else sorted({p for each in parents for p in (each, *each.parents)})
    )
    chosen = drives.choose(told, splits, drives.Found([path.as_posix() for path in known]), ("",))
    root = folder / "images" if (folder / "images").is_dir() else folder
    every = folders.image_files(root, told.warnings)
    missing = [name for name in names if not (root / name).is_file()]
    if missing:
        raise RawDataError(
            *(f"{_table(folder)} lists {name}, which is not below {root}" for name in missing)
        )
    shots = functools.partial(_shots, root, every, rows, poses, bool(splits))
    return drives.read(folder, told, chosen, shots, free=True)


def _turned(path: pathlib.Path, poses: Poses) -> Iterator[str]:
    """Yields a sentence where cameras see points that lie behind them."""
    wrong, every = models.behind(path, poses)
    if wrong > BEHIND * every:
        yield (
            f"{wrong:,} of {every:,} points of {path.name} lie behind the cameras that see them: "
            f"the quaternions of {TABLE} have another order than w x y z, its rows are camera to world, or "
            "the two files are of two models"
        )


def _table(folder: pathlib.Path) -> pathlib.Path:
    found = next(
        (folder / home / TABLE for home in HOMES if (folder / home / TABLE).is_file()), None
    )
    if found is None:
        binary = any((folder / home / "images.bin").is_file() for home in HOMES)
        remedy = (
            "write images.bin as text with colmap model_converter --output_type TXT"
            if binary
            else "put the text model there"
        )
        raise RawDataError(f"{folder} holds no {TABLE}, nor do its sparse and sparse/0; {remedy}")
    return found


def _shots(root, every, rows: dict[str, int], poses: Poses, deep: bool, drive: Drive) -> Shots:
    """The pictures of one folder, with those below it where `deep`."""
    inside = root / drive.name
    files = [p for p in every if p.parent == inside or (deep and p.is_relative_to(inside))]
    index = np.array([rows.get(p.relative_to(root).as_posix(), -1) for p in files])
    order = np.cumsum(index >= 0) - 1  # numbers of the pictures that have a pose
    taken = poses.take(np.maximum(index, 0))._replace(times=order.astype(np.int64) * 1000)
    return Shots(files, taken, np.where(index < 0, "not in the model", ""))


LAYOUT = Layout(
    title="COLMAP's text model",
    read=read_colmap,
    position_unit="units",
    pose_source="structure from motion; a frame of its own",
    untimed="their names",
    keys=drives.KEYS,
    free=True,
)
