"""`positions` writes where and when images were taken, as JSON, and reads no pixel of a folder's.

    {"layout": "photos", "root": "/home/me/RAW", "position_unit": "m", "crs": "EPSG:32631",
     "pose_source": "GPS of the photos' EXIF data", "warnings": [],
     "left_out": [{"split": "monday", "image": "monday/a.jpg", "reason": "no GPS position"}],
     "splits": {"monday": [{"image": "monday/b.jpg", "id": "monday/b.jpg", "x": 500000.0, "y": 5538630.7,
       "lat": 50.0, "lon": 3.0, "altitude": 12.5, "heading": 1.57, "time": 1709208000.25}]}}

What is unknown is null. `image` is relative to `root`, or absolute outside it. Positions are in
`position_unit`, of the coordinate system `crs`. `heading` is in radians, clockwise from north for photos,
and `time` in seconds, since 1970 for photos. A split keeps time order, or the layout's order where `time`
is null.
"""

import json
import math
import os
import pathlib
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tfds_builders import discover, video
from tfds_builders.doubts import of_poses
from tfds_builders.errors import RawDataError
from tfds_builders.frame import Frame, check_frames
from tfds_builders.places_csv import doubts, zones
from tfds_builders.places_csv.layouts import LAYOUTS, folders, mapillary, photos, table
from tfds_builders.places_csv.layouts.variant import Layout, Told

KEYS = (
    "layout",
    "position_unit",
    "pose_source",
    "protocol",
)  # of --config; the others concern pixels


class Found(NamedTuple):
    """What was read: the frames of each split, whose files lie below `root`, and what was told."""

    name: str
    layout: Layout
    root: pathlib.Path
    splits: dict[str, list[Frame]]
    told: Told


def run(args) -> int:
    """Writes the positions of RAW to `--out`; returns the exit status, raises RawDataError."""
    config = _config(args.config)
    raw, out = (pathlib.Path(path).expanduser().absolute() for path in (args.raw, args.out))
    check_out(args.out, out, "positions", _positions)
    if raw.is_file() and raw.suffix.lower() != ".csv":
        told = Told()
        found = Found("video", video.LAYOUT, *video.frames(args, told), told)
    else:
        _check_no_video(args)
        found = read(raw, config.get("layout"), config.get("protocol", ""))
    written = document(found, config)
    write(out, written)
    for warning in written["warnings"]:
        print(f"warning: {warning}", file=sys.stderr)
    frames = [frame for split in found.splits.values() for frame in split]
    located = sum(frame.located for frame in frames)
    print(f"{out}: {len(frames):,} images, {located:,} with a position (layout {found.name})")
    return 0


def check_out(option: str, out: pathlib.Path, command: str, own: Callable[[bytes], bool]) -> None:
    """Raises RawDataError where `--out` is no place for a file, or holds one that is not the command's.

    `own` is given the file's first 100 bytes.
    """
    if out.is_dir() or not out.parent.is_dir():
        raise RawDataError(f"--out={option} must name a file in a folder that exists")
    if not out.exists():
        return
    with out.open("rb") as opened:
        if not own(opened.read(100)):
            raise RawDataError(
                f"--out={option} is a file that `{command}` did not write; name another"
            )


def _positions(begin: bytes) -> bool:
    """Whether a file is empty or begins as those that are written here."""
    start = begin.split()
    return not start or start[:2] == [b"{", b'"layout":'] or start[0] == b'{"layout":'


def _config(option: str | None) -> dict[str, str]:
    """The values of `--config`; raises RawDataError at an unknown key, layout or type."""
    values = discover.parse(option) if option else {}
    if not isinstance(values, dict):
        raise RawDataError(f"--config={option} is no JSON object; give {', '.join(KEYS)}")
    unknown = sorted(values.keys() - set(KEYS))
    if unknown:
        raise RawDataError(
            f"--config has no key {', '.join(unknown)}; positions knows {', '.join(KEYS)}"
        )
    for key, value in values.items():
        if not isinstance(value, str):
            raise RawDataError(f"config key {key!r} is {value!r}; give a text")
    if values.get("layout", "csv") not in LAYOUTS:
        raise RawDataError(
            f"config key 'layout' is {values['layout']!r}; known: {', '.join(LAYOUTS)}"
        )
    return values


