"""A frame in true perspective: a ray a column, walls and ground textured by where the rays meet them."""

import dataclasses

import cv2
import numpy as np

from tfds_builders.synthetic import textures
from tfds_builders.synthetic.conditions import Condition, sun_direction
from tfds_builders.synthetic.world import GROUND_PX, Walls, World

CAMERA_HEIGHT = 1.6  # metres
FIELD_OF_VIEW = np.radians(80)  # horizontal
LAYERS = 5  # walls behind one another that a column may show
NEAR = 0.3  # metres


@dataclasses.dataclass(frozen=True)
class Light:
    """Per condition and world: light on the ground raster, BGR factors, and street-lamp light alone."""

    ground: np.ndarray
    lamps: np.ndarray


def make_light(world: World, condition: Condition) -> Light:
    """Sun, cast shadows and street lamps on the ground."""
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
        for x, y in (world.lamps - world.origin) * GROUND_PX:
            cv2.circle(lamps, (int(x), int(y)), int(3.5 * GROUND_PX), 1.0, -1)
        lamps = cv2.GaussianBlur(lamps, (0, 0), 2.0 * GROUND_PX) * 1.6 * condition.lamps
    ground = np.array(condition.ambient) + condition.sun * lit[..., None]
    return Light((ground + lamps[..., None] * (0.6, 0.85, 1.0)).astype(np.float32), lamps)


def render(
    world: World,
    light: Light,
    condition: Condition,
    position: np.ndarray,
    heading: float,
    height: int,
    width: int,
    occluders: tuple[Walls, np.ndarray] | None = None,
    seed: int = 0,
) -> np.ndarray:
    """One frame, uint8 BGR `(height, width, 3)`.

    Args:
      world: the town.
      light: `make_light` of the same world and condition.
      condition: light and weather.
      position: camera, metres, `(2,)`.
      heading: radians, 0 is east, counter-clockwise.
      height: pixels.
      width: pixels.
      occluders: walls of things that move, with a texture atlas of their own.
      seed: of noise, rain and which windows are lit.
    """
    rng = np.random.default_rng(seed)
    focal = width / 2 / np.tan(FIELD_OF_VIEW / 2)
    across = (np.arange(width) + 0.5 - width / 2) / focal  # to the right
    down = (np.arange(height) + 0.5 - height * 0.52) / focal
    forward = np.array([np.cos(heading), np.sin(heading)])
    right = np.array([forward[1], -forward[0]])
    rays = forward[None, :] + across[:, None] * right[None, :]  # z = 1 along the view axis
    image, far = _background(world, light, condition, position, rays, down)
    walls, atlas = world.walls, world.atlas
    windows = _lit_windows(world, condition)
    if occluders is not None:
        walls = _joined(walls, occluders[0], len(atlas))
        atlas = np.concatenate([atlas, occluders[1]])
        windows = np.concatenate([windows, np.zeros(occluders[1].shape[:3], windows.dtype)])
    base = _paint_walls(
        image, far, walls, atlas, windows, world, light, condition, position, rays, down
    )
    return _develop(image, far, base, down, across, condition, rng)


def _background(world, light, condition, position, rays, down):
    """Sky above the horizon, ground below; and the distance of every pixel."""
    h, w = len(down), len(rays)
    horizon, top = (np.array(c, np.float32) for c in condition.sky)
    up = np.clip(-down / 0.5, 0, 1)[:, None, None]
    image = np.broadcast_to(horizon * (1 - up) + top * up, (h, w, 3)).copy()
    far = np.full((h, w), 200.0, np.float32)
    below = down > 1e-3
    z = (CAMERA_HEIGHT / down[below])[:, None]
    points = position + z[..., None] * rays[None, :, :]
    image[below] = world.ground_at(points, world.ground) * world.ground_at(points, light.ground)
    far[below] = np.minimum(z, 200.0)
    return image, far


def _hits(walls: Walls, position, rays):
    """Depth `(w, n)` at which each column's ray meets each wall (inf: never) and where along it."""
    along = walls.end - walls.start
    to_start = walls.start - position
    cross = rays[:, None, 0] * along[None, :, 1] - rays[:, None, 1] * along[None, :, 0]
    cross = np.where(np.abs(cross) < 1e-9, 1e-9, cross)
    z = (to_start[:, 0] * along[:, 1] - to_start[:, 1] * along[:, 0])[None, :] / cross
    u = (to_start[None, :, 0] * rays[:, None, 1] - to_start[None, :, 1] * rays[:, None, 0]) / cross
    return np.where((z > NEAR) & (u >= 0) & (u <= 1), z, np.inf), u


