"""Reads places.csv, checks every row and names every problem with its line."""

import csv
import io
import math
import pathlib
import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from tfds_builders.errors import RawDataError
from tfds_builders.frame import Frame, has_controls
from tfds_builders.places_csv import numbers, remedies, zones
from tfds_builders.places_csv.layouts.variant import Layout, Told
from tfds_builders.poses import times

TABLE = "places.csv"
METRES, DEGREES = numbers.METRES, numbers.DEGREES
REQUIRED = ("sequence", "image")
OPTIONAL = ("heading", "time", "label")
KNOWN = REQUIRED + METRES + DEGREES + OPTIONAL
ALIASES = {"latitude": "lat", "longitude": "lon", "lng": "lon", "long": "lon"}
SHORTEST = (
    1000  # microseconds between two images: no camera is faster; an hour's share of a second is 278
)


class Row(NamedTuple):
    """One valid row; `place`, `heading` and `time` are NaN where the row has none.

    `place` is x and y, or latitude and longitude, as the header has; `clock` tells how the time is written.
    """

    line: int
    sequence: str
    image: str
    place: tuple[float, float]
    heading: float
    time: float
    clock: str
    label: str


def read_table(csv_path: pathlib.Path, told: Told) -> dict[str, list[Frame]]:
    """The frames of each sequence in time order; sequences in order of appearance.

    Latitudes and longitudes become eastings and northings of one UTM zone, which `told` takes. A `time`
    (seconds) sorts the rows, stably, and becomes microseconds. Without one the file's order counts, and
    the timestamp is the row's number in its sequence.

    Raises:
      RawDataError: names every bad row with file, line, fault and remedy.
    """
    problems: list[str] = []
    rows, degrees = _rows(csv_path, problems)
    sequences: dict[str, list[Row]] = {}
    for row in rows:
        sequences.setdefault(row.sequence, []).append(row)
    _check_duplicates(csv_path, rows, problems)
    _check_times(csv_path, sequences, problems)
    names = _split_names(csv_path, sequences, problems)
    if problems:
        raise RawDataError(*problems)
    if degrees:
        sequences = _projected(csv_path, sequences, told)
    splits = {names[name]: _frames(csv_path.parent, sequences[name]) for name in sequences}
    told.warnings += _fast(splits)
    naive = sum(row.clock == times.NAIVE for row in rows)
    if naive:
        told.warnings.append(
            f"{csv_path.name}: {naive:,} of {len(rows):,} times have no Z and no offset from UTC, so they "
            "are taken as UTC; an hour that summer time repeats is out of order"
        )
    return splits


def _rows(csv_path: pathlib.Path, problems: list[str]) -> tuple[list[Row], bool]:
    """The valid rows, and whether their places are latitudes and longitudes."""
    text = remedies.text(csv_path)
    other = remedies.separator(re.split("[\r\n]", text, maxsplit=1)[0], (*KNOWN, *ALIASES))
    if other:
        raise RawDataError(f"{csv_path}:1: {other}")
    if above := remedies.above(text, (*KNOWN, *ALIASES)):
        raise RawDataError(f"{csv_path}:{above}")
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    images = remedies.Images(csv_path.parent)
    rows: list[Row] = []
    try:
        header = [name.strip() for name in next(reader, [])]
        header = [ALIASES.get(name, name) for name in header]
        _check_header(csv_path, header)
        for fields in reader:
            if any(field.strip() for field in fields):
                where = f"{csv_path}:{reader.line_num}"
                row = _row(where, images, header, fields, reader.line_num, problems)
                if row is not None:
                    rows.append(row)
    except csv.Error as error:
        raise RawDataError(
            f"{csv_path}:{reader.line_num}: broken CSV ({error}); check its quotes"
        ) from error
    if not rows and not problems:
        raise RawDataError(f"{csv_path} has a header but no rows; add one row per image")
    return rows, "lat" in header


