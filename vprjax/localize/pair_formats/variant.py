"""What a file of loop closures is, and the names that tools which read pictures know them by."""

import csv
import dataclasses
import os
import pathlib
from collections.abc import Callable, Iterable

import numpy as np

from vprjax.errors import DataError
from vprjax.storage.atomic import begins

COLUMNS = ("i", "j", "distance", "confidence", "x_i", "y_i", "x_j", "y_j", "image_i", "image_j")


@dataclasses.dataclass(frozen=True)
class PairFormat:
    """A file of loop closures.

    Attributes:
      title: in words.
      write: writes a file from its path, the map and the `loops.Pairs`, atomically.
      own: whether the file at a path is of this format and of the command; the second path is the table
        (`-g2o.csv`) of the same prefix.
      check: raises DataError where the format cannot name the map's images; before the search.
    """

    title: str
    write: Callable[[pathlib.Path, object, object], None]
    own: Callable[[pathlib.Path, pathlib.Path], bool]
    check: Callable[[object], None] = lambda places: None


def image_root(places) -> pathlib.Path | None:
    """The deepest folder that holds all pictures of a map; None where some lie in a prepared dataset."""
    paths = places.frames.paths.tolist()
    return pathlib.Path(os.path.commonpath([*map(os.path.dirname, paths)])) if all(paths) else None


def names(places) -> np.ndarray:
    """`(n,)` str: files below `image_root`, as tools name pictures; else the map's own ids."""
    root = image_root(places)
    if root is None:
        return places.frames.image_ids
    return np.array([os.path.relpath(path, root) for path in places.frames.paths.tolist()])


def check_names(places) -> None:
    """Raises DataError where a name does not survive a line of two names with a space between."""
    for name in names(places).tolist():
        if name.split() != [name] or name.startswith("#"):
            raise DataError(
                f"{name!r} holds a space or begins with #, and a list of pairs has two names a line with a "
                "space between; rename the picture and build the map again"
            )


def lines(places, pairs) -> str:
    """`later earlier` per line, by name."""
    own = names(places)
    return _lines(zip(own[pairs.later].tolist(), own[pairs.earlier].tolist(), strict=True))


def _lines(couples: Iterable[tuple[str, str]]) -> str:
    return "".join(f"{later} {earlier}\n" for later, earlier in couples)


def is_table(path: pathlib.Path) -> bool:
    """Whether a file begins as the table of pairs."""
    return path.is_file() and begins(path, ",".join(COLUMNS) + "\n")


def lists_pairs_of(path: pathlib.Path, table: pathlib.Path) -> bool:
    """Whether a list holds the pairs of the command's table; the readers of lists allow no mark."""
    if not is_table(table):
        return False
    try:
        with table.open(encoding="utf-8", newline="") as file:
            couples = [(row["image_i"], row["image_j"]) for row in csv.DictReader(file)]
    except (ValueError, csv.Error):  # a damaged table: no UTF-8, no CSV
        return False
    return path.read_bytes() == _lines(couples).encode()
