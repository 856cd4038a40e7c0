"""St Lucia: a folder per recording with `fGPS.txt` and the frames of its video."""

import pathlib
import re

import numpy as np

from tfds_builders.errors import RawDataError
from tfds_builders.frame import Frame
from tfds_builders.places_csv import zones
from tfds_builders.places_csv.layouts import aligned
from tfds_builders.places_csv.layouts.csv_rows import number
from tfds_builders.places_csv.layouts.folders import files_below, image_files, split_name
from tfds_builders.places_csv.layouts.variant import Layout, LeftOut, Protocol, Told

TABLE, VIDEO = "fGPS.txt", "webcam_video.avi"
STEP = 5.0  # metres from the last frame that is kept
LATITUDES = (27.0, 28.0)  # degrees south, between which the suburb lies


def read_st_lucia(folder: pathlib.Path, told: Told) -> dict[str, list[Frame]]:
    """Reads each folder with an `fGPS.txt` as one split; its k-th image belongs to the k-th line.

    Latitudes lie in the south, though the tables lack their minus. Of each recording the first frame is
    kept, then each that lies 5 m or more from the last one kept.

    Raises:
      RawDataError: no recording is there, a line is wrong, or images are missing.
    """
    tables = [path for path in files_below(folder) if path.name == TABLE]
    if not tables:
        raise RawDataError(f"{folder} holds no {TABLE}; unpack the recordings' archives there")
    problems: list[str] = []
    splits: dict[str, list[Frame]] = {}
    for table in tables:
        parts = table.parent.relative_to(folder).parts
        try:
            splits[split_name(parts)] = _recording(folder, table, split_name(parts), told)
        except RawDataError as error:
            problems += error.problems
    if problems:
        raise RawDataError(*problems)
    return splits


def _recording(folder: pathlib.Path, table: pathlib.Path, split: str, told: Told) -> list[Frame]:
    degrees = _degrees(table)
    images = image_files(table.parent, told.warnings)
    numbers = aligned.frame_numbers([p for p in images if re.search(r"\d", p.stem)], told.warnings)
    images = sorted(numbers, key=numbers.get)
    if not images:
        raise RawDataError(
            f"{table.parent} holds no frames of {VIDEO}; write them there, in order and all of them, e.g. "
            f"ffmpeg -i {VIDEO} %05d.jpg"
        )
    if len(images) != len(degrees):
        fewer = min(len(images), len(degrees))
        told.warnings.append(
            f"{split}: {len(images):,} frames and {len(degrees):,} lines of {TABLE}: the first "
            f"{fewer:,} of each are taken for each other"
        )
        told.left_out += [
            LeftOut(split, path.relative_to(folder).as_posix(), f"no line in {TABLE}")
            for path in images[fewer:]
        ]
    zone = zones.at(*degrees[0])
    told.crs = zone.crs
    positions = zones.onto(degrees, zone)
    frames, last = [], None
    for path, position in zip(images, positions, strict=False):
        image = path.relative_to(folder).as_posix()
        if last is not None and np.linalg.norm(position - last) < STEP:
            told.left_out.append(LeftOut(split, image, f"less than {STEP:g} m from the last frame"))
            continue
        last = position
        frames.append(
            Frame(
                image_id=image,
                position=tuple(position.tolist()),
                timestamp=numbers[path],
                source=path,
            )
        )
    return frames


def _degrees(table: pathlib.Path) -> np.ndarray:
    """Latitudes, below 0 as they are in the south, and longitudes `(n, 2)` of a recording's lines."""
    lines = table.read_text(encoding="utf-8-sig", errors="replace").split("\n")
    found = []
    last = max((count for count, line in enumerate(lines, 1) if line.strip()), default=0)
    for count, line in enumerate(lines[:last], 1):
        where, fields = f"{table}:{count}", line.split(",")
        if len(fields) != 2:
            raise RawDataError(f"{where}: {line!r:.60} is no latitude,longitude")
        south = abs(number(where, "latitude", fields[0], 90))
        if not LATITUDES[0] < south < LATITUDES[1]:
            raise RawDataError(
                f"{where}: latitude {fields[0].strip()} is not St Lucia's, {LATITUDES[0]:g} to "
                f"{LATITUDES[1]:g} degrees south; are latitude and longitude swapped?"
            )
        found.append((-south, number(where, "longitude", fields[1], 180)))
    if not found:
        raise RawDataError(f"{table} is empty; unpack the recording's archive again")
    return np.array(found)


LAYOUT = Layout(
    title="St Lucia",
    read=read_st_lucia,
    position_unit="m",
    pose_source=f"{TABLE}, one line a video frame",
    protocols={
        "st_lucia_25m": Protocol(
            positives="a frame of the downloader's first recording within 25 m, whatever its heading",
            queries="frames of its last recording, 5 m or more apart, those without such a frame too",
            source="VPR-datasets-downloader, download_st_lucia.py",
            radius=25.0,
        )
    },
)
