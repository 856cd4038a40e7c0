"""Writes that leave a file whole, old or new."""

import os
import pathlib

from vprjax.errors import naming


def write_atomically(path: pathlib.Path, text: str) -> None:
    """Writes a UTF-8 file; a reader sees the old or the new text, never a part.

    Raises:
      OSError: the file cannot be written; the old text stays.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with naming(path):
            partial.write_text(text, encoding="utf-8")  # in any locale: the pages declare it
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def is_other(path: pathlib.Path, start: str) -> bool:
    """Whether a file is there that holds something and does not begin with `start`, in any letter case."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        found = file.read(len(start.encode()))
    return bool(found) and found.lower() != start.lower().encode()
