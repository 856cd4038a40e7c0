"""A discrete Bayes filter over the places of a map: one answer per frame, from that frame and earlier ones.

Source of the measurement model: Xu, Suenderhauf & Milford, "Probabilistic Visual Place Recognition for
Hierarchical Localization", 2020.
"""

import numpy as np
from scipy import sparse
from scipy.spatial import cKDTree

RATIO = (
    5.0  # likelihood of a place at the 2.5 % quantile of distances over one at the 97.5 % quantile
)
LOST = 1e-3  # share of belief that a step spreads over the whole map
MOST_MOVES = 1 << 25  # from a place to another within a step's reach: 2 GB of memory


class PlaceFilter:
    """The belief over the `n` places of a map.

    A step moves belief to the places within `speed * seconds`, then weighs it by the likelihood
    `exp(-rate * distance)` of the frame.

    Attributes:
      belief: `(n,)` probabilities of the last frame's place.
    """

    def __init__(self, positions: np.ndarray, speed: float, radius: float):
        """Starts without knowledge.

        Args:
          positions: `(n, 2)` of the map, position units.
          speed: the most that the camera moves, position units per second.
          radius: position units around the answer whose belief is its confidence.

        Raises:
          ValueError: there is no place, a position is unknown, or the speed is not above 0.
        """
        if not len(positions) or not np.isfinite(positions).all():
            raise ValueError("a filter needs a map whose every place has a position")
        if not speed > 0:
            raise ValueError(f"speed {speed:g} must be above 0")
        self.belief = np.full(len(positions), 1 / len(positions))
        self._tree, self._speed, self._radius = cKDTree(positions), speed, radius
        self._rate: float | None = None
        self._moves: dict[float, sparse.csr_array] = {}

    def step(self, distances: np.ndarray, seconds: float) -> tuple[int, float]:
        """The most probable place of the next frame, and the belief within the radius around it.

        Args:
          distances: `(n,)` descriptor distances of the frame to the map.
          seconds: time since the last frame; the first frame's has no effect.

        Raises:
          ValueError: so many places lie within reach of each other that their pairs fill the memory.
        """
        first = self._rate is None
        if first:
            near, far = np.quantile(distances, [0.025, 0.975])
            self._rate = np.log(RATIO) / max(far - near, 1e-12)
        reach = 0.0 if first else self._speed * max(seconds, 0.0)
        moved = self._moved(reach)
        moved = (1 - LOST) * moved / moved.sum() + LOST / len(moved)
        weights = moved * np.exp(-self._rate * (distances - distances.min()))
        self.belief = weights / weights.sum()
        best = int(np.argmax(self.belief))
        near = self._tree.query_ball_point(self._tree.data[best], self._radius)
        return best, float(self.belief[near].sum())

    def _moved(self, reach: float) -> np.ndarray:
        """Beliefs `(n,)` behind a step; even over a map that lies within reach of each of its places."""
        if np.linalg.norm(self._tree.maxes - self._tree.mins) <= reach:
            return np.full(len(self.belief), self.belief.mean())
        return self._move(reach) @ self.belief

    def _move(self, reach: float) -> sparse.csr_array:
        """Probabilities `(n, n)` of moving from a column's place to a row's, uniform within `reach`."""
        key = float(np.float32(reach))
        if key not in self._moves:
            count = self._tree.count_neighbors(self._tree, reach)
            if count > MOST_MOVES:
                others = count // len(self.belief) - 1
                raise ValueError(
                    f"within the {reach:g} position units of a step a place has {others:,} others on "
                    "average: give a lower speed, more frames per second or a map of fewer images"
                )
            pairs = self._tree.query_pairs(reach, output_type="ndarray")
            n = len(self.belief)
            own = np.arange(n)
            rows = np.concatenate([own, pairs[:, 0], pairs[:, 1]])
            columns = np.concatenate([own, pairs[:, 1], pairs[:, 0]])
            counts = np.bincount(columns, minlength=n)
            self._moves = {key: sparse.csr_array((1 / counts[columns], (rows, columns)), (n, n))}
        return self._moves[key]
