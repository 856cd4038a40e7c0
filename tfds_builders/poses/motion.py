"""The motion check: do headings follow the direction in which the camera moves?

Over the moving images, the mean of `exp(i (heading - direction))` has a length, the agreement: 1 where the
two differ by a constant, which is its angle, the offset. A map read right has an agreement near 1. One
with swapped axes, a mirrored axis or another heading has not, unless the road is straight.
"""

import math
from typing import Any, NamedTuple

import numpy as np

LEAST = 20  # moving images, below which nothing is told
STEP = 0.1  # metres between the images before and after, below which one does not move
SLOW, LEAP = 0.2, 5.0  # of the usual step: less is standing, more is a gap
BEND = math.radians(60)  # more from one image to the next is no drive
SMOOTH = 0.8  # of the images of a drive bend less
GOOD, POOR = 0.95, 0.9  # agreement of a map read right, and of one that is not
STRAIGHT = 0.98  # length of the mean direction above which a road tells little
ASIDE = 20.0  # degrees of offset that a lens, a lever or grid north explain
SHIFTS = (1, 2, 3, 4, 5, 7, 10, 15, 20, 30, 50, 70, 100)  # images
LEVER = 4.0  # metres before the rear axle, from where a camera's own motion lags its heading
TOLD = math.radians(0.5)  # of headings that a lag below that explains, above which it is told


class Motion(NamedTuple):
    """What the headings of a split have to do with its motion.

    Attributes:
      moving: number of moving images with a heading.
      agreement: length of the mean difference, 0 to 1.
      offset: its angle, degrees clockwise from the direction of motion to the heading.
      cause: what is likely wrong, "" where nothing is.
      lag: metres of the way by which headings follow the motion, and the same in images; 0 where the two
        do not differ by a lag.
    """

    moving: int
    agreement: float
    offset: float
    cause: str = ""
    lag: tuple[float, float] = (0.0, 0.0)

    def as_json(self) -> dict[str, Any]:
        """The figures for a dataset's metadata."""
        return {
            "moving": self.moving,
            "agreement": round(self.agreement, 4),
            "offset_degrees": round(self.offset, 2),
            "likely": self.cause,
            "lag_metres": round(self.lag[0], 2),
            "lag_images": round(self.lag[1], 2),
        }


def directions(positions: np.ndarray) -> np.ndarray:
    """Direction of motion at each of `(n, 2)` positions, radians clockwise from north, NaN at rest.

    It is that from the position before to the one after, where both steps are of a usual length.
    """
    found = np.full(len(positions), np.nan)
    if len(positions) < 3:
        return found
    steps = np.linalg.norm(np.diff(positions, axis=0), axis=1)
    moving = steps[steps > STEP / 2]
    usual = float(np.median(moving)) if len(moving) else 0.0
    fit = (steps >= SLOW * usual) & (steps <= LEAP * usual)
    across = positions[2:] - positions[:-2]
    use = fit[:-1] & fit[1:] & (np.linalg.norm(across, axis=1) > STEP)
    found[1:-1] = np.where(use, np.arctan2(across[:, 0], across[:, 1]), np.nan)
    return found


def agreement(headings: np.ndarray, along: np.ndarray) -> tuple[float, float]:
    """Length and angle (degrees) of the mean of `exp(i (headings - along))`, NaNs left out."""
    return _mean(headings - along)


def measure(positions: np.ndarray, headings: np.ndarray, look: float = 0.0) -> Motion | None:
    """What headings `(n,)` have to do with the motion of positions `(n, 2)`, metres, in order.

    Args:
      positions: in the order in which they were taken.
      headings: radians clockwise from north.
      look: degrees clockwise from forward to where the camera looks, where that is known.

    Returns:
      None where fewer than `LEAST` images move, or they make no drive.
    """
    along = directions(positions)
    use = np.isfinite(along) & np.isfinite(headings)
    if use.sum() < LEAST:
        return None
    bends = np.abs(np.angle(np.exp(1j * np.diff(along[use]))))
    if (bends < BEND).mean() < SMOOTH:
        return None
    length, offset = agreement(headings, along)
    cause = _cause(headings, along, offset, look) if length < POOR else ""
    if not cause:
        step = float(np.median(np.linalg.norm(np.diff(positions, axis=0), axis=1)))
        cause = _late(headings, along, step) or _aside(length, offset, look)
    lag = (0.0, 0.0) if cause else _lag(headings, along, positions)
    return Motion(int(use.sum()), length, offset, cause, lag)


