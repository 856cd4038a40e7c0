"""Loop closures: pairs of a map's images that show one place at different times."""

import dataclasses
import re

import numpy as np

from vprjax.console import progress
from vprjax.errors import DataError
from vprjax.localize.answer import confidences

BYTES = 64 << 20  # of the distances held at once


@dataclasses.dataclass(frozen=True)
class Window:
    """What lies too near in time within a drive: up to `size` seconds, or that many frames."""

    size: float
    seconds: bool

    @classmethod
    def parse(cls, text: str) -> "Window":
        """The window of a text such as "30s" or "50f".

        Raises:
          DataError: the text is neither.
        """
        found = re.fullmatch(r"(\d+(?:\.\d+)?)s|(\d+)f", text)
        if not found:
            raise DataError(f"--window={text}: give seconds such as 30s or frames such as 50f")
        return cls(float(found[1] or found[2]), found[1] is not None)

    def check(self, places) -> None:
        """Raises DataError where the map lacks the times that the window needs."""
        unknown = np.flatnonzero(np.isnan(places.frames.times))
        if self.seconds and len(unknown):
            raise DataError(
                f"{places.folder} knows no time of {len(unknown):,} images, such as "
                f"{places.frames.image_ids[unknown[0]]}; give the window in frames: --window=50f"
            )

    def moments(self, places) -> np.ndarray:
        """`(n,)` float64, the images' times in the window's unit; frames count from their drive's start."""
        if self.seconds:
            return places.frames.times
        drives = places.drives
        order = np.argsort(drives, kind="stable")
        starts = np.searchsorted(drives[order], drives[order])
        out = np.empty(len(drives))
        out[order] = np.arange(len(drives)) - starts
        return out


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Pairs of images, each once, in the order of their later image, the nearest first.

    Attributes:
      later: `(m,)` int64, number of the image that comes later in the map.
      earlier: `(m,)` int64, number of the other.
      distances: `(m,)` float32, L2 distance of descriptors.
      confidences: `(m,)` float64, as in `answer.confidences`.
    """

    later: np.ndarray
    earlier: np.ndarray
    distances: np.ndarray
    confidences: np.ndarray

    def __len__(self) -> int:
        return len(self.later)


def find(places, window: Window, k: int, threshold: float | None, calibration=None) -> Pairs:
    """The pairs of each image with its `k` nearest outside the window around it.

    Args:
      places: the map.
      window: images of the same drive as near in time do not count, nor does the image itself.
      k: pairs per image, at most; a pair that both images have counts once.
      threshold: the least confidence of a pair; None takes what the calibration locates, all without one.
      calibration: of the map's model. One by ratios counts an image's nearest of another place outside the
        window too; a pair that both images have takes the smaller ratio. `judging` says when distances
        count instead.

    Raises:
      DataError: the map lacks times, or k is below 1.
    """
    window.check(places)
    if k < 1:
        raise DataError(f"k is {k}; give 1 or more")
    calibration = judging(places, calibration)
    n, moments, drives = len(places), window.moments(places), places.drives
    k, step, found = min(k, n), max(1, BYTES // (4 * n)), []
    with progress("search", n, "images") as bar:
        for first in range(0, n, step):
            own = np.arange(first, min(first + step, n))
            near = np.abs(moments[own, None] - moments[None, :]) <= window.size
            near &= drives[own, None] == drives[None, :]
            near[np.arange(len(own)), own] = True
            distances, numbers, values = places.nearest_of(own, k, near, calibration)
            real = np.isfinite(distances)
            mine = np.broadcast_to(own[:, None], real.shape)[real]
            found.append((mine, numbers[real], distances[real], values[real]))
            bar.advance(len(own))
    return _pairs(*map(np.concatenate, zip(*found, strict=True)), threshold, calibration)


def judging(places, calibration):
    """What judges a map's pairs: distances where an image has no position; None where nothing does."""
    known = bool(np.isfinite(places.frames.positions).all())
    return calibration and calibration.judging(known)


def _pairs(mine, others, distances, values, threshold: float | None, calibration) -> Pairs:
    later, earlier = np.maximum(mine, others), np.minimum(mine, others)
    order = np.lexsort((values, earlier, later))
    _, once = np.unique(np.stack([later, earlier])[:, order], axis=1, return_index=True)
    order = order[once]
    order = order[np.lexsort((earlier[order], distances[order], later[order]))]
    later, earlier, distances, values = (x[order] for x in (later, earlier, distances, values))
    sure = confidences(values, calibration)
    if threshold is not None:
        kept = sure >= threshold
    else:
        kept = np.full(len(sure), True) if calibration is None else calibration.located(values)
    return Pairs(later[kept], earlier[kept], distances[kept], sure[kept])