def _paint_walls(image, far, walls, atlas, windows, world, light, condition, position, rays, down):
    """Paints walls from far to near; returns the foot row of the nearest wall of each column."""
    z, u = _hits(walls, position, rays)
    order = np.argsort(z, axis=1)[:, :LAYERS]
    columns = np.arange(len(rays))
    shade = _shades(walls, condition, position)
    long = np.linalg.norm(walls.end - walls.start, axis=1)
    base = np.full(len(rays), len(down))
    for layer in range(order.shape[1] - 1, -1, -1):
        wall = order[:, layer]
        depth = z[columns, wall]
        hit = np.isfinite(depth)
        depth = np.where(hit, depth, 1e6)
        level = CAMERA_HEIGHT - down[:, None] * depth[None, :]  # metres above the ground
        inside = (level >= 0) & (level < walls.height[wall][None, :]) & hit[None, :]
        row = np.clip((level * textures.PX).astype(int), 0, textures.HEIGHT - 1)
        at = u[columns, wall] * np.minimum(long[wall], 15.9)
        column = np.clip((at * textures.PX).astype(int), 0, textures.WIDTH - 1)
        texel = atlas[walls.texture[wall][None, :], row, column[None, :]]
        inside &= texel[..., 3] > 0
        points = position + depth[:, None] * rays
        lamp = world.ground_at(points, light.lamps)[None, :, None]
        lamp = lamp * np.exp(-np.maximum(level - 3, 0) / 4)[..., None] * (0.6, 0.85, 1.0)
        colour = texel[..., :3] * (shade[wall][None] + lamp)
        glow = windows[walls.texture[wall][None, :], row, column[None, :]][..., None]
        colour = colour * (1 - glow) + glow * np.array((120, 205, 245))
        image[inside] = colour[inside]
        far[inside] = np.broadcast_to(depth, far.shape)[inside]
        if layer == 0:
            foot = np.searchsorted(down, CAMERA_HEIGHT / np.minimum(depth, 1e6))
            base = np.where(hit, foot, base)
    return base


def _shades(walls: Walls, condition, position) -> np.ndarray:
    """Light on each wall's side that faces the camera, BGR factors `(n, 3)`."""
    along = walls.end - walls.start
    normal = np.stack([along[:, 1], -along[:, 0]], axis=1)
    normal = normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    away = np.einsum("nd,nd->n", normal, position - walls.start)
    normal = normal * np.where(away < 0, -1.0, 1.0)[:, None]
    facing = np.clip(normal @ sun_direction(condition)[:2], 0, 1)
    soft = 0.94 + 0.06 * normal[:, :1]  # even a grey sky is not even
    return soft * np.array(condition.ambient) + condition.sun * 1.1 * facing[:, None]


def _lit_windows(world: World, condition) -> np.ndarray:
    """Glow of every texel's window: some are lit when it is dark, the same ones all evening."""
    if not condition.lamps:
        return np.zeros(world.windows.shape, np.float32)
    rng = np.random.default_rng(7)
    cells = rng.random((len(world.windows), textures.HEIGHT // 14 + 1, textures.WIDTH // 14 + 1))
    lit = np.kron(cells < 0.3, np.ones((14, 14), bool))
    lit = lit[:, : textures.HEIGHT, : textures.WIDTH]
    return (world.windows * lit * 0.8 * condition.lamps).astype(np.float32)


def _joined(walls: Walls, others: Walls, offset: int) -> Walls:
    return Walls(
        np.concatenate([walls.start, others.start]),
        np.concatenate([walls.end, others.end]),
        np.concatenate([walls.height, others.height]),
        np.concatenate([walls.texture, others.texture + offset]),
    )


def _develop(image, far, base, down, across, condition, rng) -> np.ndarray:
    """Headlights, wet ground, haze, rain, loss of colour, sensor noise."""
    if condition.lamps:
        cone = np.exp(-((across / 0.45) ** 2))[None, :] * np.exp(-(((down - 0.12) / 0.25) ** 2))[:, None]
        beam = 1 + 2.2 * condition.lamps * cone * np.clip(1 - far / 25, 0, 1)
        image *= beam[..., None].astype(np.float32)
    if condition.rain:
        rows = np.arange(len(down))[:, None]
        mirrored = np.clip(2 * base[None, :] - rows, 0, len(down) - 1)
        reflected = np.take_along_axis(image, mirrored[..., None].repeat(3, axis=2), axis=0)
        wet = (rows > base[None, :])[..., None] * 0.35 * condition.rain
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
