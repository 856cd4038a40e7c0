"""Matching stretches of a drive instead of single images (SeqSLAM, Milford & Wyeth 2012).

A query frame is compared through the `length` frames that end with it: for each reference and each
assumed ratio of speeds, the mean distance along the straight line back through the distance matrix. The
matrix is made a block of queries at a time.
"""

import numpy as np

SPEEDS = (0.8, 0.9, 1.0, 1.1, 1.2)  # references a query frame, as the original searches
ROWS, COLUMNS = 256, 1024  # queries and references whose descriptors are at work at once


def match(
    queries: np.ndarray, references: np.ndarray, length: int, speeds: tuple[float, ...] = SPEEDS
) -> tuple[np.ndarray, np.ndarray]:
    """For every query the mean distance `(q,)` and the number `(q,)` of its best reference.

    Both sides are in time order. Near the start of the queries, where fewer frames precede, the line is
    shorter. Ahead of the references it goes on at the query frame's mean distance to all of them: the mean
    of a few cells alone strays farther, and the least of all would lie there.

    Args:
      queries: `(q, d)` descriptors of any float type.
      references: `(r, d)`.
      length: frames of a sequence, at least 1; with 1 it is the nearest reference.
      speeds: ratios of the references' speed to the queries'.

    Raises:
      ValueError: `length` is below 1.
    """
    if length < 1:
        raise ValueError(f"sequence length {length} must be 1 or more")
    q = len(queries)
    best, chosen = np.empty(q), np.empty(q, np.int64)
    for first in range(0, q, ROWS):
        start = max(0, first - length + 1)
        block = np.asarray(queries[start : first + ROWS], np.float32)
        distances = _distances(block, references)
        means = np.stack([_along(distances, length, speed) for speed in speeds])
        lowest = means.min(axis=0)[first - start :]
        rows = slice(first, min(first + ROWS, q))
        chosen[rows] = np.argmin(lowest, axis=1)
        best[rows] = lowest.min(axis=1)
    return best, chosen


def _distances(block: np.ndarray, references: np.ndarray) -> np.ndarray:
    """`(n, r)` float32 from `block` `(n, d)` float32, so many references at a time."""
    out = np.empty((len(block), len(references)), np.float32)
    own = np.einsum("nd,nd->n", block, block)[:, None]
    for first in range(0, len(references), COLUMNS):
        part = np.asarray(references[first : first + COLUMNS], np.float32)
        squared = np.einsum("rd,rd->r", part, part)
        out[:, first : first + COLUMNS] = own + squared - 2 * block @ part.T
    return np.sqrt(np.maximum(out, 0))


def _along(distances: np.ndarray, length: int, speed: float) -> np.ndarray:
    """Mean of `distances` `(n, r)` along lines that end at each cell, `length` rows long."""
    n, r = distances.shape
    mean = distances.mean(axis=1, keepdims=True)
    total, count = np.zeros((n, r)), np.zeros((n, 1))
    for back in range(min(length, n)):
        shift = min(round(back * speed), r)
        total[back:, shift:] += distances[: n - back, : r - shift]
        total[back:, :shift] += mean[: n - back]
        count[back:] += 1
    return total / count
