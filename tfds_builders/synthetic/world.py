"""A world: a closed route, walls along it, the ground from above; and the town of one seed."""

import dataclasses
import functools

import cv2
import numpy as np

from tfds_builders.synthetic import textures

GROUND_PX = 8  # pixels of the ground raster per metre
MARGIN = 40.0  # metres of ground around the route
ROAD, PAVEMENT = 3.2, 5.5  # half widths, metres


@dataclasses.dataclass(frozen=True)
class Walls:
    """Upright rectangles: `start`, `end` `(n, 2)` metres, `height` `(n,)`, `texture` `(n,)` index."""

    start: np.ndarray
    end: np.ndarray
    height: np.ndarray
    texture: np.ndarray

    @classmethod
    def of(cls, start: list, end: list, height: list) -> "Walls":
        """Walls that each have a texture of their own, in this order."""
        return cls(np.array(start), np.array(end), np.array(height), np.arange(len(start)))

    def joined(self, others: "Walls", offset: int) -> "Walls":
        """These and `others`, whose textures begin at `offset`."""
        return Walls(
            np.concatenate([self.start, others.start]),
            np.concatenate([self.end, others.end]),
            np.concatenate([self.height, others.height]),
            np.concatenate([self.texture, others.texture + offset]),
        )


NONE = Walls(np.zeros((0, 2)), np.zeros((0, 2)), np.zeros(0), np.zeros(0, int))


@dataclasses.dataclass(frozen=True)
class World:
    """The town, or the rooms, that all laps share.

    Attributes:
      centre: `(m, 2)` route points about 0.25 m apart, closed, metres.
      arc: `(m,)` their arc lengths, metres.
      length: of the whole route, metres.
      walls: house fronts and trees.
      atlas: `(t, h, w, 4)` BGRA textures, row 0 at the bottom.
      windows: `(t, h, w)` their window masks.
      ground: BGR raster, seen from above.
      origin: `(2,)` the raster's corner, metres.
      lamps: `(l, 2)` street or ceiling lamps, metres.
      px: texels per metre.
      ground_px: pixels of the ground raster per metre.
      ceiling: BGR raster of the ground's shape, `ceiling_height` metres up; None is the open sky.
      lamp: strength of a lamp where `Condition.lamps` is 1.
      sway: share of a car's wander that the camera makes.
    """

    centre: np.ndarray
    arc: np.ndarray
    length: float
    walls: Walls
    atlas: np.ndarray
    windows: np.ndarray
    ground: np.ndarray
    origin: np.ndarray
    lamps: np.ndarray
    px: int = textures.PX
    ground_px: int = GROUND_PX
    ceiling: np.ndarray | None = None
    ceiling_height: float = np.inf
    lamp: float = 1.6
    sway: float = 1.0

    def at(self, s: np.ndarray, lateral: np.ndarray = 0.0) -> tuple[np.ndarray, np.ndarray]:
        """Position `(..., 2)` and heading (radians, 0 is east) at arc length `s`, `lateral` m left."""
        s = np.mod(s, self.length)
        closed = np.concatenate([self.centre, self.centre[:1]])
        arc = np.append(self.arc, self.length)

        def point(at):
            at = np.mod(at, self.length)
            return np.stack([np.interp(at, arc, closed[:, i]) for i in (0, 1)], axis=-1)

        ahead, behind = point(s + 1.0), point(s - 1.0)
        tangent = ahead - behind
        tangent = tangent / np.linalg.norm(tangent, axis=-1, keepdims=True)
        normal = np.stack([-tangent[..., 1], tangent[..., 0]], axis=-1)
        position = point(s) + normal * np.asarray(lateral)[..., None]
        return position, np.arctan2(tangent[..., 1], tangent[..., 0])

    def ground_at(self, points: np.ndarray, raster: np.ndarray) -> np.ndarray:
        """The nearest values of a ground raster at `points` `(..., 2)`, metres; its border outside."""
        px = ((points - self.origin) * self.ground_px).astype(np.int32)
        y = np.clip(px[..., 1], 0, raster.shape[0] - 1)
        x = np.clip(px[..., 0], 0, raster.shape[1] - 1)
        return raster[y, x]

    def draw(self, raster: np.ndarray, points: np.ndarray, colour, width: float = 0.0) -> None:
        """Draws a polyline of `width` metres, or a filled polygon at width 0, into a ground raster."""
        px = np.round((points - self.origin) * self.ground_px).astype(np.int32)
        if width:
            cv2.polylines(raster, [px], False, colour, max(1, round(width * self.ground_px)))
        else:
            cv2.fillPoly(raster, [px], colour)


@functools.lru_cache(maxsize=2)
def make_world(seed: int, length: float) -> World:
    """The town of a seed with a route of about `length` metres."""
    rng = np.random.default_rng((seed, 0))
    centre, arc, total = _route(rng, length)
    origin = centre.min(axis=0) - MARGIN
    size = np.ceil((np.ptp(centre, axis=0) + 2 * MARGIN) * GROUND_PX).astype(int)
    atlas = np.zeros((0, textures.HEIGHT, textures.WIDTH, 4), np.uint8)
    ground = np.zeros((size[1], size[0], 3), np.uint8)
    bare = World(centre, arc, total, NONE, atlas, atlas[..., 0], ground, origin, np.zeros((0, 2)))
    walls, atlas, windows = _houses(rng, bare)
    lamps = np.concatenate(
        [bare.at(np.arange(0, total, 18.0) + 9 * i, 5.0 - 10 * i)[0] for i in (0, 1)]
    )
    _paint_ground(rng, bare)
    return dataclasses.replace(bare, walls=walls, atlas=atlas, windows=windows, lamps=lamps)


