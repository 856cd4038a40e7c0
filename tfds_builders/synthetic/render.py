"""Renders a frame in true perspective: one ray per column gives the texels of walls and ground."""

import dataclasses

import cv2
import numpy as np

from tfds_builders.synthetic import textures
from tfds_builders.synthetic.conditions import Condition, sun_direction
from tfds_builders.synthetic.world import Walls, World

CAMERA_HEIGHT = 1.6  # metres
FIELD_OF_VIEW = np.radians(80)  # horizontal
LAYERS = 5  # walls that one column may show behind each other
NEAR, FAR = 0.3, 200.0  # metres
HORIZON = 0.52  # share of the height above it
LAMP_COLOUR = np.array((0.6, 0.85, 1.0), np.float32)  # BGR factors
WINDOW_COLOUR = np.array((120, 205, 245), np.float32)  # BGR


@dataclasses.dataclass(frozen=True)
class Scene:
    """The scene that all frames of one lap share.

    Attributes:
      world: the town, or the rooms.
      condition: light and weather.
      walls: the town's walls and those of its vehicles.
      atlas: `(t, h, w, 4)` textures of both.
      glow: `(t, h, w)` strength of each texel's light.
      ground_light: BGR factors on the ground raster.
      lamps: the street lamps' share of them.
    """

    world: World
    condition: Condition
    walls: Walls
    atlas: np.ndarray
    glow: np.ndarray
    ground_light: np.ndarray
    lamps: np.ndarray


def make_scene(
    world: World, condition: Condition, occluders: tuple[Walls, np.ndarray] | None = None
) -> Scene:
    """The town under a condition, with `occluders`: the walls of vehicles and their textures."""
    walls, atlas, glow = world.walls, world.atlas, _lit_windows(world, condition)
    if occluders is not None:
        walls = walls.joined(occluders[0], len(atlas))
        atlas = np.concatenate([atlas, occluders[1]])
        glow = np.concatenate([glow, np.zeros(occluders[1].shape[:3], glow.dtype)])
    ground_light, lamps = _light_ground(world, condition)
    return Scene(world, condition, walls, atlas, glow, ground_light, lamps)


def _light_ground(world: World, condition: Condition) -> tuple[np.ndarray, np.ndarray]:
    """The light of sun and street lamps on the ground, shadows included, and the lamps' alone."""
    shape = world.ground.shape[:2]
    lit = np.ones(shape, np.uint8)
    if condition.sun:
        sun = sun_direction(condition)
        walls = world.walls
        for a, b, height in zip(walls.start, walls.end, walls.height, strict=True):
            away = -sun[:2] / sun[2] * height
            world.draw(lit, np.array([a, b, b + away, a + away]), 0)
    lamps = np.zeros(shape, np.float32)
    if condition.lamps:
        for x, y in (world.lamps - world.origin) * world.ground_px:
            cv2.circle(lamps, (int(x), int(y)), int(3.5 * world.ground_px), 1.0, -1)
        lamps = (
            cv2.GaussianBlur(lamps, (0, 0), 2.0 * world.ground_px) * world.lamp * condition.lamps
        )
    ground = np.array(condition.ambient) + condition.sun * lit[..., None]
    return (ground + lamps[..., None] * LAMP_COLOUR).astype(np.float32), lamps


def render(
    scene: Scene, position: np.ndarray, heading: float, height: int, width: int, seed: int = 0
) -> np.ndarray:
    """One frame, uint8 BGR `(height, width, 3)`.

    Args:
      scene: town, condition and vehicles.
      position: of the camera, `(2,)` metres.
      heading: of the camera, radians, 0 is east, counter-clockwise.
      height: pixels.
      width: pixels.
      seed: of noise and rain.
    """
    focal = width / 2 / np.tan(FIELD_OF_VIEW / 2)
    across = (np.arange(width) + 0.5 - width / 2) / focal  # to the right
    down = (np.arange(height) + 0.5 - height * HORIZON) / focal
    forward = np.array([np.cos(heading), np.sin(heading)])
    right = np.array([forward[1], -forward[0]])
    rays = forward[None, :] + across[:, None] * right[None, :]  # z = 1 along the view axis
    image, far = _background(scene, position, rays, down)
    foot = _paint_walls(image, far, scene, position, rays, down)
    return _develop(image, far, foot, down, across, scene.condition, np.random.default_rng(seed))


