"""Warnings on datasets that build but look wrong."""

import math
from collections.abc import Iterator

import numpy as np

from tfds_builders.places_csv.layouts.variant import Layout
from tfds_builders.schema import Frame

SMALLEST = 1.0  # metres: no dataset of places spans less


def warnings(layout: Layout, unit: str, splits: dict[str, list[Frame]]) -> Iterator[str]:
    """Yields a sentence per doubt about the frames of a layout, with positions in `unit`."""
    untimed = [name for name, split in splits.items() if layout.untimed and _counted(split)]
    if untimed:
        yield (
            f"{', '.join(untimed)}: images are in the order of {layout.untimed}, not of time, so sequence "
            "matching, intervals and stretches do not mean time"
        )
    frames = [frame for split in splits.values() for frame in split]
    turns = [abs(frame.heading) for frame in frames if abs(frame.heading) > 2 * math.pi]
    if turns:
        yield (
            f"headings are radians; {len(turns)} of {len(frames)} are beyond 2 pi, up to {max(turns):g}: "
            "these look like degrees"
        )
    span = float(np.ptp([frame.position for frame in frames], axis=0).max())
    if unit == "m" and len(frames) > 1 and span < SMALLEST:
        yield f"positions span only {span:g} m: degrees of longitude and latitude?"


def _counted(frames: list[Frame]) -> bool:
    """Whether the timestamps only number the frames."""
    return [frame.timestamp for frame in frames] == list(range(len(frames)))
