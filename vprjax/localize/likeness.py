"""How much a picture looks like the images of a map as a whole.

A picture of another kind, of a railway in the map of a town, say, has a nearest image too, and often it is
the emptiest of the map, which nothing else resembles: no distance and no ratio tells. Likeness is the
cosine between the picture's descriptor and the mean of the map's.
"""

import numpy as np

SAMPLE = 2_048  # images of a map, evenly spread, whose mean stands for all
UNLIKE = 0.01  # share of a calibration's queries that are less like the map than its limit
ROUNDING = 1e-5  # of a likeness; another batch rounds a descriptor otherwise


def centre(descriptors) -> np.ndarray:
    """The mean `(d,)` float32 of at most `SAMPLE` descriptors `(n, d)`, at length 1."""
    chosen = np.unique(np.linspace(0, len(descriptors) - 1, SAMPLE).round().astype(np.int64))
    mean = np.asarray(descriptors[chosen], np.float64).mean(axis=0)
    return (mean / max(np.linalg.norm(mean), np.finfo(np.float32).tiny)).astype(np.float32)


def of(descriptors: np.ndarray, middle: np.ndarray) -> np.ndarray:
    """Likeness `(q,)` float64, -1 to 1, of descriptors `(q, d)` to the `centre` of a map."""
    return np.asarray(descriptors @ middle, np.float64)


def limit(likeness: np.ndarray) -> float:
    """The likeness that one in 100 of the queries `(q,)` is below; the least of fewer than 199."""
    rank = int(UNLIKE * (len(likeness) + 1))
    return float(np.sort(likeness)[max(0, rank - 1)]) - ROUNDING
