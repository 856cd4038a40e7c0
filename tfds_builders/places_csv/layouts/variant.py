"""What a dataset layout declares."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from tfds_builders.errors import RawDataError
from tfds_builders.frame import Frame


class LeftOut(NamedTuple):
    """An image that is there but in no split: its split, path relative to the raw folder, and why."""

    split: str
    image: str
    reason: str


class Protocol(NamedTuple):
    """How the figures of a public dataset are counted; the metadata and every result repeat it.

    Attributes:
      positives: what makes a reference a right answer.
      queries: which queries count, and which are left out.
      source: where that is written down.
      radius: distance of a right answer, position units; None where lists name the right answers.
      heading_degrees: largest difference of headings of a right answer; 0 ignores headings.
    """

    positives: str
    queries: str
    source: str
    radius: float | None
    heading_degrees: float = 0.0


@dataclasses.dataclass
class Told:
    """What a layout is told before it reads, and what it tells beside its frames.

    Attributes:
      choices: a value for each of the layout's choices.
      protocol: the name of the protocol, "" where the layout has none.
      warnings: sentences the user should read.
      crs: coordinate system of the positions, e.g. "EPSG:32631"; "" where unknown.
      altitudes: metres above the sea by image id, where known.
      left_out: images that are there but in no split.
      notes: further JSON values for the dataset's metadata.
      looks: split to degrees clockwise from forward to where its camera looks, where known.
    """

    choices: dict[str, str] = dataclasses.field(default_factory=dict)
    protocol: str = ""
    warnings: list[str] = dataclasses.field(default_factory=list)
    crs: str = ""
    altitudes: dict[str, float] = dataclasses.field(default_factory=dict)
    left_out: list[LeftOut] = dataclasses.field(default_factory=list)
    notes: dict[str, Any] = dataclasses.field(default_factory=dict)
    looks: dict[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Layout:
    """A layout of images and positions on disk.

    Attributes:
      title: one line for people.
      read: raw folder, what takes warnings and more, values of `keys` -> frames per split; raises
        RawDataError that names every problem.
      position_unit: unit of the positions.
      pose_source: origin of the positions.
      untimed: what orders images without times; "" where their order counts as time.
      timed: whether timestamps are microseconds, where they do not only number the frames.
      table: name of the file that holds the positions; "" where there is none.
      unlocated: whether an image may have no position.
      protocols: the ways to count figures, by name; of several the user names one.
      choices: the keys of the config's `choices`, each with its default.
      keys: config keys besides `layout` that `read` takes by name.
      free: whether a camera may move to any side, as a hand or a drone does: headings need not follow.
      sideways: whether pictures lie on their side, so that a quarter turn clockwise makes them upright.
    """

    title: str
    read: Callable[..., dict[str, Sequence[Frame]]]
    position_unit: str
    pose_source: str
    untimed: str = ""
    timed: bool = False
    table: str = ""
    unlocated: bool = False
    protocols: dict[str, Protocol] = dataclasses.field(default_factory=dict)
    choices: dict[str, str] = dataclasses.field(default_factory=dict)
    keys: tuple[str, ...] = ()
    free: bool = False
    sideways: bool = False

    def begin(self, choices: dict[str, str], protocol: str = "") -> Told:
        """What `read` is told.

        Raises:
          RawDataError: a choice or the protocol is unknown, or none of several protocols is named.
        """
        unknown = sorted(choices.keys() - self.choices.keys())
        if unknown:
            known = ", ".join(self.choices) or "none"
            raise RawDataError(
                f"config key 'choices' has {unknown[0]!r}; the layout of {self.title} knows {known}"
            )
        listed = "; ".join(f"{name!r} ({p.positives})" for name, p in self.protocols.items())
        if protocol and protocol not in self.protocols:
            raise RawDataError(
                f"config key 'protocol' is {protocol!r}; the layout of {self.title} knows "
                f"{listed or 'none'}"
            )
        if not protocol and len(self.protocols) > 1:
            raise RawDataError(
                f"config key 'protocol' is missing: figures on {self.title} are counted in several ways; "
                f"name one of {listed}"
            )
        return Told({**self.choices, **choices}, protocol or next(iter(self.protocols), ""))
