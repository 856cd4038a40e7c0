"""What a format of answers is."""

import dataclasses
import math
from collections.abc import Callable, Sequence

from vprjax.localize.answer import Answer
from vprjax.localize.inputs import Asked


@dataclasses.dataclass(frozen=True)
class Format:
    """A format of answers.

    Attributes:
      title: in words.
      start: what every file begins with.
      text: the whole file's text from the map and pairs of picture and answer.
      check: raises DataError where the format cannot say where this map's places are; before any query.
    """

    title: str
    start: str
    text: Callable[[object, Sequence[tuple[Asked, Answer]]], str]
    check: Callable[[object], None] = lambda places: None


def known(value: float | None) -> float | None:
    """A number, or None for NaN and infinity, which JSON cannot hold."""
    return None if value is None or not math.isfinite(value) else float(value)


def shortest(value) -> float:
    """A float32 as the shortest float that names it."""
    return float(str(value))
