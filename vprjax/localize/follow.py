"""Answers to the frames of one drive, each from all frames so far."""

import numpy as np

from vprjax.errors import DataError
from vprjax.localize import asked
from vprjax.localize.answer import BELIEF, Answer
from vprjax.localize.place_filter import PlaceFilter

SURE = 0.99  # belief around the answer from which on it is located


class Follower:
    """A drive on its way through a map; `Map.follow` makes it."""

    def __init__(self, places, speed: float, radius: float):
        """Starts without knowledge of the place.

        Raises:
          DataError: an image of the map has no position, or the speed is not above 0.
        """
        try:
            self._filter = PlaceFilter(places.frames.positions, speed, radius)
        except ValueError as error:
            raise DataError(f"{places.folder}: {error}") from error
        self._places = places

    def step(self, picture, seconds: float, k: int = 5) -> Answer:
        """The answer to the next frame.

        Places come in the order of their belief. `confidence` is the belief within the radius around the
        first one.

        Args:
          picture: as `Map.query` takes one.
          seconds: since the last frame.
          k: number of places to name, at most.

        Raises:
          DataError: the picture cannot be read, there are several, `k` is below 1, or the speed reaches too
            many places.
        """
        asked.check_k(k)
        described = self._places.model.describe(picture)
        if len(described) != 1:
            raise DataError(f"{len(described)} pictures at once; give one frame per step")
        distances = self._places.distances(described[0])
        try:
            _, belief = self._filter.step(distances, seconds)
        except ValueError as error:
            raise DataError(f"{self._places.folder}: {error}") from error
        order = np.argsort(-self._filter.belief, kind="stable")[: min(k, len(distances))]
        frames = self._places.frames
        return Answer(
            frames.image_ids[order],
            frames.positions[order],
            distances[order],
            belief,
            belief >= SURE,
            order,
            BELIEF,
        )
