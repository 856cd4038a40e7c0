"""Geometric check of matches: how many local features of two images agree on one homography.

Source: Fischler & Bolles 1981 (RANSAC); Barath et al. 2020 (MAGSAC++), in OpenCV.
"""

import dataclasses
from collections.abc import Callable

import cv2
import numpy as np

LEAST = 4  # matches that a homography takes
PIXELS = (
    20.0  # farthest that an inlier lies from where the homography puts it, as in DELF's program
)
CONFIDENCE, TRIALS = 0.999, 1000


@dataclasses.dataclass(frozen=True)
class Local:
    """The local features of one image.

    Attributes:
      points: `(n, 2)` float32, x and y in pixels of the image.
      descriptors: `(n, d)` float32, L2 length 1.
    """

    points: np.ndarray
    descriptors: np.ndarray


def mutual(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Returns `(m, 2)` numbers of rows of `(n, d)` and `(k, d)` that are each other's nearest, by L2.

    The rows have length 1. Ties go to the lower number.
    """
    if not len(a) or not len(b):
        return np.empty((0, 2), np.int64)
    similar = a @ b.T
    nearest, back = similar.argmax(axis=1), similar.argmax(axis=0)
    own = np.arange(len(a))
    kept = back[nearest] == own
    return np.stack([own[kept], nearest[kept]], axis=1)


def inliers(query: Local, reference: Local, pixels: float = PIXELS) -> int:
    """Returns how many mutual matches agree on one homography; 0 with fewer than four.

    The same features give the same count: OpenCV's MAGSAC draws from a fixed seed.
    """
    pairs = mutual(query.descriptors, reference.descriptors)
    if len(pairs) < LEAST:
        return 0
    sides = (query.points[pairs[:, 0]], reference.points[pairs[:, 1]])
    _, mask = cv2.findHomography(
        *(np.asarray(side, np.float64) for side in sides),
        cv2.USAC_MAGSAC,
        pixels,
        maxIters=TRIALS,
        confidence=CONFIDENCE,
    )
    return 0 if mask is None else int(np.count_nonzero(mask))


def rerank(
    candidates: np.ndarray,
    query: Callable[[int], Local],
    reference: Callable[[int], Local],
    pixels: float = PIXELS,
) -> tuple[np.ndarray, np.ndarray]:
    """Puts the candidates with the most inliers first; equal ones keep their order.

    Args:
      candidates: `(q, k)` numbers of references, nearest first.
      query: the number of a query -> its local features.
      reference: the number of a reference -> its local features.
      pixels: as in `inliers`.

    Returns:
      The candidates `(q, k)` in their new order, and their inliers `(q, k)` in that order.
    """
    found = np.zeros(candidates.shape, np.int64)
    for i, row in enumerate(candidates):
        own = query(i)
        found[i] = [inliers(own, reference(int(j)), pixels) for j in row]
    order = np.argsort(-found, axis=1, kind="stable")
    return np.take_along_axis(candidates, order, 1), np.take_along_axis(found, order, 1)
