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
from tfds_builders.frame import FARTHEST, LATEST, Frame, has_controls
from tfds_builders.places_csv import remedies
from tfds_builders.places_csv.layouts.variant import Layout

TABLE = "places.csv"
REQUIRED = ("sequence", "image", "x", "y")
OPTIONAL = ("heading", "time", "label")
SHORTEST = (
    1000  # microseconds between two images: no camera is faster; an hour's share of a second is 278
)


class Row(NamedTuple):
    """One valid row; `x` and `y`, `heading` and `time` are NaN where the row has none."""

    line: int
    sequence: str
    image: str
    x: float
    y: float
    heading: float
    time: float
    label: str


def read_table(csv_path: pathlib.Path) -> dict[str, list[Frame]]:
    """The frames of each sequence in time order; sequences in order of appearance.

    A `time` (seconds) sorts the rows, stably, and becomes microseconds. Without one the file's order
    counts, and the timestamp is the row's number in its sequence.

    Raises:
      RawDataError: names every bad row with file, line, fault and remedy.
    """
    problems: list[str] = []
    rows = _rows(csv_path, problems)
    sequences: dict[str, list[Row]] = {}
    for row in rows:
        sequences.setdefault(row.sequence, []).append(row)
    _check_duplicates(csv_path, rows, problems)
    _check_times(csv_path, sequences, problems)
    names = _split_names(csv_path, sequences, problems)
    if problems:
        raise RawDataError(*problems)
    return {
        names[sequence]: _frames(csv_path.parent, sequences[sequence]) for sequence in sequences
    }


def _rows(csv_path: pathlib.Path, problems: list[str]) -> list[Row]:
    text = remedies.text(csv_path)
    other = remedies.separator(re.split("[\r\n]", text, maxsplit=1)[0], REQUIRED + OPTIONAL)
    if other:
        raise RawDataError(f"{csv_path}:1: {other}")
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    images = remedies.Images(csv_path.parent)
    rows: list[Row] = []
    try:
        header = [name.strip() for name in next(reader, [])]
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
    return rows


def _check_header(csv_path: pathlib.Path, header: list[str]) -> None:
    problems = []
    known = REQUIRED + OPTIONAL
    missing = [name for name in REQUIRED if name not in header]
    unknown = [name for name in header if name not in known]
    if len(unknown) == len(header) and remedies.no_header(header):
        raise RawDataError(
            f"{csv_path}:1: the line is a row, no header; put one above: {remedies.HEADER_HELP}"
        )
    degrees = remedies.degrees(header) if {"x", "y"} <= set(missing) else []
    if degrees:
        problems.append(
            f"{csv_path}:1: columns {degrees[0]!r} and {degrees[1]!r} are degrees; write x and y in "
            f"metres, e.g. by {remedies.PROJECT}"
        )
    hints = {name: remedies.column(name, known, header) for name in unknown if name not in degrees}
    named = " ".join(hints.values())
    missing = [name for name in missing if f"write {name!r}" not in named]
    missing = [name for name in missing if not degrees or name not in ("x", "y")]
    if missing:
        problems.append(f"{csv_path}:1: no column {', '.join(missing)}; {remedies.HEADER_HELP}")
    for name, hint in hints.items():
        problems.append(
            f"{csv_path}:1: unknown column {name!r}; {hint or f'{remedies.HEADER_HELP}; remove it'}"
        )
    for name in known:
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
    numbers = {}
    unlocated = all(values[key].lower() in remedies.UNKNOWN for key in ("x", "y"))
    for key, unit, most in (
        ("x", "metres", FARTHEST),
        ("y", "metres", FARTHEST),
        ("heading", "radians", FARTHEST),
        ("time", "seconds", LATEST / 1e6),
    ):
        text = values.get(key, "")
        numbers[key] = math.nan
        if key in OPTIONAL and text.lower() in remedies.UNKNOWN:
            continue
        if key in ("x", "y") and (unlocated or not text):
            if not unlocated:
                problems.append(
                    f"{where}: {key} is empty; give a number in {unit}, or leave x and y empty where a "
                    "query's position is unknown"
                )
            continue
        try:
            numbers[key] = float(text)
        except ValueError:
            remedy = remedies.number(text) or f"give a number in {unit}"
            if text.lower() in remedies.OTHER_UNKNOWN:
                remedy += f", or leave {'x and y' if key in ('x', 'y') else key} empty where it is unknown"
            problems.append(f"{where}: {key} is {text!r}; {remedy}")
            continue
        if key == "time" and most < abs(numbers[key]) < 1e20:
            problems.append(f"{where}: time is {text}; {remedies.clock(numbers[key])}")
        elif not abs(numbers[key]) <= most:  # NaN neither
            problems.append(
                f"{where}: {key} is {text}; give a finite number in {unit} up to {most:g}, or remove "
                "the row"
            )
    if len(problems) > before:
        return None
    return Row(line, values["sequence"], values["image"], **numbers, label=values.get("label", ""))


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
        if name == "all" or not name.strip("_"):
            problems.append(
                f"{csv_path}:{rows[0].line}: sequence {sequence!r} cannot name a split; rename it "
                "(letters, digits and _; not 'all')"
            )
        names[sequence] = name
    return names


def _frames(folder: pathlib.Path, rows: list[Row]) -> list[Frame]:
    timed = not math.isnan(rows[0].time)
    if timed:
        rows = sorted(rows, key=lambda row: row.time)
    return [
        Frame(
            image_id=f"{row.sequence}/{row.image}",
            position=(row.x, row.y),
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
        times = np.array([frame.timestamp for frame in frames])
        steps = np.diff(times)
        counted = np.array_equal(
            times, np.arange(len(times))
        )  # the rows' numbers, where none has a time
        if not counted and (steps > 0).any() and np.median(steps[steps > 0]) < SHORTEST:
            yield (
                f"{name}: images are {np.median(steps[steps > 0]) / 1e6:g} s apart: these times look like "
                "days or hours, as spreadsheets keep them; write seconds"
            )


def _read(folder: pathlib.Path, warnings: list[str]) -> dict[str, list[Frame]]:
    splits = read_table(folder / TABLE)
    warnings += _fast(splits)
    return splits


LAYOUT = Layout(
    title="places.csv",
    read=_read,
    position_unit="m",
    pose_source=TABLE,
    table=TABLE,
    unlocated=True,
)
