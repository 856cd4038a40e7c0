"""The poses of training images as tuples see them: an image that looks away shows another place."""

import numpy as np


class Poses:
    """Positions, and headings where they count.

    Attributes:
      positions: `(n, 2)` float64, position units.
      headings: `(n,)` float64, radians; None where headings do not count.
    """

    def __init__(self, positions: np.ndarray, headings: np.ndarray | None = None, degrees=180.0):
        """Two images look the same way where their headings differ by at most `degrees`."""
        self.positions, self.headings = positions, headings
        self._most = np.deg2rad(degrees)

    def away(self, others: np.ndarray, image: int) -> np.ndarray:
        """Whether each of the images `others (m,)` looks another way than `image`: bool `(m,)`."""
        if self.headings is None:
            return np.zeros(len(others), bool)
        turn = self.headings[others] - self.headings[image]
        return np.abs((turn + np.pi) % (2 * np.pi) - np.pi) > self._most

    def distances(self, others: np.ndarray, image: int) -> np.ndarray:
        """Distances of the images `others (m,)` from `image`, position units; inf where one looks away."""
        distances = np.hypot(*(self.positions[others] - self.positions[image]).T)
        if self.headings is not None:
            distances[self.away(others, image)] = np.inf
        return distances
