"""The rooms of one seed: a closed walk through one floor of a building, its furniture, what moves there."""

import dataclasses
import functools
import itertools

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from tfds_builders.synthetic import interior, textures
from tfds_builders.synthetic.drive import Lap
from tfds_builders.synthetic.world import NONE, Walls, World, box, even_route

GROUND_PX = 20  # pixels of the floor's raster per metre
MARGIN = 9.0  # metres of floor around the walk
OUTSIDE = 5.5  # metres from the walk to the building's outer walls
CLEAR = 0.8  # metres around the walk that no wall enters
CORNER = 0.8  # metres within which the walk turns, standard deviation
STRIP = 256  # rows that noise is drawn for at once
LONGEST = 600.0  # metres of a walk: its floor takes 0.2 GiB, and each rendering process has one
LAMP = 0.35  # strength of a lamp at night
SWAY = 0.35  # share of a car's wander


@functools.lru_cache(maxsize=2)
def make_rooms(seed: int, length: float) -> World:
    """The rooms of a seed with a walk of about `length` metres."""
    rng = np.random.default_rng((seed, 1))
    centre, _, _ = even_route(_corners(rng), length)
    centre = ndimage.gaussian_filter1d(centre, CORNER / 0.25, axis=0, mode="wrap")
    centre, arc, total = even_route(centre, length)
    origin = centre.min(axis=0) - MARGIN
    size = np.ceil((np.ptp(centre, axis=0) + 2 * MARGIN) * GROUND_PX).astype(int)
    atlas = np.zeros((0, textures.HEIGHT, textures.WIDTH, 4), np.uint8)
    ground, ceiling = np.zeros((2, size[1], size[0], 3), np.uint8)
    none = np.zeros((0, 2))
    bare = World(centre, arc, total, NONE, atlas, atlas[..., 0], ground, origin, none, interior.PX)
    bare = dataclasses.replace(
        bare,
        ground_px=GROUND_PX,
        ceiling=ceiling,
        ceiling_height=interior.TALL,
        lamp=LAMP,
        sway=SWAY,
    )
    lamps, along = bare.at(np.arange(1.5, total, rng.uniform(4.0, 7.0)))
    _paint(rng, bare, [box(*lamp, 1.2, 0.3)[0] for lamp in zip(lamps, along, strict=True)])
    walls, rooms = _walls(rng, bare)
    drawn = [interior.wall(rng, w) for w in np.linalg.norm(walls.end - walls.start, axis=1)]
    still, sides = _boxes(rng, bare, rooms)
    windows = np.stack([mask for _, mask in drawn])
    return dataclasses.replace(
        bare,
        walls=walls.joined(still, len(drawn)),
        atlas=np.concatenate([np.stack([texture for texture, _ in drawn]), sides]),
        windows=np.concatenate([windows, np.zeros(sides.shape[:3], np.uint8)]),
        lamps=lamps,
    )


def furniture(world: World, lap: Lap, seed: int) -> tuple[Walls, np.ndarray]:
    """Boxes beside the walk during one lap alone: their walls, four each, and textures."""
    rng = lap.rng(seed, 2)
    places = rng.uniform(0, world.length, max(2, int(world.length / 6)))
    return _boxes(rng, world, [(s, rng.choice([-1.25, 1.25])) for s in places])


def _corners(rng) -> np.ndarray:
    """A rectangle with one or two of its corners set back: `(n, 2)`."""
    deep, points = rng.uniform(0.55, 0.95), []
    set_back = rng.permutation(4)[: rng.integers(1, 3)]
    for i, (x, y) in enumerate(((0.0, 0.0), (1.0, 0.0), (1.0, deep), (0.0, deep))):
        a = x + (1 - 2 * x) * rng.uniform(0.25, 0.4)
        b = y + (1 if y == 0 else -1) * deep * rng.uniform(0.25, 0.4)
        if i not in set_back:
            points.append((x, y))
        else:  # reached along one side, left along the other
            points += [(x, b), (a, b), (a, y)][:: 1 if i in (0, 2) else -1]
    return np.array(points)


