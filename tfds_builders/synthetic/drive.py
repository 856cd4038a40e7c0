"""Laps: the camera's place at each time, the condition, and the vehicles of the lap."""

import dataclasses
import zlib

import numpy as np

from tfds_builders.synthetic import textures
from tfds_builders.synthetic.world import Walls, World, box

SPEED = 5.0  # metres per second of the camera, in rooms as in the town
PAUSE = 600.0  # seconds between laps


@dataclasses.dataclass(frozen=True)
class Lap:
    """One pass over the route.

    Attributes:
      name: e.g. "train/lap0"; seeds the lap's randomness together with the world's seed.
      condition: key of `conditions.CONDITIONS`.
      count: number of frames, spread evenly over the route.
      start: time of its start, seconds.
    """

    name: str
    condition: str
    count: int
    start: float = 0.0

    def rng(self, seed: int, what: int) -> np.random.Generator:
        """The random generator of aspect `what` of this lap."""
        return np.random.default_rng((seed, what, zlib.crc32(self.name.encode())))


def poses(world: World, lap: Lap, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions `(n, 2)` metres, headings `(n,)` radians and times `(n,)` microseconds of a lap.

    The camera wanders by about +-1 m in its lane, less in rooms, and looks a few degrees aside. Each lap's
    first frame lies at another point within one spacing.
    """
    rng = lap.rng(seed, 1)
    spacing = world.length / lap.count
    s = (np.arange(lap.count) + rng.uniform(0, 1)) * spacing
    wave = 2 * np.pi * s / world.length
    phases = rng.uniform(0, 2 * np.pi, 4)
    lateral = 0.6 * np.sin(3 * wave + phases[0]) + 0.4 * np.sin(11 * wave + phases[1])
    aside = np.radians(2.5) * (np.sin(5 * wave + phases[2]) + 0.6 * np.sin(17 * wave + phases[3]))
    positions, headings = world.at(s, lateral * world.sway)
    headings = np.angle(np.exp(1j * (headings + aside + rng.normal(0, np.radians(0.7), lap.count))))
    times = np.round((lap.start + s / SPEED) * 1e6).astype(np.int64)
    return positions, headings, times


def occluders(world: World, lap: Lap, seed: int) -> tuple[Walls, np.ndarray]:
    """Vehicles at the kerb and in the other lane, as boxes of four walls with their textures."""
    rng = lap.rng(seed, 2)
    start, end, height, drawn = [], [], [], []
    for s in rng.uniform(0, world.length, max(2, int(world.length / 14))):
        long, tall = rng.uniform(3.6, 6.5), rng.uniform(1.4, 2.6)
        lateral = rng.choice([-4.4, 4.4, 4.4, 2.4]) + rng.uniform(-0.2, 0.2)
        centre, heading = world.at(s, lateral)
        corners, following = box(centre, heading, long, 1.8)
        side, front = textures.vehicle_side(rng, long, tall), textures.vehicle_side(rng, 1.8, tall)
        start, end = start + corners, end + following
        height += [tall] * 4
        drawn += [side[0], front[0]] * 2
    return Walls.of(start, end, height), np.stack(drawn)
