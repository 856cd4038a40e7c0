"""Folders of photos whose EXIF data hold a GPS position, as phones and action cameras write them."""

import collections
import math
import pathlib

import numpy as np

from tfds_builders.errors import RawDataError
from tfds_builders.frame import Frame
from tfds_builders.places_csv import exif, zones
from tfds_builders.places_csv.exif import Photo
from tfds_builders.places_csv.layouts.folders import (
    OTHERS,
    check_apart,
    done,
    files_below,
    in_time,
    is_hidden,
    split_name,
    visible,
)
from tfds_builders.places_csv.layouts.variant import Layout, LeftOut, Told
from tfds_builders.progress import Progress

SHOWN = 5  # names of photos in a warning


def read_photos(folder: pathlib.Path, told: Told) -> dict[str, list[Frame]]:
    """Reads position, heading, altitude and time of every photo's EXIF data below `folder`.

    One folder is one split. Positions are eastings and northings of one UTM zone, that of most photos.
    Time orders a split where all its photos have one by the same clock, else the file name does.
    `told` takes every photo that has no position, with a warning per reason.

    Raises:
      RawDataError: no photo has a position, the positions are too far apart for one zone, or a file is no
        image.
    """
    photos = _read_all(folder, told)
    if all(photo.fault for photo in photos):
        raise RawDataError(
            f"{folder}: none of {len(photos):,} photos has a GPS position in its EXIF data "
            f"({_reasons(photos)}); "
            "write a places.csv beside them, or choose another layout"
        )
    return located(photos, told)


def read_any(folder: pathlib.Path, told: Told) -> dict[str, list[Frame]]:
    """`read_photos`, but keeps all photos without positions where none has one; `told` takes a warning."""
    photos = _read_all(folder, told)
    if not all(photo.fault for photo in photos):
        return located(photos, told)
    told.warnings.append(
        f"no position is known: none of {len(photos):,} images has one ({_reasons(photos)})"
    )
    return _splits(photos, np.full((len(photos), 2), np.nan), told)


def _reasons(photos: list[Photo]) -> str:
    """Why photos have no position, with counts."""
    counts = collections.Counter(photo.fault for photo in photos)
    return "; ".join(f"{count:,} with {fault}" for fault, count in counts.items())


def located(photos: list[Photo], told: Told) -> dict[str, list[Frame]]:
    """The frames of the photos with a position; `told` takes the others."""
    located = [photo for photo in photos if not photo.fault]
    faults: dict[str, list[str]] = {}
    for photo in photos:
        if photo.fault:
            faults.setdefault(photo.fault, []).append(photo.image)
            told.left_out.append(LeftOut(photo.split, photo.image, photo.fault))
    for fault, names in faults.items():
        told.warnings.append(
            f"{len(names):,} of {len(photos):,} photos are left out, with {fault}: {_some(names)}"
        )
    positions, zone = zones.project(
        np.array([photo.degrees for photo in located]),
        [photo.image for photo in located],
        told.warnings,
    )
    told.crs = zone.crs
    for split in sorted({photo.split for photo in located}):
        degrees = np.array([photo.degrees for photo in located if photo.split == split])
        told.warnings += zones.coarse(degrees, split)
    return _splits(located, positions, told)


def _read_all(folder: pathlib.Path, told: Told) -> list[Photo]:
    """Every photo below `folder`, sorted by path; `told` takes those in a format that is not read."""
    files = files_below(folder)
    every = visible(folder, files, told.warnings)
    others = (path.relative_to(folder) for path in files if path.suffix.lower() in OTHERS)
    unread = [path for path in others if not any(map(is_hidden, path.parts))]
    kinds = sorted({_kind(path) for path in unread})
    remedy = (
        f"{', '.join(kinds)} {'is' if len(kinds) == 1 else 'are'} not read; export them as JPEG with their "
        "location"
    )
    if unread:
        told.warnings.append(f"{len(unread):,} photos are left out: {_some(unread)}: {remedy}")
        told.left_out += [
            LeftOut(
                split_name(path.parts[:-1]), path.as_posix(), f"{_kind(path)}, which is not read"
            )
            for path in unread
        ]
    if not every:
        done(folder, {}, [f"{folder} holds {len(unread):,} photos; {remedy}"] if unread else [])
    check_apart(path.relative_to(folder).parts[:-1] for path in every)
    photos, problems = [], []
    with Progress(len(every), "EXIF data", "photos") as progress:
        for path in every:
            inside = path.relative_to(folder)
            try:
                photos.append(
                    exif.read_photo(path, inside.as_posix(), split_name(inside.parts[:-1]))
                )
            except RawDataError as error:
                problems += error.problems
            progress.add()
    if problems:
        raise RawDataError(*problems)
    return photos


def _kind(path: pathlib.PurePath) -> str:
    return path.suffix[1:].upper()


def _some(names: list) -> str:
    return ", ".join(map(str, names[:SHOWN])) + (", ..." if len(names) > SHOWN else "")


def _splits(photos: list[Photo], positions: np.ndarray, told: Told) -> dict[str, list[Frame]]:
    """The frames of each split in time order; `told` takes altitudes and doubts."""
    members: dict[str, list[int]] = {}
    for number, photo in enumerate(photos):
        members.setdefault(photo.split, []).append(number)
    splits = {}
    for split, numbers in members.items():
        times = _times(split, [photos[number] for number in numbers], told)
        splits[split] = in_time(
            [
                Frame(
                    image_id=photos[number].image,
                    position=tuple(positions[number].tolist()),
                    heading=photos[number].heading,
                    timestamp=time,
                    source=photos[number].source,
                )
                for number, time in zip(numbers, times, strict=True)
            ]
        )
    told.altitudes.update({p.image: p.altitude for p in photos if not math.isnan(p.altitude)})
    magnetic = sum(photo.magnetic for photo in photos)
    if magnetic:
        told.warnings.append(
            f"headings of {magnetic:,} of {len(photos):,} photos are from magnetic north; they are kept, "
            "off true north by the declination there"
        )
    return splits


def _times(split: str, photos: list[Photo], told: Told) -> list[int | None]:
    """The times of a split's photos by the first clock that all have; None for each without one."""
    for clock in ("utc", "local", "satellites"):
        times = [getattr(photo, clock) for photo in photos]
        if None not in times:
            if clock == "local":
                told.warnings.append(
                    f"{split}: photos do not tell their clock's offset from UTC, so times are local ones, "
                    "taken as UTC"
                )
            return times
    return [None] * len(photos)


LAYOUT = Layout(
    title="photos with GPS positions in their EXIF data",
    read=read_photos,
    position_unit="m",
    pose_source="GPS of the photos' EXIF data",
    untimed="their file names",
    timed=True,
)
