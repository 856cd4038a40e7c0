"""Many frames as columns: a set of a million images takes some hundred bytes an image, not a thousand."""

import array
import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from tfds_builders.errors import RawDataError
from tfds_builders.frame import Frame, check_frames

CODING = ("utf-8", "surrogatepass")  # names that are no UTF-8 on disk are refused later, by name


class Columns(NamedTuple):
    """What frames hold, `n` of each.

    Attributes:
      text: the identities, one after the other, of all frames that share it.
      bounds: `(n, 2)` where each begins and ends in `text`.
      positions: `(n, 2)` float64.
      headings: `(n,)` float64.
      timestamps: `(n,)` int64.
      labels: the different labels, and `(n,)` int32 which of them.
      sources: a folder below which each identity is the file's path, or a list of `n`.
    """

    text: bytes
    bounds: np.ndarray
    positions: np.ndarray
    headings: np.ndarray
    timestamps: np.ndarray
    labels: tuple[list[str], np.ndarray]
    sources: str | list


class Frames(Sequence[Frame]):
    """Frames in their order; one is made when it is asked for, and a slice shares the columns."""

    def __init__(self, columns: Columns):
        """Keeps the columns."""
        self._columns = columns

    @classmethod
    def of(cls, frames: Iterable[Frame]) -> "Frames":
        """The frames as columns; itself where they are."""
        if isinstance(frames, cls):
            return frames
        frames = frames if isinstance(frames, Sequence) else list(frames)
        text, ends = bytearray(), array.array("q", [0])
        positions, headings = array.array("d"), array.array("d")
        timestamps, codes = array.array("q"), array.array("i")
        labels: dict[str, int] = {}
        for frame in frames:
            text += frame.image_id.encode(*CODING)
            ends.append(len(text))
            positions.extend(frame.position)
            headings.append(frame.heading)
            timestamps.append(_fitting(frame))
            codes.append(labels.setdefault(frame.label, len(labels)))
        bounds = np.frombuffer(ends, np.int64)
        return cls(
            Columns(
                bytes(text),
                np.stack([bounds[:-1], bounds[1:]], axis=1),
                np.array(positions).reshape(-1, 2),
                np.array(headings),
                np.array(timestamps, np.int64),
                (list(labels), np.array(codes, np.int32)),
                _folder(frames) or [frame.source for frame in frames],
            )
        )

    @classmethod
    def joined(cls, parts: Sequence["Frames"]) -> "Frames":
        """The frames of all parts, one after the other; the sources are below one folder, or are listed."""
        parts = [part for part in parts if part] or parts[:1]
        columns = [part._columns for part in parts]
        starts = np.cumsum([0, *(len(c.text) for c in columns[:-1])])
        labels: dict[str, int] = {}
        codes = []
        for names, own in (c.labels for c in columns):
            table = [labels.setdefault(name, len(labels)) for name in names]
            codes.append(np.array(table, np.int32)[own] if len(own) else own)
        folders = [c.sources for c in columns]
        shared = isinstance(folders[0], str) and all(folder == folders[0] for folder in folders)
        return cls(
            Columns(
                b"".join(c.text for c in columns),
                np.concatenate([c.bounds + s for c, s in zip(columns, starts, strict=True)]),
                *(np.concatenate([c[i] for c in columns]) for i in (2, 3, 4)),
                (list(labels), np.concatenate(codes)),
                folders[0] if shared else [frame.source for part in parts for frame in part],
            )
        )

    def placed(self, positions: np.ndarray, first: int) -> "Frames":
        """The frames at other positions `(n, 2)`, numbered from `first` on in place of times."""
        numbers = np.arange(first, first + len(self))
        return Frames(self._columns._replace(positions=positions, timestamps=numbers))

    def take(self, which: np.ndarray | slice) -> "Frames":
        """The frames of a mask `(n,)`, of numbers or of a slice."""
        if isinstance(which, slice):
            every = np.arange(*which.indices(len(self)))
        else:
            every = np.flatnonzero(which) if which.dtype == bool else which
        names, codes = self._columns.labels
        listed = self._columns.sources
        return Frames(
            self._columns._replace(
                bounds=self._columns.bounds[every],
                positions=self.positions[every],
                headings=self.headings[every],
                timestamps=self.timestamps[every],
                labels=(names, codes[every]),
                sources=listed if isinstance(listed, str) else [listed[i] for i in every],
            )
        )

    @property
    def positions(self) -> np.ndarray:
        """`(n, 2)`, NaN where unknown."""
        return self._columns.positions

    @property
    def headings(self) -> np.ndarray:
        """Radians `(n,)`, NaN where unknown."""
        return self._columns.headings

    @property
    def timestamps(self) -> np.ndarray:
        """`(n,)` int64."""
        return self._columns.timestamps

    @property
    def located(self) -> np.ndarray:
        """Which positions are known, `(n,)` bool."""
        return ~np.isnan(self.positions).any(axis=1)

    @property
    def counted(self) -> bool:
        """Whether the timestamps only number the frames."""
        return np.array_equal(self.timestamps, np.arange(len(self)))

    def __len__(self) -> int:
        """Their count."""
        return len(self._columns.bounds)

    def __getitem__(self, which):
        """One frame, or the frames of a slice."""
        if isinstance(which, slice):
            return self.take(which)
        number = range(len(self))[which]  # raises IndexError, and counts from the end
        columns = self._columns
        start, end = columns.bounds[number].tolist()
        name = columns.text[start:end].decode(*CODING)
        names, codes = columns.labels
        below = isinstance(columns.sources, str)
        return Frame(
            image_id=name,
            position=tuple(columns.positions[number].tolist()),
            heading=float(columns.headings[number]),
            timestamp=int(columns.timestamps[number]),
            label=names[codes[number]],
            source=f"{columns.sources}/{name}" if below else columns.sources[number],
        )

    def __iter__(self) -> Iterator[Frame]:
        """Yields one frame after the other."""
        return map(self.__getitem__, range(len(self)))


def _fitting(frame: Frame) -> int:
    """The time of a frame; raises RawDataError where no int64 holds it."""
    if abs(frame.timestamp) >= 1 << 63:
        check_frames([frame], unlocated=True)  # a number that is a position too
        raise RawDataError(
            f"{frame.source}: its time or number {frame.timestamp} is beyond 64 bits; correct it or "
            "leave the image out"
        )
    return frame.timestamp


def _folder(frames: Sequence[Frame]) -> str:
    """The folder below which each identity is its file's path, "" where there is none."""
    if not frames or not isinstance(frames[0].source, str | pathlib.Path):
        return ""
    folder = os.fspath(frames[0].source).removesuffix(f"/{frames[0].image_id}")
    alike = all(
        isinstance(frame.source, str | pathlib.Path)
        and os.fspath(frame.source) == f"{folder}/{frame.image_id}"
        for frame in frames
    )
    return folder if alike else ""
