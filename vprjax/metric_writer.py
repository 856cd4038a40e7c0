"""What a person sees while it runs: a progress bar or log lines, and metrics as JSON lines."""

import contextlib
import os
import pathlib
import sys
import time
from collections.abc import Iterator

from tqdm import tqdm

from vprjax import checksum
from vprjax.errors import naming

_speaks = True


def speak(yes: bool) -> None:
    """Whether this process shows and writes anything; of several, the first one does."""
    global _speaks
    _speaks = yes


def log(message: str) -> None:
    """One line to standard error, kept apart from a running progress bar."""
    if _speaks:
        tqdm.write(message, file=sys.stderr)


class Progress:
    """A progress bar with ETA on a terminal; elsewhere a plain line every `seconds`."""

    def __init__(self, what: str, total: int, unit: str, start: int = 0, seconds: float = 15.0):
        """Starts at `start` of `total` units of `what`."""
        self._bar = tqdm(
            total=total,
            initial=start,
            desc=what,
            unit=unit,
            dynamic_ncols=True,
            leave=False,
            disable=not (sys.stderr.isatty() and _speaks),
        )
        self._plain = not sys.stderr.isatty()
        self._what, self._total, self._unit = what, total, unit
        self._start = self._done = start
        self._seconds, self._began = seconds, time.monotonic()
        self._said = self._began

    def advance(self, n: int = 1, **figures: float) -> None:
        """`n` more units are done; `figures` are shown beside the bar."""
        self._done += n
        self._bar.update(n)
        if figures:
            self._bar.set_postfix({k: f"{v:.3g}" for k, v in figures.items()}, refresh=False)
        now = time.monotonic()
        if self._plain and now - self._said >= self._seconds:
            self._said = now
            rate = (self._done - self._start) / (now - self._began)
            left = (self._total - self._done) / rate
            shown = "".join(f" {k}={v:.4g}" for k, v in figures.items())
            log(
                f"{self._what}: {self._done}/{self._total} {self._unit}, {rate:.3g} {self._unit}/s, "
                f"{left:.0f} s left{shown}"
            )

    def close(self) -> None:
        """Removes the bar."""
        self._bar.close()


@contextlib.contextmanager
def progress(what: str, total: int, unit: str, start: int = 0) -> Iterator[Progress]:
    """A `Progress` that is closed whatever happens."""
    bar = Progress(what, total, unit, start)
    try:
        yield bar
    finally:
        bar.close()


class JsonLines:
    """Metrics as one sealed JSON object a line, flushed at once; rows past a resumed step are dropped.

    Attributes:
      kept: step of the last row that was kept, 0 if there was none.
    """

    def __init__(self, path: pathlib.Path, resume_step: int):
        """Opens `path` for appending and keeps only rows with `step <= resume_step`."""
        self._path, self._file, self.kept = path, open(os.devnull, "a"), 0
        if not _speaks:
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


def write_atomically(path: pathlib.Path, text: str) -> None:
    """Writes a UTF-8 file so that a reader sees the old or the new text, never a part."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with naming(path):
            partial.write_text(text, encoding="utf-8")  # whatever the locale: pages say so
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
