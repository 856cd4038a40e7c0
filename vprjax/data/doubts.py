"""Doubts about positions and headings: poses in, one sentence per doubt out.

A false unit gives perfect or empty figures: in degrees, a whole town lies within two units. The builders
hold the rules of `of_poses` too (tfds_builders/doubts.py).
"""

import dataclasses
import functools
import math
from collections.abc import Iterator

import numpy as np
from scipy.spatial import cKDTree

from vprjax.data.source import Places

METRES = ("m", "meter", "meters", "metre", "metres")  # names of the unit
DEGREES = 360  # a full turn, beyond which a heading is no angle of any unit
TURN = 2 * math.pi + 0.01  # radians; rounding goes a little beyond
SMALLEST = 1.0  # metres: no dataset of places spans less
CLOSEST = 1e-3  # metres: no camera takes places so near to each other; 1e-3 degrees are 110 m
ROUND = 40_000  # kilometres round the earth
SHARE = 0.9  # of the images that lie so close; the others begin another drive
MANY = 10  # images of a split, from which on one position for most of them is told
FAR = 1000.0  # metres to the nearest other image, beyond which a position stands for none
MOST = 4000  # images whose nearest neighbour is looked for: a small hall stays farther apart than CLOSEST
CHANCE = (
    0.1  # of a random match at the tightest tolerance: a country in degrees has 0.16 within 2 units
)
QUERIES = 1000  # of a split whose references within a tolerance are counted, evenly spread


@dataclasses.dataclass(frozen=True)
class Known:
    """The references that queries are held against."""

    places: Places

    @functools.cached_property
    def tree(self) -> cKDTree:
        """Finds those near a position."""
        return cKDTree(self.places.positions)


def of_poses(splits: dict[str, Places], unit: str) -> Iterator[str]:
    """Yields a sentence where positions in `unit` do not look like metres, or headings like radians."""
    known = {name: places.positions[places.located] for name, places in splits.items()}
    positions = np.concatenate([*known.values()])
    if unit in METRES and len(positions) > 1:
        closest = min((spacing(own), name) for name, own in known.items())
        yield from in_degrees(positions, *closest)
        yield from nowhere(positions)
        if len(known) > 1:
            yield from stuck(known)
    yield from of_headings(np.concatenate([places.headings for places in splits.values()]))


def of_headings(headings: np.ndarray) -> Iterator[str]:
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
            f"{len(marks):,} of {len(headings):,} headings are {marks[0]:g}: where that stands for an "
            "unknown one, build the dataset again with empty ones"
        )
    elif len(turns):
        yield (
            f"headings are radians, but {len(turns):,} of {len(headings):,} are beyond 2 pi, up to "
            f"{np.abs(turns).max():g}: if these are degrees, build the dataset again with radians"
        )


def stuck(places: dict[str, np.ndarray]) -> Iterator[str]:
    """Yields a sentence per split of whose positions `(n, 2)` more than half are one and the same."""
    for name, positions in places.items():
        some, counts = np.unique(positions, axis=0, return_counts=True)
        if len(positions) >= MANY and counts.max() > len(positions) / 2:
            x, y = some[counts.argmax()]
            yield (
                f"{counts.max():,} of {len(positions):,} images of {name} lie at one position, {x:.2f}, "
                f"{y:.2f}: if a receiver kept it while the camera moved, build the dataset without them"
            )


def in_degrees(positions: np.ndarray, gap: float, split: str) -> Iterator[str]:
    """Yields a sentence where positions `(n, 2)` in metres may be degrees or another large unit.

    Args:
      positions: of all splits.
      gap: the smallest `spacing` of a split.
      split: that split's name.
    """
    span = float(np.ptp(positions, axis=0).max())
    if span >= SMALLEST and gap >= CLOSEST:
        return
    found = f"span only {span:g} m" if span < SMALLEST else f"of {split} are only {gap:g} m apart"
    x, y = np.abs(positions).max(axis=0)
    if max(x, y) > ROUND:  # neither degrees nor kilometres
        if span < SMALLEST:
            yield f"positions {found}, so that any match is right: check that they are not rounded"
        return
    degrees = max(x, y) <= 180 and min(x, y) <= 90
    seem = "degrees of longitude and latitude" if degrees else "no metres"
    yield (
        f"positions {found}: these look like {seem}, which makes every figure wrong; project them to "
        "metres and build the dataset again"
    )


