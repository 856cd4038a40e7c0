"""What cannot be of one drive: its speed, its height, its leaps, and two cameras in one place."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tfds_builders.frame import Frame
from tfds_builders.frames import Frames
from tfds_builders.poses import motion

FASTEST = 60.0  # metres a second
ZONE = 1e5  # metres east in one step, with few north: the eastings of two zones
STEEPEST = 0.2  # of the plan's extent that heights of a drive may span
LEAST = 20.0  # metres of height that count
SAME = 1e-3  # metres
SOME = 64  # times of a split that are looked for in another one
NAMED = "headings do not follow the motion"


def check(
    splits: Mapping[str, Sequence[Frame]],
    altitudes: Mapping[str, float],
    looks: Mapping[str, float],
    free: bool = False,
    timed: bool = True,
) -> tuple[dict[str, Any], list[str]]:
    """The motion of each split that is a drive, as JSON, and a sentence per doubt.

    Args:
      splits: frames with positions in metres, in time order.
      altitudes: metres by image id, where known.
      looks: split to degrees clockwise from forward to where its camera looks, where known.
      free: whether cameras may move to any side and upwards, so that only speed and rigs are doubted.
      timed: whether timestamps are microseconds, else they number frames and tell no speed.
    """
    told, doubts = {}, []
    for name, frames in splits.items():
        columns = Frames.of(frames)
        located = columns.take(columns.located)
        if len(located) < 3:
            continue
        positions = located.positions
        found = motion.measure(positions, located.headings, looks.get(name, 0.0))
        if found:
            told[name] = found.as_json()
        if found and found.cause and not free:
            doubts.append(
                f"{name}: {NAMED} (agreement {found.agreement:.2f}, offset {found.offset:+.1f} "
                "degrees over "
                f"{found.moving:,} moving images): {found.cause}"
            )
        doubts += _speeds(name, located, positions, timed)
        if found and not free:
            doubts += _heights(name, located, positions, altitudes)
    if timed:
        doubts += _rigs(splits)
    return told, doubts


def _speeds(name: str, frames: Frames, positions: np.ndarray, timed: bool) -> Iterator[str]:
    """Yields a sentence where a step is faster than `FASTEST` or crosses a border of two zones."""
    steps = np.diff(positions, axis=0)
    lengths = np.linalg.norm(steps, axis=1)
    border = np.flatnonzero((np.abs(steps[:, 0]) > ZONE) & (np.abs(steps[:, 1]) < ZONE / 10))
    for i in border[:1]:
        yield (
            f"{name}: {len(border):,} steps leap over {abs(steps[i, 0]) / 1e3:.0f} km east, first before "
            f"{frames[i + 1].image_id}: the eastings of two UTM zones; project all into one"
        )
    seconds = np.diff(frames.timestamps) / 1e6
    if len(border) or not timed or frames.counted:
        return  # they only number the frames
    with np.errstate(divide="ignore", invalid="ignore"):
        speeds = np.where(seconds > 0, lengths / seconds, 0.0)
    fast = np.flatnonzero(speeds > FASTEST)
    for i in fast[:1]:
        cause = (
            "times or positions are in another unit"
            if len(fast) > len(speeds) / 2
            else "a pose is wrong, or two drives are one split"
        )
        yield (
            f"{name}: {len(fast):,} steps are faster than {FASTEST:g} m/s, up to "
            f"{speeds.max():.0f} m/s, first "
            f"before {frames[i + 1].image_id}: {cause}"
        )


def _heights(name, frames: Frames, positions: np.ndarray, altitudes) -> Iterator[str]:
    """Yields a sentence where the heights of a drive span too much of its plan."""
    known = frames if altitudes else []
    heights = np.array([altitudes.get(frame.image_id, math.nan) for frame in known])
    heights = heights[np.isfinite(heights)]
    if len(heights) < 3:
        return
    height, plan = float(np.ptp(heights)), float(np.ptp(positions, axis=0).max())
    if height > LEAST and height > STEEPEST * plan:
        yield (
            f"{name}: heights span {height:.0f} m where the plan spans {plan:.0f} m: another axis "
            "points up, or "
            "the map is tilted"
        )


def _rigs(splits: Mapping[str, Sequence[Frame]]) -> Iterator[str]:
    """Yields a sentence per two splits of the same times at the same positions."""
    columns = {name: Frames.of(split) for name, split in splits.items()}
    timed = {
        name: {frame.timestamp: frame for frame in frames.take(frames.located)}
        for name, frames in columns.items()
        if not frames.counted
    }
    for (one, ours), (other, theirs) in itertools.combinations(timed.items(), 2):
        some = list(ours)[:: max(1, len(ours) // SOME)]  # two of many splits rarely share a time
        if not some or 2 * sum(time in theirs for time in some) < len(some):
            continue
        pairs = [(ours[time], theirs[time]) for time in ours.keys() & theirs.keys()]
        apart = max(math.dist(a.position, b.position) for a, b in pairs)
        if len(pairs) > 2 and apart < SAME and all(a.source != b.source for a, b in pairs):
            yield (
                f"{one} and {other}: two cameras have equal positions at the same times: these are the "
                "vehicle's, not the cameras'"
            )


def line(name: str, values: Mapping[str, Any]) -> str:
    """The line on a split's motion, of its figures in the metadata."""
    told = (
        f"{name}: headings agree with the motion by {values['agreement']:.3f} (1 is best) at "
        f"{values['offset_degrees']:+.1f} degrees over {values['moving']:,} moving images"
    )
    if metres := values.get("lag_metres"):
        how, where = ("after", "before") if metres > 0 else ("before", "behind")
        told += (
            f", {abs(metres):.1f} m ({abs(values['lag_images']):.1f} images) {how} it: right for a camera "
            f"so far {where} the rear axle, else poses come that {'late' if metres > 0 else 'early'}"
        )
    return told + (f": {values['likely']}" if values["likely"] else "")
