"""How much nearer an answer is than the nearest image of another place.

Where tunnels or fields look alike, the smallest distances of all are wrong answers: another place is as
near. The ratio of both distances tells. Lowe, "Distinctive Image Features from Scale-Invariant Keypoints",
2004, takes the ratio of the two nearest features; here the second is the nearest of another place.
"""

import dataclasses

import numpy as np

from vprjax import retrieval
from vprjax.localize.answer import FARTHEST
from vprjax.retrieval.few import Few

FIRST = 16  # neighbours of the first search for another place
GROWTH = 4  # times as many in each further one
BYTES = 64 << 20  # of the neighbours of a further search held at once
HELD = 64  # bytes of one neighbour: distance, number, positions
ROUNDING = 1e-4  # distances below it are the rounding of descriptors


@dataclasses.dataclass(frozen=True)
class Answers:
    """The references nearest to each query, the nearest first.

    Attributes:
      distances: `(q, k)` float32, L2 distance of descriptors.
      indices: `(q, k)` int64.
      ratios: `(q, k)` float64 in 0 to 1, the distance over that to the nearest reference of another place.
    """

    distances: np.ndarray
    indices: np.ndarray
    ratios: np.ndarray


def search(
    queries: np.ndarray, references: np.ndarray, positions: np.ndarray, radius: float, k: int = 1
) -> Answers:
    """Exact answers to many queries; no matrix of all distances exists.

    Another place lies farther than `radius` from the first answer; so does each reference without a
    position but that answer itself. Where all lie within the radius, the distance to another place is 2.

    Args:
      queries: descriptors `(q, d)`.
      references: descriptors `(r, d)`.
      positions: of the references, `(r, 2)`, NaN where unknown.
      radius: of a place, position units.
      k: number of answers, 1..r.
    """
    reach = min(max(k, FIRST), len(references))
    found = retrieval.search(queries, references, reach)
    firsts = found.indices[:, :1]
    others = _nearest_other(found, firsts, positions, radius)
    while (rest := np.flatnonzero(np.isinf(others))).size and reach < len(references):
        reach = min(GROWTH * reach, len(references))
        step = max(1, BYTES // (HELD * reach))
        for first in range(0, len(rest), step):
            part = rest[first : first + step]
            more = retrieval.search(queries[part], references, reach)
            others[part] = _nearest_other(more, firsts[part], positions, radius)
    distances = found.distances[:, :k]
    return Answers(distances, found.indices[:, :k], _ratios(distances, others))


def search_few(
    few: Few,
    queries: np.ndarray,
    positions: np.ndarray,
    radius: float,
    k: int = 1,
    left_out: np.ndarray | None = None,
) -> Answers:
    """`search` for few queries, by one pass over the references of `few`.

    `left_out` `(q, r)` names references that do not count for a query; where fewer than `k` are left,
    infinite distances with a ratio of 1 follow.
    """

    def beside(first: np.int64) -> np.ndarray:
        near = _near(positions - positions[first], radius)
        near[first] = True
        return near

    distances, indices, others = few.with_next(queries, k, beside, left_out)
    return Answers(distances, indices, _ratios(distances, others))


def _near(gaps: np.ndarray, radius: float) -> np.ndarray:
    """Whether gaps `(..., 2)` are within the radius; unknown ones are not."""
    x, y = gaps[..., 0], gaps[..., 1]
    return np.sqrt(x * x + y * y) <= radius


def _nearest_other(found, firsts, positions, radius: float) -> np.ndarray:
    """Distances `(q,)` float64 to the nearest of another place among those found; infinite for none."""
    same = _near(positions[found.indices] - positions[firsts], radius)
    same |= found.indices == firsts
    return np.where(same, np.inf, found.distances.astype(np.float64)).min(axis=1)


def _ratios(distances: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Ratios `(q, k)`; two distances of rounding alone have the ratio 1, as nothing tells them apart."""
    others = np.where(np.isinf(others), FARTHEST, others.astype(np.float64))[:, None]
    own = np.maximum(distances.astype(np.float64), ROUNDING)
    return np.minimum(own / np.maximum(others, ROUNDING), 1.0)
