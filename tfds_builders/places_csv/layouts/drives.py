"""Drives of one camera as splits: what the layouts with poses share."""

import collections
import math
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from tfds_builders.errors import RawDataError
from tfds_builders.frame import Frame
from tfds_builders.places_csv.layouts.folders import (
    check_apart,
    is_hidden,
    remedy,
    split_name,
    visible,
)
from tfds_builders.places_csv.layouts.variant import LeftOut, Told
from tfds_builders.poses import axes
from tfds_builders.poses.rigid import Poses

KEYS = ("splits",)
UPRIGHT = 0.7  # mean vertical part of cameras' upward axes, below which they lie
POSELESS = 0.1  # share of images without a pose above which a warning tells it
ROOT = "."  # the drive of images without a folder
NO_POSE = "no pose of its time"


class Drive(NamedTuple):
    """One split: its drive (a folder's path below RAW, or a name in a list) and camera."""

    split: str
    name: str
    camera: str


class Shots(NamedTuple):
    """The images of one drive in their order.

    Attributes:
      sources: their files, or other paths that say where they are.
      poses: their times, and the camera's poses in an east-north-up world.
      reasons: `(n,)` why an image has no pose, "" where it has one.
      look: degrees clockwise from forward to where the camera looks, NaN where unknown.
      down: the camera's axis that points down in the world; 1 where pictures are upright.
    """

    sources: Sequence[os.PathLike]
    poses: Poses
    reasons: np.ndarray
    look: float = math.nan
    down: int = 1


class Found(NamedTuple):
    """The drives of a raw folder.

    Attributes:
      names: of those that can be read.
      bare: sentences on those whose pictures are there alone.
    """

    names: Sequence[str]
    bare: Sequence[str] = ()


def find(folder: pathlib.Path, mark: str, images: Sequence[str] = ()) -> Found:
    """The folders below `folder` that hold a mark, such as `applanix/camera_poses.csv`.

    Args:
      folder: the raw folder.
      mark: path in a drive's folder.
      images: paths of a drive's pictures.

    Raises:
      RawDataError: there is none.
    """
    inside = [path for path in folder.iterdir() if path.is_dir() and not is_hidden(path.name)]
    names = sorted(path.name for path in inside if (path / mark).exists())
    if not names:
        do = remedy(folder, [f"*/{mark}"], "put the drives' folders there")
        raise RawDataError(f"{folder} holds no folder of a drive with {mark}; {do}")
    bare = sorted(path.name for path in inside if path.name not in names)
    bare = [name for name in bare if any((folder / name / held).is_dir() for held in images)]
    return Found(names, [poseless(bare, mark)] if bare else [])


def poseless(names: Sequence[str], mark: str) -> str:
    """The sentence on folders that hold pictures and no poses."""
    return f"{', '.join(names)}: left out, with pictures but no {mark}; unpack the poses there"


def choose(
    told: Told, splits: Mapping[str, str] | None, drives: Found, cameras: Sequence[str]
) -> list[Drive]:
    """The drive and camera of each split.

    Args:
      told: takes warnings on drives that are left out where the user wants every drive.
      splits: of the config: split name to a drive, or to `DRIVE/CAMERA`; empty takes every drive.
      drives: those that are there.
      cameras: names of the cameras; the first one where a split names none.

    Raises:
      RawDataError: names every split whose drive is not there, and the drives that are.
    """
    found = drives.names
    if not splits:
        told.warnings += drives.bare
        parts = [[] if name == ROOT else name.split("/") for name in found]
        check_apart(parts)
        return [Drive(split_name(p), n, cameras[0]) for n, p in zip(found, parts, strict=True)]
    chosen, problems = [], []
    for split, wanted in splits.items():
        drive, camera = wanted.strip("/"), cameras[0]
        if drive not in found:
            for name in found:
                if drive.startswith(f"{name}/") and drive.removeprefix(f"{name}/") in cameras:
                    drive, camera = name, drive.removeprefix(f"{name}/")
                    break
        if drive not in found:
            shown = ", ".join(found[:8]) + (", ..." if len(found) > 8 else "")
            problems.append(
                f"config key 'splits': {split!r} asks for {wanted!r}, which is not there; give "
                f"one of {shown}"
                + (
                    f", and /{' or /'.join(filter(None, cameras))} after it"
                    if len(cameras) > 1
                    else ""
                )
            )
        chosen.append(Drive(split, drive, camera))
    if problems:
        raise RawDataError(*problems)
    return chosen


def read(
    folder: pathlib.Path,
    told: Told,
    chosen: Sequence[Drive],
    shots: Callable[[Drive], Shots],
    free: bool = False,
) -> dict[str, list[Frame]]:
    """The frames of every chosen drive, in time order.

    Args:
      folder: the raw folder, below which image ids are paths.
      told: takes altitudes, images without a pose, where cameras look, and warnings.
      chosen: drive and camera of each split.
      shots: reads one of them.
      free: whether cameras need not look along their motion, nor stand upright.

    Raises:
      RawDataError: names every problem of every drive, or a drive without any posed image.
    """
    splits, problems = {}, []
    for drive in chosen:
        try:
            splits[drive.split] = _frames(folder, told, drive, shots(drive), free)
        except RawDataError as error:
            problems += error.problems
    if problems:
        raise RawDataError(*problems)
    return splits


