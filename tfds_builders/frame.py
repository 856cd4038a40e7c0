"""One image with its pose, before its pixels are read; importing it imports no TFDS."""

import math
import unicodedata
from collections.abc import Iterable
from typing import Any, NamedTuple

from tfds_builders.errors import RawDataError

FARTHEST = 1e15  # of a position; float64 holds whole numbers exactly up to here
LATEST = 10**17  # microseconds, the year 5138; sums and differences of times stay within int64


def check_split_names(where: str, splits: Iterable[str]) -> None:
    """Raises RawDataError that names `where` at a name that no TFDS split can have."""
    for split in splits:
        if not split.replace("_", "").isalnum() or split == "all":
            raise RawDataError(
                f"{where}: {split!r} cannot name a split; rename it: letters, digits and _, not 'all'"
            )


class Frame(NamedTuple):
    """One image with its pose, before its pixels are read.

    Attributes:
      image_id: unique in the dataset, e.g. "<sequence>/<file name>".
      position: easting/x and northing/y, metres; NaN where a builder allows unknown ones.
      heading: radians, NaN where unknown.
      timestamp: microseconds, or frame order.
      label: place label, may be empty.
      source: where the builder's `read` finds the raw bytes: a path or an archive member.
    """

    image_id: str
    position: tuple[float, float]
    heading: float = math.nan
    timestamp: int = 0
    label: str = ""
    source: Any = None

    @property
    def located(self) -> bool:
        """Whether the position is known."""
        return not any(map(math.isnan, self.position))


def from_north(degrees: float) -> float:
    """A compass angle, degrees clockwise from north, as a heading: radians in (-pi, pi]."""
    return math.radians(180 - (180 - degrees) % 360)


def check_frames(frames: Iterable[Frame], unlocated: bool = False) -> None:
    """Raises RawDataError that names every frame with a value that no record can hold.

    Args:
      frames: of all splits.
      unlocated: whether a frame may have no position.
    """
    problems = []
    for frame in frames:
        unknown = unlocated and all(map(math.isnan, frame.position))
        if not unknown and not all(abs(value) <= FARTHEST for value in frame.position):
            problems.append(
                f"{frame.source}: position {frame.position} is not finite or beyond {FARTHEST:g}; "
                "correct it or leave the image out"
            )
        if math.isinf(frame.heading):
            problems.append(
                f"{frame.source}: heading {frame.heading} is not finite; correct it or leave it out"
            )
        for text in (frame.image_id, frame.label):
            if has_controls(text):
                problems.append(
                    f"{frame.source}: {text!r} holds control characters or bytes that are no UTF-8; "
                    "rename it"
                )
    if problems:
        raise RawDataError(*problems)


def has_controls(text: str) -> bool:
    """Whether a text holds control characters, or bytes that are not UTF-8 on disk."""
    return not text.isprintable() and any(  # the first test is quick, but refuses some spaces too
        unicodedata.category(letter) in ("Cc", "Cs") for letter in text
    )
