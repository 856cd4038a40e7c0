"""`@utm_east@utm_north@...` file names (SF-XL and its kin)."""

import calendar
import math
import pathlib
import re
import time
from collections.abc import Iterator

import numpy as np

from tfds_builders.frame import LATEST, Frame, from_north
from tfds_builders.places_csv import zones
from tfds_builders.places_csv.layouts.folders import (
    check_apart,
    done,
    image_files,
    in_time,
    split_name,
)
from tfds_builders.places_csv.layouts.variant import Layout, Told

EAST = (100_000, 1_000_000)  # metres: UTM's eastings


def read_utm(
    folder: pathlib.Path, told: Told, turn: float = 0.0, nameless: str = "images"
) -> dict[str, list[Frame]]:
    """Reads `@utm_east@utm_north@...@heading@...@.jpg` below folders such as `images/test/database`.

    One folder is one split, named by its path (`test_database`) without the folders that match the pattern
    `nameless`. A number in field 9 plus `turn` is the heading in degrees, clockwise from north. Time
    (field 13) orders a split where all its images have one, else the file name does. Positions of several
    UTM zones (fields 3 and 4) are projected into the zone of most images; `told` takes a warning per other
    zone. Fields 1 and 2 are empty where the position of a query is unknown.

    Raises:
      RawDataError: names every image without the two coordinates in its name, or in no sound zone.
    """
    splits: dict[str, list[Frame]] = {}
    named: dict[pathlib.Path, zones.Zone | None] = {}
    problems: list[str] = []

    def parts(path: pathlib.Path) -> list[str]:
        return [
            part for part in path.relative_to(folder).parts[:-1] if not re.fullmatch(nameless, part)
        ]

    every = image_files(folder, told.warnings)
    check_apart(map(parts, every))
    for path in every:
        fields = [field.strip() for field in path.name.split("@")]
        try:
            position, zone = _place(fields)
        except ValueError as error:
            problems.append(f"{path}: {error}")
            continue
        if not math.isnan(position[0]):
            named[path] = zone
        frame = Frame(
            image_id=path.relative_to(folder).as_posix(),
            position=position,
            heading=_heading(fields, turn),
            timestamp=_time(fields),
            source=path,
        )
        splits.setdefault(split_name(parts(path)), []).append(frame)
    splits = _in_one_zone(splits, named, told, problems)
    told.warnings += _in_radians(splits, turn)
    told.warnings += _swapped(named)
    ordered = {split: in_time(frames) for split, frames in splits.items()}
    return done(folder, ordered, problems)


def _place(fields: list[str]) -> tuple[tuple[float, float], zones.Zone | None]:
    """Easting and northing of fields 1 and 2, NaN where both are empty, and their zone, if any.

    Raises:
      ValueError: fields 1 and 2 hold no finite numbers, or fields 3 and 4 no zone.
    """
    try:
        unknown = len(fields) > 3 and not fields[1] and not fields[2]
        east, north = (math.nan, math.nan) if unknown else (float(fields[1]), float(fields[2]))
        if not unknown and not (math.isfinite(east) and math.isfinite(north)):
            raise ValueError(fields)
    except (IndexError, ValueError):
        raise ValueError(
            f"the name is not @<utm east>@<utm north>@...@{pathlib.PurePath(fields[-1]).suffix}; rename "
            "it, with both fields empty where a query's position is unknown"
        ) from None
    texts = (fields[:-1] + 6 * [""])[3:6]  # the last field is the suffix
    try:
        return (east, north), zones.parse(*texts, north)
    except ValueError as error:
        raise ValueError(
            f"{error}; write a zone of 1 to 60 and its letter into fields 3 and 4, or leave both empty"
        ) from error


