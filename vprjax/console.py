"""The console during a run: log lines and a progress bar with the time left."""

import contextlib
import sys
import time
from collections.abc import Iterator

from tqdm import tqdm

_speaks = True


def speak(yes: bool) -> None:
    """Turns this process's output on or off; among several processes only the first one speaks."""
    global _speaks
    _speaks = yes


def speaks() -> bool:
    """Whether this process writes to the console and to metric files."""
    return _speaks


def log(message: str) -> None:
    """Writes one line to standard error, apart from a running progress bar."""
    if _speaks:
        tqdm.write(message, file=sys.stderr)


class Progress:
    """A progress bar on a terminal; elsewhere a plain line every `seconds`."""

    def __init__(self, what: str, total: int, unit: str, start: int = 0, seconds: float = 15.0):
        """Starts at `start` of `total` units; `what` labels the bar."""
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
        """Counts `n` more units as done and shows `figures` beside the bar."""
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
    """A context with a `Progress`, which it closes even after an error."""
    bar = Progress(what, total, unit, start)
    try:
        yield bar
    finally:
        bar.close()
