"""Images taken together: splits one after the other, and frames that ask or answer as one window."""

import dataclasses
from typing import Any, NamedTuple

import numpy as np

ROWS = 256  # windows whose descriptors are in memory at once, as float32


class Windows(NamedTuple):
    """The frames of a split, of which windows stand for places.

    Attributes:
      frames: `Places` of all frames.
      numbers: `(n, length)` frames of each window; the middle one is the image of its place.
    """

    frames: Any
    numbers: np.ndarray


def joined(parts: list):
    """Joins `Places` one after the other; their splits are numbered in that order."""
    if len(parts) == 1:
        return parts[0]
    firsts = np.cumsum([0, *(len(part.sources) for part in parts[:-1])])
    columns = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("image_ids", "positions", "headings", "timestamps", "labels", "records")
    }
    return dataclasses.replace(
        parts[0],
        **columns,
        splits=np.concatenate([p.splits + first for p, first in zip(parts, firsts, strict=True)]),
        split_names=tuple(name for part in parts for name in part.split_names),
        sources=tuple(source for part in parts for source in part.sources),
        windows=None,
    )


def counts(metadata: dict, images: dict[str, int]) -> dict[str, int]:
    """Places by split: windows where the metadata list a split's, else images."""
    windows = metadata.get("windows") or {}
    return images | {name: len(found["middles"]) for name, found in windows.items()}


def places_of(metadata: dict, split: str, frames):
    """The places of a split: the middle frames of its windows where the metadata list them, else all."""
    found = (metadata.get("windows") or {}).get(split)
    if found is None:
        return frames
    middles, half = np.array(found["middles"], np.int64), found["length"] // 2
    numbers = middles[:, None] + np.arange(-half, half + 1)
    return dataclasses.replace(frames.subset(middles), windows=Windows(frames, numbers))


def frames_of(places):
    """The images whose descriptors a split's places need."""
    return places if places.windows is None else places.windows.frames


def described(places, rows: np.ndarray) -> np.ndarray:
    """Descriptors of places, from those of `frames_of`: `normalize(mean over the window)`.

    Shapes: `(frames, d) -> (n, d)`, of the same type; without windows they are `rows` themselves.
    """
    if places.windows is None:
        return rows
    numbers = places.windows.numbers
    out = np.empty((len(numbers), rows.shape[1]), rows.dtype)
    for first in range(0, len(numbers), ROWS):
        part = numbers[first : first + ROWS]
        mean = np.asarray(rows[part.ravel()], np.float32).reshape(*part.shape, -1).mean(axis=1)
        length = np.linalg.norm(mean, axis=1, keepdims=True)
        out[first : first + ROWS] = mean / np.maximum(length, 1e-12)
    return out