def _background(scene: Scene, position, rays, down):
    """The sky above the horizon and the ground below, and every pixel's depth in metres."""
    h, w, world = len(down), len(rays), scene.world
    horizon, top = (np.array(c, np.float32) for c in scene.condition.sky)
    up = np.clip(-down / 0.5, 0, 1).astype(np.float32)[:, None, None]
    image = np.broadcast_to(horizon * (1 - up) + top * up, (h, w, 3)).copy()
    far = np.full((h, w), FAR, np.float32)
    below = down > 1e-3
    z = (CAMERA_HEIGHT / down[below])[:, None]
    points = position + z[..., None] * rays[None, :, :]
    image[below] = world.ground_at(points, world.ground) * world.ground_at(
        points, scene.ground_light
    )
    far[below] = np.minimum(z, FAR)
    if world.ceiling is not None:
        _cover(image, far, scene, position, rays, down)
    return image, far


def _cover(image, far, scene: Scene, position, rays, down) -> None:
    """Paints the ceiling, which lamps reach, and a share of the sun."""
    above = down < -1e-3
    z = ((CAMERA_HEIGHT - scene.world.ceiling_height) / down[above])[:, None]
    points = position + z[..., None] * rays[None, :, :]
    light = np.array(scene.condition.ambient, np.float32) + np.float32(0.3 * scene.condition.sun)
    light = light + scene.world.ground_at(points, scene.lamps)[..., None] * LAMP_COLOUR
    image[above] = scene.world.ground_at(points, scene.world.ceiling) * light
    far[above] = np.minimum(z, FAR)


def _hits(walls: Walls, position, rays):
    """Depth `(w, n)` of each column's ray on each wall, inf where it misses, and its place along it."""
    along = walls.end - walls.start
    to_start = walls.start - position
    cross = rays[:, None, 0] * along[None, :, 1] - rays[:, None, 1] * along[None, :, 0]
    cross = np.where(np.abs(cross) < 1e-9, 1e-9, cross)
    z = (to_start[:, 0] * along[:, 1] - to_start[:, 1] * along[:, 0])[None, :] / cross
    u = (to_start[None, :, 0] * rays[:, None, 1] - to_start[None, :, 1] * rays[:, None, 0]) / cross
    return np.where((z > NEAR) & (z < FAR) & (u >= 0) & (u <= 1), z, np.inf), u


def _paint_walls(image, far, scene: Scene, position, rays, down):
    """Paints walls from far to near; returns the foot row of the nearest wall of each column."""
    walls, px = scene.walls, scene.world.px
    z, u = _hits(walls, position, rays)
    order = np.argsort(z, axis=1)[:, :LAYERS]
    shade = _shades(walls, scene.condition, position).astype(np.float32)
    long = np.linalg.norm(walls.end - walls.start, axis=1)
    foot = np.full(len(rays), len(down))
    for layer in range(order.shape[1] - 1, -1, -1):
        columns = np.flatnonzero(np.isfinite(z[np.arange(len(rays)), order[:, layer]]))
        wall = order[columns, layer]
        depth = z[columns, wall]
        level = CAMERA_HEIGHT - down[:, None] * depth[None, :]  # metres above the ground
        y, i = np.nonzero((level >= 0) & (level < walls.height[wall][None, :]))
        row = np.minimum((level[y, i] * px).astype(int), textures.HEIGHT - 1)
        at = u[columns, wall] * np.minimum(long[wall], (textures.WIDTH - 1) / px)
        column = np.minimum((at * px).astype(int), textures.WIDTH - 1)[i]
        texture = walls.texture[wall][i]
        solid = scene.atlas[texture, row, column, 3] > 0
        y, i, row, column, texture = (v[solid] for v in (y, i, row, column, texture))
        lamp = scene.world.ground_at(position + depth[:, None] * rays[columns], scene.lamps)
        lamp = lamp[i] * np.exp(-np.maximum(level[y, i] - 3, 0) / 4).astype(np.float32)
        colour = scene.atlas[texture, row, column, :3]
        colour = colour * (shade[wall][i] + lamp[:, None] * LAMP_COLOUR)
        glow = scene.glow[texture, row, column][:, None]
        image[y, columns[i]] = colour * (1 - glow) + glow * WINDOW_COLOUR
        far[y, columns[i]] = depth[i]
        if layer == 0:
            foot[columns] = np.searchsorted(down, CAMERA_HEIGHT / depth)
    return foot


