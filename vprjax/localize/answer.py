"""What a map says of a picture."""

import dataclasses

import numpy as np

from vprjax.localize.calibration import RATIO, Calibration

BELIEF = "belief"  # the rule of a drive that is followed
LIKENESS = "likeness"  # the rule of a picture too unlike the map
FARTHEST = 2.0  # between two descriptors of length 1


@dataclasses.dataclass(frozen=True)
class Answer:
    """The places of a map that look most like a picture, the nearest descriptor first.

    Attributes:
      image_ids: `(k,)` str.
      positions: `(k, 2)` float64, position units, NaN where the map knows none.
      distances: `(k,)` float32, L2 distance of descriptors, 0 to 2.
      confidence: in 0 to 1: how sure it is that the first is the place; see `confidences`.
      located: whether that is sure enough; None without a calibration.
      numbers: `(k,)` int64, the images' numbers in the map.
      rule: what confidence and `located` go by: "ratio" to the next other place, "distance", "likeness"
        where the picture is too unlike the map, or "belief" where a drive is followed; None without a
        calibration.
      queries: count of the validation queries that confidence and `located` rest on; 0 without any.
    """

    image_ids: np.ndarray
    positions: np.ndarray
    distances: np.ndarray
    confidence: float
    located: bool | None
    numbers: np.ndarray
    rule: str | None = None
    queries: int = 0


def by_ratio(calibration: Calibration | None) -> bool:
    """Whether the measure of an answer is the ratio of `next_place`; else it is the distance."""
    return calibration is not None and calibration.measure == RATIO


def doubts(calibration: Calibration | None, positions: np.ndarray) -> list[str]:
    """A sentence for each reason to doubt a calibration for a map whose images lie at `(n, 2)`."""
    found = _unplaced(calibration, positions), outgrown(calibration, len(positions))
    return [words for words in found if words]


def _unplaced(calibration: Calibration | None, positions: np.ndarray) -> str:
    """A sentence where images without a position change what a calibration does; "" elsewhere."""
    unknown = int((~np.isfinite(positions).all(axis=1)).sum())
    if not unknown or not by_ratio(calibration):
        return ""
    images = f"{unknown:,} of {len(positions):,} images of the map have no position, and answers with one"
    if calibration.judging(known=False):
        return f"{images} go by the descriptor distance"
    return f"{images} stay without a verdict, as the calibration is of an earlier version; calibrate again"


def outgrown(calibration: Calibration | None, images: int) -> str:
    """A sentence where a calibration was made with a map of another number of images; "" elsewhere."""
    if calibration is None or calibration.images in (0, images):
        return ""
    return (
        f"the calibration by {calibration.data} was made with a map of {calibration.images:,} images, and "
        f"this one has {images:,}: calibrate again"
    )


def confidences(values: np.ndarray, calibration: Calibration | None) -> np.ndarray:
    """How sure answers of these measures are, float64 in 0 to 1; it falls with the measure.

    With a calibration it is the share of right answers at that value. Without one it is
    `1 - distance / 2`, which orders answers alike and is no probability.
    """
    if calibration is None:
        return 1 - np.asarray(values, np.float64) / FARTHEST
    return calibration.confidence(np.asarray(values, np.float64))


def located(value: float, calibration: Calibration | None) -> bool | None:
    """Whether an answer of this measure counts as the place; None where no calibration says it."""
    return None if calibration is None else bool(calibration.located(value))
