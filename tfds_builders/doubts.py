"""Doubts about positions and headings; a run has the same rules (vprjax/data/doubts.py)."""

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from tfds_builders.frame import Frame
from tfds_builders.frames import Frames

DEGREES = 360  # a full turn, beyond which a heading is no angle of any unit
TURN = 2 * math.pi + 0.01  # radians; rounding goes a little beyond
SMALLEST = 1.0  # metres: no dataset of places spans less
CLOSEST = 1e-3  # metres: no camera takes places so near to each other; 1e-3 degrees are 110 m
ROUND = 40_000  # kilometres round the earth
SHARE = 0.9  # of the images that lie so close; the others begin another drive
MANY = 10  # images of a split, from which on one position for most of them is told
FAR = 1000.0  # metres to the nearest other image, beyond which a position stands for none
MOST = 4000  # images whose nearest neighbour is looked for: a small hall stays farther apart than CLOSEST


def of_poses(splits: Mapping[str, Sequence[Frame]], unit: str, free: bool = False) -> Iterator[str]:
    """Yields a sentence where positions in `unit` do not look like metres, or headings like radians.

    A camera that is `free` to move to any side may stay above a desk.
    """
    columns = {name: Frames.of(frames) for name, frames in splits.items()}
    headings = np.concatenate([np.zeros(0), *(f.headings for f in columns.values())])
    yield from _headings(headings)
    if unit == "m" and len(headings) > 1 and not free:
        known = {name: f.positions[f.located] for name, f in columns.items() if f.located.any()}
        yield from _in_degrees(known)
        yield from _nowhere(np.concatenate([np.zeros((0, 2)), *known.values()]))
        if len(known) > 1:
            yield from _stuck(known)


def _headings(headings: np.ndarray) -> Iterator[str]:
    """Yields a sentence where headings `(n,)` are no radians, or one number stands for none.

    Such a mark is one number beyond a turn of degrees, twice or more, or -1 where no other is negative.
    """
    turns = headings[np.abs(headings) > TURN]  # NaN is not
    marks = turns if len(turns) else headings[headings == -1]
    value = marks[0] if len(marks) else math.nan
    rest = headings[~np.isnan(headings) & (headings != value)]
    stands = abs(value) > DEGREES or (len(rest) and rest.min() >= 0)
    if len(marks) > 1 and len(rest) and (marks == value).all() and stands:
        yield (
            f"{len(marks)} of {len(headings)} headings are {marks[0]:g}: where that stands for an unknown "
            "one, leave it empty"
        )
    elif len(turns):
        yield (
            f"headings are radians; {len(turns)} of {len(headings)} are beyond 2 pi, up to "
            f"{np.abs(turns).max():g}: if these are degrees, write radians"
        )


def _stuck(places: dict[str, np.ndarray]) -> Iterator[str]:
    """Yields a sentence per split of whose positions `(n, 2)` more than half are one and the same."""
    for name, positions in places.items():
        some, counts = np.unique(positions, axis=0, return_counts=True)
        if len(positions) >= MANY and counts.max() > len(positions) / 2:
            x, y = some[counts.argmax()]
            yield (
                f"{counts.max():,} of {len(positions):,} images of {name} lie at one position, {x:.2f}, "
                f"{y:.2f}: where a receiver kept it while the camera moved, leave these images out"
            )


def _in_degrees(places: dict[str, np.ndarray]) -> Iterator[str]:
    """Yields a sentence where positions `(n, 2)` of the splits span or step less than metres can."""
    if not places:
        return
    every = np.concatenate([*places.values()])
    x, y = np.abs(every).max(axis=0)
    degrees = max(x, y) <= 180 and min(x, y) <= 90
    seem = "degrees of longitude and latitude?" if degrees else "kilometres?"
    seem = "rounded?" if max(x, y) > ROUND else seem
    span = float(np.ptp(every, axis=0).max())
    if span < SMALLEST:
        yield f"positions span only {span:g} m: {seem}"
        return
    if max(x, y) > ROUND:  # UTM is: no spacing is looked for
        return
    gap, name = min((_spacing(positions), name) for name, positions in places.items())
    if gap < CLOSEST:
        yield f"positions of {name} are only {gap:g} m apart: {seem}"


def _nowhere(positions: np.ndarray) -> Iterator[str]:
    """Yields a sentence where positions such as (0, 0) or (-1, -1) stand for none: far from all others."""
    marked = positions[:, 0] == positions[:, 1] if len(positions) else np.zeros(0, bool)
    marks, others = positions[marked], positions[~marked]
    if not len(marks) or not len(others):
        return
    from scipy.spatial import cKDTree  # slow to import

    away = float(cKDTree(others).query(marks)[0].min())
    if away > max(FAR, np.ptp(others, axis=0).max()):
        (x, y), count = marks[0], len(marks)
        yield (
            f"{count:,} of {len(positions):,} images lie at {x:g}, {y:g}, {away:g} m and more from all "
            "others: where a query's position is unknown, leave it empty; leave other images out"
        )


def _spacing(positions: np.ndarray) -> float:
    """Distance that `SHARE` of the images keep below, to the next or to the nearest one; the less.

    Images at one place do not count; without two places the distance is infinite.
    """
    from scipy.spatial import cKDTree  # slow to import

    steps = np.linalg.norm(np.diff(positions, axis=0), axis=1)
    some = np.unique(positions[:: max(1, -(-len(positions) // MOST))], axis=0)
    nearest = cKDTree(some).query(some, k=2)[0][:, 1]  # infinite for a single one
    moved = (gaps[gaps > 0] for gaps in (steps, nearest))
    lengths = [np.quantile(gaps, SHARE, method="lower") for gaps in moved if len(gaps)]
    return float(min(lengths, default=math.inf))