def _mean(angles: np.ndarray) -> tuple[float, float]:
    mean = complex(np.nanmean(np.exp(1j * angles))) if np.isfinite(angles).any() else 0j
    return abs(mean), math.degrees(np.angle(mean))


def _cause(headings: np.ndarray, along: np.ndarray, offset: float, look: float) -> str:
    """What makes headings and motion agree, else that nothing does."""
    straight = _mean(along)[0] > STRAIGHT
    known = headings[np.isfinite(headings)]
    if np.abs(known).max() > 2 * math.pi and _mean(np.radians(headings) - along)[0] > GOOD:
        return "headings are degrees, taken for radians"
    if (
        np.abs(known).max() < math.radians(2 * math.pi)
        and _mean(np.degrees(headings) - along)[0] > GOOD
    ):
        return "headings are radians, taken for degrees"
    mirrored, angle = _mean(headings + along)
    if mirrored > GOOD and not straight:
        return _mirror((angle - look + 180) % 360 - 180)
    return _late(headings, along, math.inf) or (
        "the heading column is not the camera's, its unit or quaternion order is another one, or the "
        "images are not in time order"
    )


def _mirror(angle: float) -> str:
    """The mirrored reading whose heading plus direction is `angle` degrees."""
    for at, words in (
        (0, "east is mirrored, or headings count counter-clockwise from north"),
        (90, "axes are swapped, or headings count counter-clockwise from east"),
        (180, "north is mirrored"),
        (-90, "axes are swapped and both mirrored"),
    ):
        if abs((angle - at + 180) % 360 - 180) <= ASIDE:
            return words
    return f"the map is mirrored and turned by {angle:.0f} degrees"


def _late(headings: np.ndarray, along: np.ndarray, step: float) -> str:
    """By how many images headings come late, where another shift fits twice as well; else ""."""

    def error(shift: int) -> float:
        rolled = np.roll(along, shift)
        rolled[(slice(None, shift) if shift > 0 else slice(shift, None))] = np.nan
        return 1 - _mean(headings - rolled)[0]

    counts = [c for c in SHIFTS if c * step >= LEVER and c <= len(along) // 4]
    errors = {sign * count: error(sign * count) for count in counts for sign in (1, -1)}
    here, shift = 1 - _mean(headings - along)[0], min(errors, key=errors.get, default=0)
    if here < 0.005 or not shift or errors[shift] > min(here / 2, 1 - GOOD):
        return ""
    at = SHIFTS.index(abs(shift))
    near = range(*(SHIFTS[i] for i in (max(0, at - 1), min(at + 1, len(SHIFTS) - 1))))
    near = {c if shift > 0 else -c for c in near if c * step >= LEVER} | {shift}
    shift = min(sorted(near), key=error)
    count = f"{abs(shift)} image{'s' * (abs(shift) > 1)} {'late' if shift > 0 else 'early'}"
    return f"headings come {count}: poses and images are joined wrongly, or clocks differ"


def _lag(headings: np.ndarray, along: np.ndarray, positions: np.ndarray) -> tuple[float, float]:
    """Metres and images by which headings follow the motion, where that explains most of what they differ.

    A heading `d` metres late differs by `-d` times the curvature: `d` is the slope of a least-squares line.
    """
    away = np.exp(1j * (headings - along)[1:-1])
    # About their mean, angles do not jump by a turn where cameras look back.
    apart = np.angle(away * np.conj(np.nansum(away)))
    way = np.linalg.norm(positions[2:] - positions[:-2], axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        bends = np.angle(np.exp(1j * (along[2:] - along[:-2]))) / way
    use = np.isfinite(apart) & np.isfinite(bends)
    if use.sum() < LEAST:
        return 0.0, 0.0
    apart, bends = (values[use] - values[use].mean() for values in (apart, bends))
    lag = -float(apart @ bends / max(bends @ bends, 1e-12))
    left = apart + lag * bends
    if left @ left > apart @ apart / 2 or abs(lag) * bends.std() < TOLD:
        return 0.0, 0.0
    return lag, lag / float(np.median(way[use]) / 2)


def _aside(length: float, offset: float, look: float) -> str:
    """Says that headings keep an angle to where the camera looks; "" where they do not, or it is small."""
    away = (offset - look + 180) % 360 - 180
    if length < POOR or abs(away) <= ASIDE:
        return ""
    if abs(away) >= 180 - ASIDE:
        return "a rear camera, or a map turned by 180 degrees"
    return f"a side camera, or a map turned by {abs(away):.0f} degrees"
