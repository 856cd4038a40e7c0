"""What a dataset layout declares."""

import dataclasses
import pathlib
from collections.abc import Callable
from typing import NamedTuple

from tfds_builders.frame import Frame


class LeftOut(NamedTuple):
    """An image that is there but in no split: its split, path relative to the raw folder, and why."""

    split: str
    image: str
    reason: str


@dataclasses.dataclass
class Told:
    """What a layout tells beside its frames.

    Attributes:
      warnings: sentences the user should read.
      crs: coordinate system of the positions, e.g. "EPSG:32631"; "" where unknown.
      altitudes: metres above the sea by image id, where known.
      left_out: images that are there but in no split.
    """

    warnings: list[str] = dataclasses.field(default_factory=list)
    crs: str = ""
    altitudes: dict[str, float] = dataclasses.field(default_factory=dict)
    left_out: list[LeftOut] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class Layout:
    """A layout of images and positions on disk.

    Attributes:
      title: one line for people.
      read: raw folder, and what takes warnings and more -> frames per split; raises RawDataError that
        names every problem.
      position_unit: unit of the positions.
      pose_source: origin of the positions.
      untimed: what orders images without times; "" where their order counts as time.
      timed: whether timestamps are microseconds, where they do not only number the frames.
      table: name of the file that holds the positions; "" where there is none.
      unlocated: whether an image may have no position.
    """

    title: str
    read: Callable[[pathlib.Path, Told], dict[str, list[Frame]]]
    position_unit: str
    pose_source: str
    untimed: str = ""
    timed: bool = False
    table: str = ""
    unlocated: bool = False
