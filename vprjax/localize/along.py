"""Frames of a query video, one per so many metres of the track that was recorded beside it."""

import dataclasses
import json
import math
import pathlib

import numpy as np

from vprjax.errors import DataError
from vprjax.localize import builders

OUTSIDE = "before the track begins or after it ends"
ROUNDING = 1e-6  # of the way, in frames


@dataclasses.dataclass(frozen=True)
class Track:
    """A track of a video.

    Attributes:
      times: `(n,)` float64 seconds, ascending.
      positions: `(2, n)` float64 metres.
      metres: `(n,)` float64, the way up to each point.
      start: when the video starts, on the same clock.
      warnings: what the track's reader doubts, such as long times without a point.
    """

    times: np.ndarray
    positions: np.ndarray
    metres: np.ndarray
    start: float
    warnings: tuple[str, ...] = ()


def read(path: str, start: str | None) -> Track:
    """The track of a `.gpx` file, or of a CSV of `time,x,y` or `time,lat,lon`.

    Args:
      path: of the file.
      start: when the video starts, as an ISO time, or in seconds where the CSV has seconds; None where it
        starts with the track.

    Raises:
      DataError: the file or the time cannot be read.
    """
    file = str(pathlib.Path(path).expanduser())
    begun = () if start is None else (f"--start={start}",)
    with builders.written("the track", "track", file, *begun) as made:
        found = json.loads(made.read_text(encoding="utf-8"))
    columns = (np.array(found[name], np.float64) for name in ("times", "x", "y", "metres"))
    times, x, y, metres = columns
    return Track(times, np.stack([x, y]), metres, found["start"], tuple(found["warnings"]))


class Along:
    """Takes a frame once the way since the last one reaches `metres`; a camera that stands gives none.

    A receiver that stands still wanders, and its way grows. So a frame is also `metres / 2` or more away
    from the last one.

    Attributes:
      inside: count of the video's frames that the track covers, so far.
      outside: count of the others, which are left out.
    """

    def __init__(self, track: Track, metres: float):
        """Starts before the first frame; the first one that the track covers is taken."""
        self._track, self._metres = track, metres
        self._due, self._last = -math.inf, None
        self.inside = self.outside = 0

    def __call__(self, seconds: float) -> bool:
        """Whether the frame at so many seconds of the video is taken; frames come in order."""
        track = self._track
        time = track.start + seconds
        if not track.times[0] <= time <= track.times[-1]:
            self.outside += 1
            return False
        self.inside += 1
        reached = np.interp(time, track.times, track.metres) / self._metres + ROUNDING
        place = [np.interp(time, track.times, axis) for axis in track.positions]
        away = math.inf if self._last is None else math.dist(place, self._last) / self._metres
        if reached < self._due or away + ROUNDING < 0.5:
            return False
        self._due, self._last = math.floor(reached) + 1, place
        return True

    @property
    def doubts(self) -> tuple[str, ...]:
        """What the track's reader doubts."""
        return self._track.warnings

    @property
    def left_out(self) -> str:
        """A sentence where the track does not cover all frames so far; "" elsewhere."""
        if not self.outside:
            return ""
        every = self.inside + self.outside
        return f"{self.outside:,} of {every:,} frames are left out, {OUTSIDE}"

    @property
    def notes(self) -> list[str]:
        """All of these sentences."""
        return [*self.doubts, *([self.left_out] if self.outside else ())]

    def check(self, name: str) -> None:
        """Checks, at the video's end, that the track covers some of it.

        Raises:
          DataError: it covers no frame.
        """
        if not self.inside:
            track = self._track
            raise DataError(
                f"no frame of {name} is inside the track, which runs from {track.times[0]:.3f} to "
                f"{track.times[-1]:.3f} s where the video starts at {track.start:.3f} s; correct --start"
            )
