"""The tables of a city of MSLS: sequences, subtasks, and columns by key."""

import pathlib
from typing import NamedTuple

import numpy as np

from tfds_builders.errors import RawDataError
from tfds_builders.places_csv.layouts import csv_rows


class Table(NamedTuple):
    """Columns of a table by key; a row of texts begins with its line."""

    path: pathlib.Path
    columns: tuple[str, ...]
    rows: dict[str, tuple]

    def cell(self, key: str, column: str) -> tuple[str, str, str]:
        """Where a cell stands, its column and its text."""
        line, *texts = self.rows[key]
        return f"{self.path}:{line}", column, texts[self.columns.index(column)]

    def numbers(self, keys: list[str], columns: tuple[str, ...], most: float) -> np.ndarray:
        """Columns of some keys, `(n, columns)`; raises RawDataError."""
        return np.array(
            [[csv_rows.number(*self.cell(key, c), most) for c in columns] for key in keys]
        )

    def true(self, key: str, column: str) -> bool:
        """A cell of True or False; raises RawDataError at another text."""
        where, _, found = self.cell(key, column)
        text = found.strip().lower()
        if text not in ("true", "false"):
            raise RawDataError(f"{where}: {column} is {found!r}; the dataset's has True or False")
        return text == "true"


def sequences(path: pathlib.Path) -> tuple[dict[str, str], list[int]]:
    """The sequence of each key, and its frame numbers; the dataset's page calls the column otherwise."""
    found, numbers, column = {}, [], ""
    for where, row in csv_rows.read(path, ("key", "frame_number")):
        if not column:
            names = ("sequence_key", "sequence_id")
            column = next((name for name in names if name in row), "")
            if not column:
                raise RawDataError(
                    f"{path}:1: no column sequence_key; put the dataset's own table there"
                )
        found[row["key"]] = row[column]
        numbers.append(csv_rows.whole(where, "frame_number", row["frame_number"]))
    if len(found) < len(numbers):
        raise RawDataError(f"{path} holds a key twice; put the dataset's own table there")
    return found, numbers


def subtask(folder: pathlib.Path, name: str) -> set[str] | None:
    """The keys of a subtask; None where no table tells them and all images are wanted."""
    path = folder / "subtask_index.csv"
    if name == "all" and not path.is_file():
        return None
    table = by_key(path, ("key", name))
    return {key for key in table.rows if table.true(key, name)}


def by_key(path: pathlib.Path, columns: tuple[str, ...]) -> Table:
    """The columns of a table, of which the first is the key."""
    rows = {}
    for where, row in csv_rows.read(path, columns):
        rows[row["key"]] = (int(where.rpartition(":")[2]), *(row[name] for name in columns[1:]))
    return Table(path, columns[1:], rows)