def _walls(rng, world: World) -> tuple[Walls, list]:
    """The walls of corridors and wider rooms on both sides, and `(s, lateral)` of the rooms' furniture."""
    boxes = []
    start, end = _outside(world)
    for side in (1.0, -1.0):
        s, before = 0.0, None
        while s < world.length - 1:
            long, wide = min(rng.uniform(4, 14), world.length - s), rng.random() < 0.45
            half = rng.uniform(2.6, 5.0) if wide else rng.uniform(1.2, 1.7)
            steps = max(2, int(long / 2.5) + 1)
            edge = world.at(np.linspace(s, s + long, steps), np.full(steps, side * half))[0]
            line = [*([] if before is None else [before]), *edge]
            for a, b in itertools.pairwise(line):
                start.append(a)
                end.append(b)
            if wide:
                many = rng.integers(1, 5)
                boxes += [
                    (s + rng.uniform(0, long), side * rng.uniform(1.5, half)) for _ in range(many)
                ]
            before, s = edge[-1], s + long
    start, end = np.array(start), np.array(end)
    clear = _clear(world, start, end)  # inside a turn the line beside one stretch crosses the next
    return Walls.of(start[clear], end[clear], np.full(clear.sum(), interior.TALL)), boxes


def _clear(world: World, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Which lines `(n, 2)` to `(n, 2)` leave the walk free: `(n,)` bool."""
    walk, shares = cKDTree(world.centre), np.linspace(0, 1, 12)[:, None, None]
    return walk.query(start + (end - start) * shares)[0].min(axis=0) > CLEAR


def _outside(world: World) -> tuple[list, list]:
    """The starts and ends of the building's outer walls, in pieces that a texture covers."""
    low, high = world.centre.min(axis=0) - OUTSIDE, world.centre.max(axis=0) + OUTSIDE
    corners = np.array([low, (high[0], low[1]), high, (low[0], high[1])])
    start, end = [], []
    for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        steps = int(np.linalg.norm(b - a) / interior.LONGEST) + 2
        line = a + (b - a) * np.linspace(0, 1, steps)[:, None]
        start += [*line[:-1]]
        end += [*line[1:]]
    return start, end


def _boxes(rng, world: World, places: list) -> tuple[Walls, np.ndarray]:
    """Boxes at `(s, lateral)`, low as a table to tall as a cupboard.

    They leave the walk free; walls and other boxes may cross them.
    """
    start, end, height, drawn = [], [], [], []
    for s, lateral in places:
        long, wide, tall = rng.uniform(0.4, 1.6), rng.uniform(0.35, 0.7), rng.uniform(0.7, 2.0)
        corners, following = box(*world.at(s, lateral), long, wide)
        if not _clear(world, np.array(corners), np.array(following)).all():
            continue
        sides = [interior.side(rng, w, tall)[0] for w in (long, wide)]
        start, end = start + corners, end + following
        height += [tall] * 4
        drawn += sides * 2
    if not drawn:
        return NONE, np.zeros((0, textures.HEIGHT, textures.WIDTH, 4), np.uint8)
    return Walls.of(start, end, height), np.stack(drawn)


def _paint(rng, world: World, lamps: list) -> None:
    """Paints the floor, tiled or with a runner along the walk, and the ceiling with its lamps."""
    for raster, low, high in ((world.ground, 70, 190), (world.ceiling, 190, 235)):
        raster[:] = np.clip(rng.uniform(low, high) + rng.normal(0, 8, 3), 0, 255)
        for _ in range(12):  # every part of the building its own
            place = world.at(rng.uniform(0, world.length))[0]
            colour = tuple(int(c) for c in rng.uniform(low, high) + rng.normal(0, 10, 3))
            a, b = rng.uniform(3, 9, 2)
            world.draw(raster, place + np.array([[-a, -b], [a, -b], [a, b], [-a, b]]), colour)
        raster[:: GROUND_PX // 2] = (raster[:: GROUND_PX // 2] * 0.88).astype(np.uint8)
        raster[:, :: GROUND_PX // 2] = (raster[:, :: GROUND_PX // 2] * 0.88).astype(np.uint8)
    for s in np.arange(0, world.length, 15.0)[rng.random(int(np.ceil(world.length / 15))) < 0.5]:
        line = world.at(np.linspace(s, s + 12, 25))[0]
        colour = tuple(int(c) for c in rng.integers(40, 200, 3))
        world.draw(world.ground, line, colour, rng.uniform(0.8, 1.6))
    for corners in lamps:
        world.draw(world.ceiling, np.array(corners), (255, 255, 255))
    for first in range(0, len(world.ground), STRIP):
        rows = slice(first, first + STRIP)
        noise = rng.normal(0, 4, world.ground[rows].shape[:2])[..., None]
        for raster in (world.ground, world.ceiling):
            raster[rows] = np.clip(raster[rows] + noise, 0, 255).astype(np.uint8)
