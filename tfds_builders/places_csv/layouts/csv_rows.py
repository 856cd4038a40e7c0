"""Rows of the CSV tables that public datasets bring, with the sentences on their faults."""

import csv
import math
import pathlib
from collections.abc import Iterator, Sequence

from tfds_builders.errors import RawDataError
from tfds_builders.frame import FARTHEST

Row = dict[str, str]
SHOWN = 5  # of many alike


def read(path: pathlib.Path, columns: Sequence[str]) -> Iterator[tuple[str, Row]]:
    """Yields `file:line` and the texts by column of each row.

    Raises:
      RawDataError: there is no such table, no CSV or a column less.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            missing = [name for name in columns if name not in (reader.fieldnames or ())]
            if missing:
                raise RawDataError(
                    f"{path}:1: no column {', '.join(missing)}; the dataset's own header has "
                    f"{', '.join(columns)}"
                )
            for row in reader:
                if None in row or None in row.values():
                    raise RawDataError(
                        f"{path}:{reader.line_num}: the row has another number of fields than the "
                        "header; download the table again"
                    )
                yield f"{path}:{reader.line_num}", row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RawDataError(
            f"{path} cannot be read ({error}); put the dataset's own table there"
        ) from error


def number(where: str, key: str, text: str, most: float = FARTHEST) -> float:
    """A finite number of at most `most`; raises RawDataError."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not abs(value) <= most:
        raise RawDataError(
            f"{where}: {key} is {text!r}; the dataset's own tables have a number up to {most:g} there"
        )
    return value


def whole(where: str, key: str, text: str) -> int:
    """A whole number, which may be written `7.0`; raises RawDataError."""
    if text.isdecimal() and text.isascii() and len(text) < 16:
        return int(text)
    value = number(where, key, text)
    if value != int(value):
        raise RawDataError(f"{where}: {key} is {text!r}; the dataset's own tables have whole ones")
    return int(value)


def some(names: Sequence[str]) -> str:
    """The first names of many."""
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
