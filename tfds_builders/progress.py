"""Shows progress on stderr: a bar on a terminal, elsewhere a plain line per `LINE_SECONDS`."""

import sys
import threading
import time

import tqdm

LINE_SECONDS = 10.0


class Progress:
    """Counts finished items from any thread; use as a context manager."""

    def __init__(self, total: int, name: str, unit: str = "images"):
        """Starts at 0 of `total`."""
        self._total, self._name, self._unit = total, name, unit
        self._done, self._lock = 0, threading.Lock()
        self._start = self._last = time.monotonic()
        self._bar = None
        if sys.stderr.isatty():
            self._bar = tqdm.tqdm(total=total, desc=name, unit=f" {unit}", dynamic_ncols=True)

    def add(self, count: int = 1) -> None:
        """Counts `count` more finished items."""
        with self._lock:
            self._done += count
            if self._bar is not None:
                self._bar.update(count)
            elif time.monotonic() - self._last > LINE_SECONDS:
                self._last = time.monotonic()
                self._line()

    def _line(self) -> None:
        seconds = time.monotonic() - self._start
        rate = self._done / max(seconds, 1e-9)
        left = (self._total - self._done) / rate if rate else 0.0
        text = f"{self._name}: {self._done}/{self._total} {self._unit}, {rate:.0f}/s"
        print(f"{text}, {left:.0f} s left" if left else text, file=sys.stderr, flush=True)

    def __enter__(self) -> "Progress":
        """Returns itself."""
        return self

    def __exit__(self, *error) -> None:
        """Closes the bar, or prints the last line after success."""
        if self._bar is not None:
            self._bar.close()
        elif error[0] is None:
            self._line()
