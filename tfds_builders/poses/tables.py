"""Rows of numbers in text files, with their line numbers; a fault names file and line."""

import glob
import math
import pathlib
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from tfds_builders.errors import RawDataError
from tfds_builders.poses import rigid

T = TypeVar("T")
PACKED = (b"\x1f\x8b", b"PK")  # first bytes of gzip and zip
TURN = 2 * math.pi + 0.01  # radians; rounding goes a little beyond


class Row(NamedTuple):
    """The fields of one line, without blanks around them, and its number."""

    line: int
    fields: list[str]


def text(path: pathlib.Path) -> str:
    """The text of a file; raises RawDataError where it is missing or no UTF-8."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        packed = path.read_bytes()[:2] in PACKED
        remedy = "is packed; unpack it" if packed else "is no UTF-8 text; download or copy it again"
        raise RawDataError(f"{path} {remedy}") from error
    except OSError as error:
        packed = sorted(path.parent.glob(f"{glob.escape(path.name)}.*"))
        remedy = f"unpack {packed[0]}" if packed else "put the dataset's file there"
        raise RawDataError(f"{path} cannot be read ({error.strerror}); {remedy}") from error


def rows(path: pathlib.Path, separator: str | None = None, widths: Sequence[int] = ()) -> list[Row]:
    """The rows of a file without blank lines and those that begin with `#`.

    Args:
      path: of the file.
      separator: between fields; None splits at blanks.
      widths: allowed counts of fields; any where empty.

    Raises:
      RawDataError: names every row of another width; or there is no row.
    """
    found, problems = [], []
    for number, line in enumerate(text(path).splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        fields = [field.strip() for field in line.split(separator)]
        if widths and len(fields) not in widths:
            wanted = " or ".join(map(str, widths))
            problems.append(
                f"{path}:{number}: {len(fields)} fields where the format has {wanted}; download "
                "or copy the "
                "file again"
            )
        found.append(Row(number, fields))
    if problems:
        raise RawDataError(*problems)
    if not found:
        raise RawDataError(f"{path} holds no rows; download or copy it again")
    return found


def column(path: pathlib.Path, table: list[Row], at: int, read: Callable[[str], T]) -> list[T]:
    """One column by `read`, whose ValueErrors become a RawDataError that names every line."""
    values, problems = [], []
    for line, fields in table:
        try:
            values.append(read(fields[at]))
        except ValueError as error:
            problems.append(f"{path}:{line}: {error}; check the file and the layout")
    if problems:
        raise RawDataError(*problems)
    return values


def numbers(path: pathlib.Path, table: list[Row], first: int, count: int) -> np.ndarray:
    """`count` columns from `first` on, float64 `(n, count)`; a field may be nan; raises RawDataError."""
    values, problems = np.empty((len(table), count)), []
    for i, (line, fields) in enumerate(table):
        try:
            values[i] = [float(text) for text in fields[first : first + count]]
        except ValueError as error:
            problems.append(f"{path}:{line}: {error}; download or copy the file again")
    if problems:
        raise RawDataError(*problems)
    return values


def check_radians(path: pathlib.Path, angles: np.ndarray) -> None:
    """Raises RawDataError where roll, pitch and heading `(n, 3)` go beyond a turn: they are degrees."""
    most = float(np.nanmax(np.abs(angles), initial=0.0))
    if most > TURN:
        raise RawDataError(
            f"{path}: roll, pitch and heading go up to {most:.1f}: these are degrees where the format has "
            "radians; use the dataset's own file"
        )


def rotations(
    path: pathlib.Path, table: list[Row], quaternions: np.ndarray, order: str
) -> np.ndarray:
    """Rotations `(n, 3, 3)` of the rows' quaternions, "xyzw" or "wxyz"; raises RawDataError by line."""
    try:
        return rigid.of_quaternions(quaternions, order, lambda i: f"{path}:{table[i].line}")
    except ValueError as error:
        raise RawDataError(str(error)) from error


def rigid_motions(
    path: pathlib.Path, table: list[Row], first: int, count: int = 12
) -> tuple[np.ndarray, np.ndarray]:
    """Rotations and places of rows of `count` numbers from column `first`; raises RawDataError by line."""
    values = numbers(path, table, first, count)
    try:
        return rigid.of_matrices(values, lambda i: f"{path}:{table[i].line}")
    except ValueError as error:
        raise RawDataError(str(error)) from error
