"""Warnings on datasets that build but look wrong; a run has the same rule (vprjax/data/doubts.py)."""

import math
from collections.abc import Iterator

import numpy as np
from scipy.spatial import cKDTree

from tfds_builders.places_csv.layouts.variant import Layout
from tfds_builders.schema import Frame

SMALLEST = 1.0  # metres: no dataset of places spans less
CLOSEST = 1e-3  # metres: no camera takes places so near to each other; 1e-3 degrees are 110 m
SHARE = 0.9  # of the images that lie so close; the others begin another drive
MOST = 4000  # images whose nearest neighbour is looked for: a small hall stays farther apart than CLOSEST


def warnings(layout: Layout, unit: str, splits: dict[str, list[Frame]]) -> Iterator[str]:
    """Yields a sentence per doubt about the frames of a layout, with positions in `unit`."""
    untimed = [name for name, split in splits.items() if layout.untimed and _counted(split)]
    if untimed:
        yield (
            f"{', '.join(untimed)}: images are in the order of {layout.untimed}, not of time, so sequence "
            "matching, intervals and stretches do not mean time"
        )
    frames = [frame for split in splits.values() for frame in split]
    for name, split in splits.items():
        lacking = sum(not frame.located for frame in split)
        if lacking:
            yield (
                f"{name}: {lacking} of {len(split)} images have no position, so the split can hold queries "
                "and nothing else"
            )
    turns = [abs(frame.heading) for frame in frames if abs(frame.heading) > 2 * math.pi]
    if turns:
        yield (
            f"headings are radians; {len(turns)} of {len(frames)} are beyond 2 pi, up to {max(turns):g}: "
            "these look like degrees"
        )
    if unit == "m" and len(frames) > 1:
        yield from _in_degrees(splits)


def _in_degrees(splits: dict[str, list[Frame]]) -> Iterator[str]:
    """Yields a sentence where positions span or step less than metres can."""
    known = {name: [f.position for f in split if f.located] for name, split in splits.items()}
    places = {name: np.array(positions) for name, positions in known.items() if positions}
    if not places:
        return
    span = float(np.ptp(np.concatenate([*places.values()]), axis=0).max())
    if span < SMALLEST:
        yield f"positions span only {span:g} m: degrees of longitude and latitude?"
        return
    gap, name = min((_spacing(positions), name) for name, positions in places.items())
    if gap < CLOSEST:
        yield f"positions of {name} are only {gap:g} m apart: degrees of longitude and latitude?"


def _spacing(positions: np.ndarray) -> float:
    """Distance that `SHARE` of the images keep below, to the next or to the nearest one; the less.

    Images at one place do not count; without two places the distance is infinite.
    """
    steps = np.linalg.norm(np.diff(positions, axis=0), axis=1)
    some = np.unique(positions[:: max(1, -(-len(positions) // MOST))], axis=0)
    nearest = cKDTree(some).query(some, k=2)[0][:, 1]  # infinite for a single one
    moved = (gaps[gaps > 0] for gaps in (steps, nearest))
    lengths = [np.quantile(gaps, SHARE, method="lower") for gaps in moved if len(gaps)]
    return float(min(lengths, default=math.inf))


def _counted(frames: list[Frame]) -> bool:
    """Whether the timestamps only number the frames."""
    return [frame.timestamp for frame in frames] == list(range(len(frames)))