def _check_header(csv_path: pathlib.Path, header: list[str]) -> None:
    problems = []
    unknown = [name for name in header if name not in KNOWN]
    if len(unknown) == len(header) and remedies.no_header(header):
        raise RawDataError(
            f"{csv_path}:1: the line is a row, no header; put one above: {remedies.HEADER_HELP}"
        )
    hints = {name: remedies.column(name, KNOWN, header) for name in unknown}
    told = " ".join(hints.values())
    there = [name for name in KNOWN if name in header or f"write {name!r}" in told]
    if set(there) & set(DEGREES) and set(there) & set(METRES):
        problems.append(
            f"{csv_path}:1: positions are in columns of metres and of degrees "
            f"({', '.join(name for name in there if name in METRES + DEGREES)}); keep x,y or lat,lon"
        )
    else:
        pair = DEGREES if set(there) & set(DEGREES) else METRES
        missing = [name for name in REQUIRED + pair if name not in there]
        if missing:
            problems.append(f"{csv_path}:1: no column {', '.join(missing)}; {remedies.HEADER_HELP}")
    for name, hint in hints.items():
        problems.append(
            f"{csv_path}:1: unknown column {name!r}; {hint or f'{remedies.HEADER_HELP}; remove it'}"
        )
    for name in KNOWN:
        if header.count(name) > 1:
            problems.append(f"{csv_path}:1: column {name!r} appears twice; keep one")
    if problems:
        raise RawDataError(*problems)


def _row(where, images, header, fields, line, problems) -> Row | None:
    """One row, or None after its faults are added to `problems`."""
    if len(fields) != len(header):
        problems.append(
            f"{where}: {len(fields)} fields where the header has {len(header)}; "
            "add or remove commas (quote a comma inside a field)"
        )
        return None
    if [ALIASES.get(field.strip(), field.strip()) for field in fields] == header:
        problems.append(f"{where}: the header stands here again; remove the line")
        return None
    values = dict(zip(header, (field.strip() for field in fields), strict=True))
    before = len(problems)
    if not values["sequence"]:
        problems.append(f"{where}: sequence is empty; name the sequence (split) of this image")
    for key in ("sequence", "image", "label"):
        if has_controls(values.get(key, "")):
            problems.append(f"{where}: {key} {values[key]!r} holds control characters; remove them")
    image_problem = _image_problem(images, values["image"])
    if image_problem:
        problems.append(f"{where}: {image_problem}")
    pair = DEGREES if "lat" in header else METRES
    place = [numbers.coordinate(where, values, key, pair, problems) for key in pair]
    heading = numbers.optional(where, values, "heading", problems)
    time, clock = numbers.time(where, values, problems)
    if len(problems) > before:
        return None
    return Row(
        line,
        values["sequence"],
        values["image"],
        tuple(place),
        heading,
        time,
        clock,
        values.get("label", ""),
    )


def _image_problem(images: remedies.Images, image: str) -> str | None:
    if not image:
        return "image is empty; give its path relative to the CSV's folder"
    path = pathlib.PurePosixPath(image)
    if path.is_absolute() or ".." in path.parts:
        remedy = images.spelling(image)
        return (
            f"image {image!r} must be a path inside the CSV's folder, relative to it"
            f"{f'; {remedy}' if remedy else ''}"
        )
    try:
        found = (images.folder / path).is_file()
    except OSError as error:  # a name too long for any file
        return f"image {image[:40]!r}... cannot be looked up ({error.strerror}); fix the path"
    if not found:
        remedy = images.spelling(image) or "fix the path or remove the row"
        return f"image {image!r} does not exist in {images.folder}; {remedy}"
    return None


def _check_duplicates(csv_path, rows: list[Row], problems: list[str]) -> None:
    first: dict[tuple[str, str], int] = {}
    for row in rows:
        key = (row.sequence, str(pathlib.PurePosixPath(row.image)))
        if key in first:
            problems.append(
                f"{csv_path}:{row.line}: image {row.image!r} of sequence {row.sequence!r} is already "
                f"on line {first[key]}; remove one of the two rows"
            )
        first.setdefault(key, row.line)