def _shades(walls: Walls, condition, position) -> np.ndarray:
    """The light on each wall's side towards the camera, BGR factors `(n, 3)`."""
    along = walls.end - walls.start
    normal = np.stack([along[:, 1], -along[:, 0]], axis=1)
    normal = normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    away = np.einsum("nd,nd->n", normal, position - walls.start)
    normal = normal * np.where(away < 0, -1.0, 1.0)[:, None]
    facing = np.clip(normal @ sun_direction(condition)[:2], 0, 1)
    soft = 0.94 + 0.06 * normal[:, :1]  # even a grey sky is not even
    return soft * np.array(condition.ambient) + condition.sun * 1.1 * facing[:, None]


def _lit_windows(world: World, condition) -> np.ndarray:
    """The glow of every texel's window; in the dark the same windows are lit in every frame."""
    if not condition.lamps:
        return np.zeros(world.windows.shape, np.float32)
    rng = np.random.default_rng(7)
    cells = rng.random((len(world.windows), textures.HEIGHT // 14 + 1, textures.WIDTH // 14 + 1))
    lit = np.kron(cells < 0.3, np.ones((14, 14), bool))
    lit = lit[:, : textures.HEIGHT, : textures.WIDTH]
    return (world.windows * lit * 0.8 * condition.lamps).astype(np.float32)


def _develop(image, far, foot, down, across, condition, rng) -> np.ndarray:
    """Applies headlights, wet ground, haze, rain, loss of colour and sensor noise."""
    if condition.lamps:
        cone = (
            np.exp(-((across / 0.45) ** 2))[None, :]
            * np.exp(-(((down - 0.12) / 0.25) ** 2))[:, None]
        )
        beam = 1 + 2.2 * condition.lamps * cone * np.clip(1 - far / 25, 0, 1)
        image *= beam[..., None].astype(np.float32)
    if condition.rain:
        rows = np.arange(len(down))[:, None]
        mirrored = np.clip(2 * foot[None, :] - rows, 0, len(down) - 1)
        reflected = np.take_along_axis(image, mirrored[..., None].repeat(3, axis=2), axis=0)
        wet = (rows > foot[None, :])[..., None] * 0.35 * condition.rain
        image[:] = image * (1 - wet) + reflected * wet
    haze = (1 - np.exp(-far / 100 * condition.haze))[..., None] * (far < 200)[..., None]
    image[:] = image * (1 - haze) + np.array(condition.sky[0]) * haze
    if condition.rain:
        image[:] = cv2.GaussianBlur(image, (0, 0), 0.6)
        for _ in range(int(40 * condition.rain)):
            x, y = rng.integers(image.shape[1]), rng.integers(image.shape[0])
            image[y : y + 6, x] = image[y : y + 6, x] * 0.75 + 50
    if condition.grey:
        mean = image.mean(axis=2, keepdims=True)
        image[:] = image * (1 - condition.grey) + mean * condition.grey
    image += rng.normal(0, condition.noise, image.shape)
    return np.clip(image, 0, 255).astype(np.uint8)