def _route(rng, length: float):
    """A smooth closed loop: points, their arc lengths and its length, metres."""
    corners = 8
    angle = np.linspace(0, 2 * np.pi, corners, endpoint=False) + rng.uniform(-0.12, 0.12, corners)
    radius = rng.uniform(0.72, 1.28, corners)
    points = radius[:, None] * np.stack([1.35 * np.cos(angle), np.sin(angle)], axis=1)
    for _ in range(4):  # Chaikin: cut every corner
        after = np.roll(points, -1, axis=0)
        points = np.stack([0.75 * points + 0.25 * after, 0.25 * points + 0.75 * after], axis=1)
        points = points.reshape(-1, 2)
    return even_route(points, length)


def even_route(points: np.ndarray, length: float):
    """A closed polygon at about `length` metres, its points 0.25 m apart, their arc lengths, its length."""
    steps = np.linalg.norm(np.roll(points, -1, axis=0) - points, axis=1)
    points, steps = points * length / steps.sum(), steps * length / steps.sum()
    arc = np.concatenate([[0], np.cumsum(steps)])
    even = np.linspace(0, length, int(length * 4), endpoint=False)
    closed = np.concatenate([points, points[:1]])
    centre = np.stack([np.interp(even, arc, closed[:, i]) for i in (0, 1)], axis=1)
    steps = np.linalg.norm(np.roll(centre, -1, axis=0) - centre, axis=1)
    return centre, np.concatenate([[0], np.cumsum(steps)[:-1]]), float(steps.sum())


def _houses(rng, world: World):
    """Walls, textures and window masks of house fronts and of the trees before them."""
    start, end, height, drawn = [], [], [], []
    for side in (1.0, -1.0):
        s = 0.0
        while s < world.length - 4:
            width = min(rng.uniform(6, 15), world.length - s)
            back = side * rng.uniform(6.5, 9.0)
            if rng.random() < 0.9:  # now and then a gap
                (a, b), _ = world.at(np.array([s, s + width]), np.array([back, back]))
                tall = rng.uniform(6, 15)
                start.append(a)
                end.append(b)
                height.append(tall)
                wide = min(np.linalg.norm(b - a), textures.LONGEST)
                drawn.append(textures.facade(rng, wide, tall))
            s += width
    trees = [textures.tree(rng) for _ in range(4)]
    for s in np.arange(5.0, world.length, 17.0):
        if rng.random() < 0.6:
            side = 5.6 if rng.random() < 0.5 else -5.6
            place, heading = world.at(s + rng.uniform(-4, 4), side)
            for turn in (0.0, np.pi / 2):
                along = 2.0 * np.array([np.cos(heading + turn), np.sin(heading + turn)])
                start.append(place - along)
                end.append(place + along)
                height.append(6.0)
                drawn.append(trees[rng.integers(len(trees))])
    walls = Walls.of(start, end, height)
    return walls, np.stack([t for t, _ in drawn]), np.stack([w for _, w in drawn])


def box(centre: np.ndarray, heading: float, long: float, wide: float) -> tuple[list, list]:
    """The starts and ends of an upright box's four walls; the first and third lie along its heading."""
    forward = np.array([np.cos(heading), np.sin(heading)]) * long / 2
    left = np.array([-np.sin(heading), np.cos(heading)]) * wide / 2
    corners = [centre + forward + left, centre - forward + left]
    corners += [centre - forward - left, centre + forward - left]
    return corners, corners[1:] + corners[:1]


def _paint_ground(rng, world: World) -> None:
    """Paints grass, pavement, asphalt, kerbs, lane marks, crossings and patches."""
    ground = world.ground
    ground[:] = (88, 105, 98)
    loop = np.concatenate([world.centre, world.centre[:2]])
    world.draw(ground, loop, (150, 152, 155), 2 * 7.5)
    world.draw(ground, loop, (128, 134, 138), 2 * PAVEMENT)
    world.draw(ground, loop, (185, 185, 185), 2 * (ROAD + 0.3))
    world.draw(ground, loop, (82, 80, 78), 2 * ROAD)
    for s in np.arange(0, world.length, 6.0):
        world.draw(ground, world.at(np.array([s, s + 2.5]))[0], (225, 225, 225), 0.2)
    for s in np.sort(rng.uniform(0, world.length, int(world.length / 45))):  # crossings
        for lateral in np.arange(-2.7, 3.0, 1.1):
            world.draw(
                ground,
                world.at(np.array([s, s + 3.0]), np.full(2, lateral))[0],
                (235, 235, 235),
                0.5,
            )
    for s in rng.uniform(0, world.length, int(world.length / 5)):  # patches and covers
        centre, heading = world.at(s, rng.uniform(-2.8, 2.8))
        shape = rng.uniform(0.3, 1.4, 2)
        turn = np.array([[np.cos(heading), -np.sin(heading)], [np.sin(heading), np.cos(heading)]])
        corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * shape @ turn.T + centre
        world.draw(ground, corners, (int(rng.integers(45, 75)),) * 3)
    noise = rng.normal(0, 5, ground.shape[:2])[..., None]
    ground[:] = np.clip(ground + noise, 0, 255).astype(np.uint8)
