"""Metrics as JSON lines, one sealed row per logged step."""

import os
import pathlib

from vprjax.console import log, speaks
from vprjax.errors import naming
from vprjax.storage import checksum
from vprjax.storage.atomic import write_atomically


class JsonLines:
    """A metrics file with one sealed JSON object per line, flushed at once.

    Resuming drops the rows past the resumed step. A silent process (`console.speaks`) writes nothing.

    Attributes:
      kept: step of the last row that the resume kept, 0 without one.
    """

    def __init__(self, path: pathlib.Path, resume_step: int):
        """Opens `path` for appending; of its rows those with `step <= resume_step` stay."""
        self._path, self._file, self.kept = path, open(os.devnull, "a"), 0
        if not speaks():
            return
        kept = [row for row in read_rows(path) if row["step"] <= resume_step]
        write_atomically(path, "".join(map(checksum.line, kept)))
        self.kept = kept[-1]["step"] if kept else 0
        self._file.close()
        self._file = path.open("a")

    def write(self, step: int, values: dict) -> None:
        """Appends one row; raises OSError with the file's name."""
        with naming(self._path):
            self._file.write(checksum.line({"step": step, **values}))
            self._file.flush()

    def close(self) -> None:
        """Closes the file and retries what a full disk refused; raises OSError with the file's name."""
        with naming(self._path):
            self._file.close()


def read_rows(path: pathlib.Path) -> list[dict]:
    """The rows of a `JsonLines` file; a damaged row is logged and left out."""
    rows = []
    lines = path.read_text(errors="replace").split("\n") if path.exists() else []
    for number, line in enumerate(lines, 1):
        try:
            row = checksum.unseal(line) if line else {}
        except ValueError as error:
            log(f"{path}:{number} is damaged or cut short by a kill ({error}); the row is left out")
            continue
        if isinstance(row.get("step"), int):
            rows.append(row)
    return rows