def _check_no_video(args) -> None:
    """Raises RawDataError at an option that only a video has."""
    options = ("track", "fps", "metres", "frames", "start")
    for name in options:
        if getattr(args, name) is not None:
            raise RawDataError(f"--{name} is for a video, and {args.raw} is none; leave it out")


def read(raw: pathlib.Path, layout: str | None, protocol: str = "") -> Found:
    """The frames of a raw folder, or of a table such as places.csv; finds the layout where None is given.

    Raises:
      RawDataError: there is no such folder; and whatever a layout refuses.
    """
    if raw.is_file() and raw.suffix.lower() == ".csv" and layout in (None, "csv"):
        told = Told()
        return Found("csv", LAYOUTS["csv"], raw.parent, table.read_table(raw, told), told)
    if not raw.is_dir():
        raise RawDataError(f"{raw} is no folder, .csv or video; give the folder of the images")
    layout = layout or find_layout(raw)
    told = LAYOUTS[layout].begin({}, protocol)
    reader = photos.read_any if layout == "photos" else LAYOUTS[layout].read
    return Found(layout, LAYOUTS[layout], raw, reader(raw, told), told)


def find_layout(folder: pathlib.Path) -> str:
    """The layout that a folder's files show: a table, names with `@`, a .mat, else photos."""
    for name, file in (("csv", table.TABLE), ("mapillary", mapillary.TABLE)):
        if (folder / file).is_file():
            return name
    names = [path.name for path in folders.image_files(folder, [])]
    if 2 * sum(name.startswith("@") for name in names) > len(names):
        return "utm"
    if any(not folders.is_hidden(path.name) for path in folder.glob("*.mat")):
        return "dbstruct"
    return "photos"


def document(found: Found, config: dict[str, str]) -> dict[str, Any]:
    """What is written; see the module's text. Raises RawDataError at a value that no record can hold."""
    every = [frame for split in found.splits.values() for frame in split]
    check_frames(every, unlocated=True)
    located = [frame for frame in every if frame.located]
    told, layout = found.told, found.layout
    unit = config.get("position_unit") or layout.position_unit
    source = config.get("pose_source") or (layout.pose_source if located else None)
    doubted = [*doubts.warnings(layout, found.splits), *of_poses(found.splits, unit, layout.free)]
    degrees = {}
    if told.crs and located:
        places = zones.to_degrees(np.array([frame.position for frame in located]), told.crs)
        degrees = dict(zip((frame.image_id for frame in located), places.tolist(), strict=True))
    return {
        "layout": found.name,
        "root": str(found.root),
        "position_unit": unit,
        "crs": told.crs or None,
        "pose_source": source,
        "warnings": [*told.warnings, *doubted],
        "left_out": [left._asdict() for left in told.left_out],
        "splits": {
            name: _images(found, frames, degrees, layout.timed and not doubts.counted(frames))
            for name, frames in found.splits.items()
        },
    }


def _images(found: Found, frames: list[Frame], degrees: dict, timed: bool) -> list[dict[str, Any]]:
    """The images of a split in their order."""
    images = []
    for frame in frames:
        source = pathlib.Path(frame.source)
        inside = source.is_relative_to(found.root)
        latitude, longitude = degrees.get(frame.image_id, (None, None))
        images.append(
            {
                "image": (source.relative_to(found.root) if inside else source).as_posix(),
                "id": frame.image_id,
                "x": _known(frame.position[0]),
                "y": _known(frame.position[1]),
                "lat": latitude,
                "lon": longitude,
                "altitude": found.told.altitudes.get(frame.image_id),
                "heading": _known(frame.heading),
                "time": frame.timestamp / 1e6 if timed else None,
            }
        )
    return images


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def write(path: pathlib.Path, values: dict[str, Any]) -> None:
    """Writes JSON under another name first, so that no reader sees a part of it."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("w", encoding="ascii") as file:
            json.dump(values, file, allow_nan=False)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
