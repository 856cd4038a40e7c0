"""Windows of frames in a row, with which MSLS's sequence tasks ask and answer."""

from collections.abc import Sequence

import numpy as np


def middles(sequences: Sequence[str], numbers: Sequence[int], length: int) -> np.ndarray:
    """Rows `(n,)` with `length // 2` rows on both sides that are of their sequence and count on by one."""
    half, rows = length // 2, len(numbers)
    same = np.array([a == b for a, b in zip(sequences[1:], sequences[:-1], strict=True)], bool)
    breaks = np.cumsum([0, *~(same & (np.diff(numbers) == 1))]) if rows else np.zeros(0, np.int64)
    inside = np.arange(half, rows - half)
    return inside[breaks[inside + half] == breaks[inside - half]]


def kept(
    sequences: list[str], numbers: list[int], reasons: list[str], length: int
) -> tuple[np.ndarray, list[str]]:
    """Windows' middles among the rows that are kept, and by row why it is in none, or ""."""
    found = middles(sequences, numbers, length)
    found = found[[not reasons[row] for row in found.tolist()]] if len(found) else found
    inside = frames(found, length, len(reasons))
    left = f"in no window of {length} frames"
    reasons = ["" if one else why or left for one, why in zip(inside, reasons, strict=True)]
    return renumbered(found, inside), reasons


def frames(middles: np.ndarray, length: int, count: int) -> np.ndarray:
    """Which of `count` rows are in a window, `(count,)` bool."""
    found = np.zeros(count, bool)
    for step in range(-(length // 2), length // 2 + 1):
        found[middles + step] = True
    return found


def renumbered(middles: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """The middles as numbers among the rows that are kept, `kept` `(count,)` bool."""
    return (np.cumsum(kept) - 1)[middles]


def near(
    ours: tuple[np.ndarray, np.ndarray, int],
    theirs: tuple[np.ndarray, np.ndarray, int],
    radius: float,
) -> list[list[int]]:
    """Per window of ours the windows of theirs, ascending, with a frame within `radius` of one of its own.

    Args:
      ours: positions `(frames, 2)`, middles `(n,)` and length of the windows.
      theirs: the same of the other side.
      radius: metres, itself included.
    """
    from scipy.spatial import cKDTree  # slow to import

    (places, asked, length), (others, answers, other_length) = ours, theirs
    found = cKDTree(others).query_ball_point(places, radius)
    half, other_half = length // 2, other_length // 2
    lists = []
    for middle in asked.tolist():
        hit = sorted({f for each in found[middle - half : middle + half + 1] for f in each})
        first = np.searchsorted(answers, np.array(hit) - other_half, side="left")
        last = np.searchsorted(answers, np.array(hit) + other_half, side="right")
        lists.append(sorted({w for a, b in zip(first, last, strict=True) for w in range(a, b)}))
    return lists