def _frames(folder, told: Told, drive: Drive, taken: Shots, free: bool) -> list[Frame]:
    names = [pathlib.Path(source).relative_to(folder).as_posix() for source in taken.sources]
    posed = taken.reasons == ""
    lost = collections.Counter(taken.reasons[~posed].tolist())
    reasons = "; ".join(f"{reason}: {count:,}" for reason, count in sorted(lost.items()))
    if not posed.any():
        raise RawDataError(
            f"{folder}: none of {len(names):,} images of {drive.name} has a pose "
            f"({reasons or 'no images'}); "
            "check that images and poses are of one drive"
        )
    told.left_out += [
        LeftOut(drive.split, names[i], str(taken.reasons[i])) for i in np.flatnonzero(~posed)
    ]
    if posed.mean() < 1 - POSELESS:
        told.warnings.append(
            f"{drive.split}: {int((~posed).sum()):,} of {len(names):,} images have no pose and "
            "are left out "
            f"({reasons})"
        )
    index = np.flatnonzero(posed)
    index = index[np.argsort(taken.poses.times[index], kind="stable")]
    poses = taken.poses.take(index)
    if not free:
        told.warnings += lying(drive.split, poses, taken.down)
    if not math.isnan(taken.look):
        told.looks[drive.split] = taken.look
    headings = axes.headings(poses.turns).tolist()
    frames = []
    for i, place, heading, time in zip(
        index, poses.places.tolist(), headings, poses.times.tolist(), strict=True
    ):
        if math.isfinite(place[2]):
            told.altitudes[names[i]] = place[2]
        frames.append(
            Frame(names[i], tuple(place[:2]), heading, time // 1000, source=taken.sources[i])
        )
    return frames


def lying(split: str, poses: Poses, down: int = 1) -> list[str]:
    """A sentence where the cameras of a vehicle do not stand upright."""
    up = axes.uprightness(poses.turns, down)
    if not up < UPRIGHT:  # NaN where the log has no rotations
        return []
    angle = math.degrees(math.acos(max(-1.0, min(1.0, up))))
    return [
        f"{split}: cameras stand {angle:.0f} degrees from upright: the quaternions have another order, "
        "another axis of the world points up, a body's pose is taken for the camera's, or a "
        "world-to-camera "
        "pose for a camera-to-world one"
    ]


def image_files(folder: pathlib.Path, told: Told) -> list[pathlib.Path]:
    """The images in one folder by name; raises RawDataError where there are none."""
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    found = visible(folder, files, told.warnings)
    if not found:
        around = sorted(folder.parent.iterdir()) if folder.parent.is_dir() else []
        others = [
            path.name for path in around if path.is_dir() and visible(path, path.iterdir(), [])
        ]
        do = "unpack the camera's images there"
        if others and others[0].lower() == folder.name.lower():
            do = f"rename {others[0]}, as downloaded"
        elif others:
            do += f', or name another camera in "splits": DRIVE/{others[0]}'
        raise RawDataError(f"{folder} holds no images; {do}")
    return found


def exact(log: Poses, times: np.ndarray, missing: str = NO_POSE) -> tuple[Poses, np.ndarray]:
    """The poses of exactly these times, and the reasons why one has none; joined as integers."""
    rows = {time: row for row, time in enumerate(log.times.tolist())}
    index = np.array([rows.get(time, -1) for time in times.tolist()])
    poses = log.take(np.maximum(index, 0))._replace(times=times)
    return poses, np.where(index < 0, missing, "")


def imageless(drive: Drive, log: np.ndarray, times: np.ndarray) -> Iterator[str]:
    """Yields a sentence where many rows `log` of a pose table are of no picture: their archive is cut."""
    lacking = len(log) - int(np.isin(log, times).sum())
    if lacking > POSELESS * len(log):
        yield (
            f"{drive.split}: {lacking:,} of {len(log):,} poses have no picture: unpack all pictures, "
            "unless a part is wanted"
        )


def named_times(paths: Sequence[pathlib.Path], read_time: Callable[[str], int]) -> np.ndarray:
    """Nanoseconds, `(n,)` int64, of files whose names are times; raises RawDataError that names "
    "all others.
    """
    times, problems = [], []
    for path in paths:
        try:
            times.append(read_time(path.stem))
        except ValueError as error:
            problems.append(f"{path}: {error}; keep the name as downloaded")
    if problems:
        raise RawDataError(*problems)
    return np.array(times, np.int64)


def frame_numbers(paths: Sequence[pathlib.Path]) -> np.ndarray:
    """The frames, `(n,)` int64, of files whose names are their numbers; raises RawDataError "
    "that names others.
    """
    wrong = [path for path in paths if not (path.stem.isascii() and path.stem.isdecimal())]
    if wrong:
        raise RawDataError(
            *(f"{path}: the name is no frame number; keep it as downloaded" for path in wrong)
        )
    return np.array([int(path.stem) for path in paths], np.int64)