def _in_one_zone(splits, named, told: Told, problems: list[str]) -> dict[str, list[Frame]]:
    """The splits with all positions in one UTM zone; adds to `told` and `problems`."""
    used = sorted({zone for zone in named.values() if zone})
    without = [path for path, zone in named.items() if zone is None]
    if used and without and len(used) == 1:
        told.warnings.append(
            f"{len(without)} images, e.g. {without[0].name}, name no UTM zone; they are taken to be in "
            f"zone {used[0]} as the others are"
        )
    if not used and len(named) > 1 and all(path.name.startswith("@0@") for path in named):
        told.warnings.append(
            "all eastings are 0 without a zone: these are Nordland's made-up metres, where 25 m are 10 "
            "frames (1 in its subset of queries); the layout nordland counts frames and names the protocol"
        )
    if len(used) < 2:
        told.crs = used[0].crs if used else ""
        return splits
    problems += [
        f"{path}: the name has no UTM zone, where others are in {' and '.join(map(str, used))}; write its "
        "zone and letter into fields 3 and 4"
        for path in without
    ]
    if problems:
        return splits
    frames = [frame for split in splits.values() for frame in split if frame.located]
    all_zones = [named[frame.source] for frame in frames]
    moved, target, stretches = zones.into_one(
        np.array([frame.position for frame in frames]),
        all_zones,
        [frame.image_id for frame in frames],
    )
    told.crs = target.crs
    told.warnings += zones.moved(all_zones, target, stretches)
    positions = iter(moved.tolist())
    return {
        split: [f._replace(position=tuple(next(positions))) if f.located else f for f in held]
        for split, held in splits.items()
    }


def _swapped(named: dict[pathlib.Path, zones.Zone | None]) -> Iterator[str]:
    """Yields a sentence where field 1 holds what is a northing, and field 2 an easting."""
    swapped = []
    for path in named:
        first, second = (float(field) for field in path.name.split("@")[1:3])
        if first > EAST[1] and EAST[0] <= second <= EAST[1]:
            swapped.append(path)
    if swapped:
        yield (
            f"field 1 of {len(swapped):,} of {len(named):,} names is beyond {EAST[1]:,} m, where eastings "
            f"end, e.g. {swapped[0].name}: are fields 1 and 2 in each other's place?"
        )


def _in_radians(splits: dict[str, list[Frame]], turn: float) -> Iterator[str]:
    """Yields a sentence where field 9 spans no more than radians do, though it is read as degrees."""
    headings = [math.degrees(f.heading) - turn for split in splits.values() for f in split]
    known = np.array([heading for heading in headings if math.isfinite(heading)])
    if len(known) and np.ptp(known) >= 1 and np.abs((known + 180) % 360 - 180).max() <= 2 * math.pi:
        yield (
            f"headings (field 9) are degrees; those of all {len(known):,} images lie between "
            f"{known.min():g} and {known.max():g}: if these are radians, write degrees"
        )


def _heading(fields: list[str], turn: float) -> float:
    """Radians in (-pi, pi] of field 9's degrees plus `turn`, NaN without."""
    try:
        degrees = float(fields[9])
    except (IndexError, ValueError):
        return math.nan
    return from_north(degrees + turn)


def _time(fields: list[str]) -> int | None:
    """Microseconds of field 13: UNIX time (s, ms or us, by its length) or YYYYMMDD_hhmmss, taken as UTC.

    A day alone gives None, since it orders no images.
    """
    text = fields[13] if len(fields) > 13 else ""
    if re.fullmatch("[0-9]{10}|[0-9]{13}|[0-9]{16}", text):
        return int(text) * 10 ** (16 - len(text))
    if not re.fullmatch("[0-9]{8}_[0-9]{6}", text):
        return None
    try:
        micros = calendar.timegm(time.strptime(text, "%Y%m%d_%H%M%S")) * 10**6
    except ValueError:  # a thirteenth month
        return None
    return micros if abs(micros) <= LATEST else None


LAYOUT = Layout(
    title="`@utm_east@utm_north@...` file names",
    read=read_utm,
    position_unit="m",
    pose_source="UTM in the file names",
    untimed="their file names",
    timed=True,
    unlocated=True,
)
