"""Rows of figures as sealed JSON lines."""

import os
import pathlib

from vprjax.console import log, speaks
from vprjax.errors import naming
from vprjax.storage import checksum
from vprjax.storage.atomic import write_atomically


class JsonLines:
    """Metrics as one sealed JSON object a line, flushed at once; rows past a resumed step are dropped.

    Attributes:
      kept: step of the last row that was kept, 0 if there was none.
    """

    def __init__(self, path: pathlib.Path, resume_step: int):
        """Opens `path` for appending and keeps only rows with `step <= resume_step`."""
        self._path, self._file, self.kept = path, open(os.devnull, "a"), 0
        if not speaks():
            return
        kept = [row for row in read_rows(path) if row["step"] <= resume_step]
        write_atomically(path, "".join(map(checksum.line, kept)))
        self.kept = kept[-1]["step"] if kept else 0
        self._file.close()
        self._file = path.open("a")

    def write(self, step: int, values: dict) -> None:
        """Appends one row."""
        with naming(self._path):
            self._file.write(checksum.line({"step": step, **values}))
            self._file.flush()

    def close(self) -> None:
        """Closes the file; what a full disk kept it from writing, it tries again."""
        with naming(self._path):
            self._file.close()


def read_rows(path: pathlib.Path) -> list[dict]:
    """The rows of a file of `JsonLines`; one that is not as it was written is named and left out."""
    rows = []
    lines = path.read_text(errors="replace").split("\n") if path.exists() else []
    for number, line in enumerate(lines, 1):
        try:
            row = checksum.unseal(line) if line else {}
        except ValueError as error:
            log(f"{path}:{number} is damaged or was cut short by a kill ({error}); it is left out")
            continue
        if isinstance(row.get("step"), int):
            rows.append(row)
    return rows