def _check_times(csv_path, sequences: dict[str, list[Row]], problems: list[str]) -> None:
    timed = [row for rows in sequences.values() for row in rows if not math.isnan(row.time)]
    problems += [
        f"{csv_path}:{row.line}: time is {row.clock}, where that of line {timed[0].line} is "
        f"{timed[0].clock}; write all times alike"
        for row in timed
        if row.clock != timed[0].clock
    ]
    for sequence, rows in sequences.items():
        without = [row.line for row in rows if math.isnan(row.time)]
        if 0 < len(without) < len(rows):
            problems += [
                f"{csv_path}:{line}: no time, where other images of sequence {sequence!r} have one; "
                "give all a time or none"
                for line in without
            ]


def _split_names(csv_path, sequences, problems: list[str]) -> dict[str, str]:
    """The TFDS split name of each sequence; what is no letter, digit or _ becomes _."""
    names: dict[str, str] = {}
    for sequence, rows in sequences.items():
        name = re.sub(r"[^0-9A-Za-z_]", "_", sequence)
        taken = next((other for other, used in names.items() if used == name), None)
        if taken is not None:
            problems.append(
                f"{csv_path}:{rows[0].line}: sequences {taken!r} and {sequence!r} would both be the "
                f"split {name!r}; rename one (letters, digits and _ only)"
            )
        alike = next((other for other in sequences if other.lower() == sequence.lower()), sequence)
        if alike != sequence and taken is None:
            problems.append(
                f"{csv_path}:{rows[0].line}: sequences {alike!r} and {sequence!r} differ in letter case "
                "alone; write them alike, or rename one"
            )
        if name == "all" or not name.strip("_"):
            problems.append(
                f"{csv_path}:{rows[0].line}: sequence {sequence!r} cannot name a split; rename it "
                "(letters, digits and _; not 'all')"
            )
        names[sequence] = name
    return names


def _projected(csv_path, sequences: dict[str, list[Row]], told: Told) -> dict[str, list[Row]]:
    """The rows with latitudes and longitudes as eastings and northings of one zone."""
    located = [row for rows in sequences.values() for row in rows if not math.isnan(row.place[0])]
    if not located:
        return sequences
    degrees = np.array([row.place for row in located])
    try:
        positions, zone = zones.project(degrees, [row.image for row in located], told.warnings)
    except RawDataError as error:
        raise RawDataError(*(f"{csv_path}: {problem}" for problem in error.problems)) from error
    told.crs = zone.crs
    for sequence, rows in sequences.items():
        known = [row.place for row in rows if not math.isnan(row.place[0])]
        told.warnings += zones.coarse(np.array(known).reshape(-1, 2), sequence)
    places = dict(zip((row.line for row in located), map(tuple, positions.tolist()), strict=True))
    return {
        sequence: [row._replace(place=places.get(row.line, row.place)) for row in rows]
        for sequence, rows in sequences.items()
    }


def _frames(folder: pathlib.Path, rows: list[Row]) -> list[Frame]:
    timed = not math.isnan(rows[0].time)
    if timed:
        rows = sorted(rows, key=lambda row: row.time)
    return [
        Frame(
            image_id=f"{row.sequence}/{row.image}",
            position=row.place,
            heading=row.heading,
            timestamp=round(row.time * 1e6) if timed else number,
            label=row.label,
            source=folder / row.image,
        )
        for number, row in enumerate(rows)
    ]


def _fast(splits: dict[str, list[Frame]]) -> Iterator[str]:
    """Yields a sentence per split whose times lie too near to each other for seconds."""
    for name, frames in splits.items():
        stamps = np.array([frame.timestamp for frame in frames])
        steps = np.diff(stamps)
        counted = np.array_equal(
            stamps, np.arange(len(stamps))
        )  # the rows' numbers, where none has a time
        if not counted and (steps > 0).any() and np.median(steps[steps > 0]) < SHORTEST:
            yield (
                f"{name}: images are {np.median(steps[steps > 0]) / 1e6:g} s apart: these times look like "
                "days or hours, as spreadsheets keep them; write seconds"
            )


LAYOUT = Layout(
    title="places.csv",
    read=lambda folder, told: read_table(folder / TABLE, told),
    position_unit="m",
    pose_source=TABLE,
    timed=True,
    table=TABLE,
    unlocated=True,
)
