"""What a dataset layout declares."""

import dataclasses
import pathlib
from collections.abc import Callable

from tfds_builders.frame import Frame


@dataclasses.dataclass(frozen=True)
class Layout:
    """A layout of images and positions on disk.

    Attributes:
      title: one line for people.
      read: raw folder, and a list that takes warnings -> frames per split; raises RawDataError that names
        every problem.
      position_unit: unit of the positions.
      pose_source: origin of the positions.
      untimed: what orders images without times; "" where their order counts as time.
      table: name of the file that holds the positions; "" where there is none.
      unlocated: whether an image may have no position.
    """

    title: str
    read: Callable[[pathlib.Path, list[str]], dict[str, list[Frame]]]
    position_unit: str
    pose_source: str
    untimed: str = ""
    table: str = ""
    unlocated: bool = False