def nowhere(positions: np.ndarray) -> Iterator[str]:
    """Yields a sentence where positions `(n, 2)`, metres, such as (0, 0) or (-1, -1) stand for none.

    Such a mark has twice one number and lies far from all other images.
    """
    marked = positions[:, 0] == positions[:, 1]
    marks, others = positions[marked], positions[~marked]
    if not len(marks) or not len(others):
        return
    away = float(cKDTree(others).query(marks)[0].min())
    if away > max(FAR, np.ptp(others, axis=0).max()):
        yield (
            f"{len(marks):,} of {len(positions):,} images lie at {marks[0, 0]:g}, {marks[0, 1]:g}, "
            f"{away:g} m and more from all others: if their positions are unknown, build the dataset again "
            "with empty ones in queries and without the other images"
        )


def spacing(positions: np.ndarray) -> float:
    """Distance that `SHARE` of the images keep below, to the next or to the nearest one; the less.

    A drive has a short way to the next image, a shuffled collection to the nearest one. Images at one place
    do not count; without two places the distance is infinite.
    """
    steps = np.linalg.norm(np.diff(positions, axis=0), axis=1)
    some = np.unique(positions[:: max(1, -(-len(positions) // MOST))], axis=0)
    if len(some) < 2:
        return math.inf
    nearest = cKDTree(some).query(some, k=2)[0][:, 1]
    moved = (gaps[gaps > 0] for gaps in (steps, nearest))
    lengths = [np.quantile(gaps, SHARE, method="lower") for gaps in moved if len(gaps)]
    return float(min(lengths, default=math.inf))


def of_truth(
    name: str, queries: Places, references: Known, tolerances, unit: str, degrees: float = 0.0
) -> Iterator[str]:
    """Yields a sentence where poses alone make every match of query split `name` right, or wrong.

    Where `degrees` is above 0, a right match looks the query's way to that many degrees.
    """
    asked = queries.positions[queries.located]
    if not len(asked):
        return
    tree, count = references.tree, len(references.places)
    few = np.linspace(0, len(asked) - 1, QUERIES).astype(int)
    looked = asked[np.unique(few)]
    tight, wide = min(tolerances), max(tolerances)
    within = tree.query_ball_point(looked, tight, return_length=True)
    every, chance = np.mean(within == count), np.mean(within) / count
    beside = (np.mean(within) - 1) / max(1, count - 1)  # a map of 3 images is none the worse
    if count > 1 and (every or beside >= CHANCE):
        yield (
            f"any match is right for {100 * every:.1f} % of the queries of {name}, and one at random in "
            f"{100 * chance:.1f} % of cases, as references lie within {tight:g} {unit}: check the unit of "
            "positions and dataset.tolerances"
        )
    nearest = tree.query(asked)[0].min()
    if nearest > wide:
        yield (
            f"no query of {name} lies within {wide:g} {unit} of a reference, the nearest is {nearest:g} "
            f"{unit} away: no match can be right; check that both have the same coordinates and unit"
        )
    elif degrees and not _look_alike(queries, references, wide, degrees):
        yield (
            f"no query of {name} has a reference within {wide:g} {unit} that looks its way, to "
            f"eval.heading_degrees={degrees:g}: no match can be right; check that the headings of both "
            "count clockwise from north, in radians, along the same camera"
        )


def of_recall(
    name: str, queries: Places, references: Known, radius: float, unit: str
) -> Iterator[str]:
    """Yields a sentence where poses alone make every recall@N of query split `name` 0 at a radius."""
    asked = queries.positions[queries.located]
    nearest = references.tree.query(asked)[0].min() if len(asked) else 0.0
    if nearest > radius > 0:
        yield (
            f"no query of {name} lies within eval.recall_radius={radius:g} {unit} of a reference, the "
            f"nearest is {nearest:g} {unit} away: recall@N can only be 0; check that key's unit"
        )


def _look_alike(queries: Places, references: Known, reach: float, degrees: float) -> bool:
    """Whether any query has a reference within `reach` whose heading is the same to `degrees`."""
    asked = queries.located
    for at, heading in zip(queries.positions[asked], queries.headings[asked], strict=True):
        near = references.tree.query_ball_point(at, reach)
        turns = references.places.headings[near] - heading
        if (np.abs((turns + np.pi) % (2 * np.pi) - np.pi) <= np.radians(degrees)).any():
            return True
    return False
