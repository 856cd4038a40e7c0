"""hloc's files: pairs of a query and a database image per line, and global descriptors in HDF5.

The descriptors' file has a group per image name (a name with "/" lies in nested groups), each with a
dataset `global_descriptor` `(d,)` float32, as `hloc.pairs_from_retrieval` reads it.
"""

import pathlib

import h5py

from vprjax.console import progress
from vprjax.errors import naming
from vprjax.localize.pair_formats.variant import (
    PairFormat,
    check_names,
    lines,
    lists_pairs_of,
    names,
)
from vprjax.storage.atomic import write_atomically

KEY = "global_descriptor"
MARK, MARKED = "written_by", "vprjax.localize loops"  # hloc reads groups alone
ROWS = 1024  # descriptors in memory at once


def _write_pairs(path: pathlib.Path, places, pairs) -> None:
    write_atomically(path, lines(places, pairs))


def _write_descriptors(path: pathlib.Path, places, pairs) -> None:
    del pairs
    partial, own = path.with_name(f".{path.name}.partial"), names(places).tolist()
    try:
        with (
            naming(path),
            h5py.File(partial, "w") as file,
            progress("descriptors", len(own), "images") as bar,
        ):
            file.attrs[MARK] = MARKED
            for first in range(0, len(own), ROWS):
                rows = places.descriptors[first : first + ROWS]
                for name, row in zip(own[first : first + ROWS], rows, strict=True):
                    file.create_group(name).create_dataset(KEY, data=row)
                bar.advance(len(rows))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _own(path: pathlib.Path, table: pathlib.Path) -> bool:
    """Whether the file bears the mark, which the files of hloc itself lack."""
    del table
    try:
        with h5py.File(path, "r") as file:
            return file.attrs.get(MARK) == MARKED
    except OSError:  # no HDF5
        return False


PAIRS = PairFormat("hloc's pairs", _write_pairs, lists_pairs_of, check_names)
DESCRIPTORS = PairFormat("hloc's global descriptors", _write_descriptors, _own)
