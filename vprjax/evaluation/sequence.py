"""Sequence matching (SeqSLAM, Milford & Wyeth 2012).

The last `length` frames stand for a query frame. Every reference and ratio of speeds gives a straight line
back through the distance matrix; the mean distance along it is the cost. One block of queries is in memory
at a time.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

SPEEDS = (0.8, 0.9, 1.0, 1.1, 1.2)  # references per query frame, as in the original
ROWS, COLUMNS = 256, 1024  # queries and references per block


def match(
    queries: np.ndarray, references: np.ndarray, length: int, speeds: Sequence[float] = SPEEDS
) -> tuple[np.ndarray, np.ndarray]:
    """Lowest mean distance `(q,)` of every query and the number `(q,)` of its reference.

    Both sides are in time order. The first queries, which fewer frames precede, have shorter lines.
    Before the first reference a line continues at the query frame's mean distance to all references.

    Args:
      queries: `(q, d)` descriptors of any float type.
      references: `(r, d)`.
      length: frames per sequence, at least 1; 1 gives the nearest reference.
      speeds: ratios of the references' speed to the queries' speed.

    Raises:
      ValueError: `length` is below 1.
    """
    best, chosen = np.empty(len(queries)), np.empty(len(queries), np.int64)
    for rows, lowest in costs(queries, lambda block: _distances(block, references), length, speeds):
        chosen[rows] = np.argmin(lowest, axis=1)
        best[rows] = lowest.min(axis=1)
    return best, chosen


def costs(
    queries: np.ndarray,
    distances: Callable[[np.ndarray], np.ndarray],
    length: int,
    speeds: Sequence[float] = SPEEDS,
) -> Iterator[tuple[slice, np.ndarray]]:
    """Yields blocks of queries and their lowest mean distance `(n, r)` to every reference, over the speeds.

    Args:
      queries: `(q, d)` in time order.
      distances: function of queries `(n, d)` float32 to distances `(n, r)` to all references in time order.
      length: frames per sequence, at least 1.
      speeds: ratios of the references' speed to the queries' speed.

    Raises:
      ValueError: `length` is below 1.
    """
    if length < 1:
        raise ValueError(f"sequence length {length} must be 1 or more")
    for first in range(0, len(queries), ROWS):
        start = max(0, first - length + 1)
        found = distances(np.asarray(queries[start : first + ROWS], np.float32))
        lowest = np.min([_along(found, length, speed) for speed in speeds], axis=0)
        yield slice(first, min(first + ROWS, len(queries))), lowest[first - start :]


def _distances(block: np.ndarray, references: np.ndarray) -> np.ndarray:
    """L2 distances `(n, r)` float32 of `block` `(n, d)` float32, `COLUMNS` references at a time."""
    out = np.empty((len(block), len(references)), np.float32)
    own = np.einsum("nd,nd->n", block, block)[:, None]
    for first in range(0, len(references), COLUMNS):
        part = np.asarray(references[first : first + COLUMNS], np.float32)
        squared = np.einsum("rd,rd->r", part, part)
        out[:, first : first + COLUMNS] = own + squared - 2 * block @ part.T
    return np.sqrt(np.maximum(out, 0))


def _along(distances: np.ndarray, length: int, speed: float) -> np.ndarray:
    """Means `(n, r)` of `distances` `(n, r)` along the `length` rows that end at each cell."""
    n, r = distances.shape
    # Shorter lines would not do there: the mean of a few cells strays farther, down as well as up.
    mean = distances.mean(axis=1, keepdims=True)
    total, count = np.zeros((n, r)), np.zeros((n, 1))
    for back in range(min(length, n)):
        shift = min(round(back * speed), r)
        total[back:, shift:] += distances[: n - back, : r - shift]
        total[back:, :shift] += mean[: n - back]
        count[back:] += 1
    return total / count
