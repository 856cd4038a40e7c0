"""Procedural textures of a world: facades, trees, vehicles; uint8 BGRA, `PX` pixels per metre.

Each texture has a window mask, 1 where light may shine at night.
"""

import cv2
import numpy as np

PX = 10  # pixels per metre
HEIGHT, WIDTH = 160, 160  # of every texture, padding included
LONGEST = 15.9  # metres that a texture covers
WALLS = (
    (150, 160, 175),
    (120, 140, 190),
    (95, 105, 160),
    (170, 175, 180),
    (135, 165, 185),
    (110, 130, 140),
)
SIGNS = ((40, 40, 190), (160, 70, 30), (50, 140, 50), (20, 150, 200), (140, 40, 130), (30, 30, 30))


def blank() -> tuple[np.ndarray, np.ndarray]:
    """An empty texture and its window mask."""
    return np.zeros((HEIGHT, WIDTH, 4), np.uint8), np.zeros((HEIGHT, WIDTH), np.uint8)


def facade(rng: np.random.Generator, width: float, height: float) -> tuple[np.ndarray, np.ndarray]:
    """A house front of `width x height` metres: wall, storeys of windows, a door, maybe a shop."""
    texture, windows = blank()
    h, w = int(height * PX), int(width * PX)
    wall = np.array(WALLS[rng.integers(len(WALLS))], float) + rng.normal(0, 12, 3)
    image = np.clip(wall + rng.normal(0, 5, (h, w, 1)), 0, 255).astype(np.uint8)
    if rng.random() < 0.5:  # bricks
        image[::4] = (image[::4] * 0.82).astype(np.uint8)
        image[:, ::7] = (image[:, ::7] * 0.92).astype(np.uint8)
    mask = np.zeros((h, w), np.uint8)
    _windows(rng, image, mask)
    _ground_floor(rng, image, mask)
    roof = tuple(int(c) for c in wall * rng.uniform(0.4, 0.7))
    cv2.rectangle(image, (0, 0), (w, int(rng.uniform(2, 6))), roof, -1)
    cv2.rectangle(image, (w - 2, 0), (w, h), roof, -1)
    texture[:h, :w, :3], texture[:h, :w, 3], windows[:h, :w] = image[::-1], 255, mask[::-1]
    return texture, windows


def _windows(rng, image, mask) -> None:
    h, w = image.shape[:2]
    storey, gap = int(rng.integers(26, 34)), int(rng.integers(14, 26))
    wide, tall = int(rng.integers(7, min(gap - 3, 14))), int(rng.integers(12, 18))
    frame = tuple(int(c) for c in rng.integers(150, 245, 3)) if rng.random() < 0.7 else (60, 60, 70)
    first = int(rng.integers(4, gap))
    for top in range(8, h - 38, storey):
        for left in range(first, w - wide - 3, gap):
            if rng.random() < 0.06:
                continue
            glass = tuple(int(c) for c in rng.integers(40, 95, 3) + np.array([15, 5, 0]))
            corner = (left + wide, top + tall)
            cv2.rectangle(image, (left - 1, top - 1), (corner[0] + 1, corner[1] + 1), frame, 1)
            cv2.rectangle(image, (left, top), corner, glass, -1)
            cv2.line(image, (left + wide // 2, top), (left + wide // 2, corner[1]), frame, 1)
            cv2.rectangle(mask, (left, top), corner, 1, -1)


def _ground_floor(rng, image, mask) -> None:
    h, w = image.shape[:2]
    if rng.random() < 0.6:  # a shop: window front under a sign or an awning
        colour = SIGNS[rng.integers(len(SIGNS))]
        left = int(rng.integers(2, max(3, w // 4)))
        right = int(rng.integers(max(left + 20, w // 2), max(left + 21, w - 2)))
        cv2.rectangle(image, (left, h - 27), (right, h - 2), (70, 62, 58), -1)
        cv2.rectangle(mask, (left + 1, h - 26), (right - 1, h - 6), 1, -1)
        for x in range(left, right, int(rng.integers(9, 18))):
            cv2.line(image, (x, h - 27), (x, h - 2), (190, 190, 190), 1)
        cv2.rectangle(image, (left, h - 36), (right, h - 28), colour, -1)
        for x in range(left + 4, right - 4, int(rng.integers(4, 8))):
            if rng.random() < 0.75:
                cv2.line(image, (x, h - 34), (x, h - 30), (235, 235, 235), 2)
    x = int(rng.integers(4, max(5, w - 14)))
    door = tuple(int(c) for c in rng.integers(20, 140, 3))
    cv2.rectangle(image, (x, h - 23), (x + 9, h), door, -1)
    cv2.rectangle(image, (x - 1, h - 24), (x + 10, h), (200, 200, 200), 1)
    if rng.random() < 0.4:  # a poster
        x = int(rng.integers(2, max(3, w - 12)))
        cv2.rectangle(image, (x, h - 22), (x + 8, h - 10), SIGNS[rng.integers(len(SIGNS))], -1)
        cv2.circle(image, (x + 4, h - 16), 3, (240, 240, 240), -1)


def tree(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A tree, 4 m wide and 6 m tall, see-through between its leaves."""
    texture, windows = blank()
    canvas = np.zeros((60, 40, 4), np.uint8)
    cv2.rectangle(canvas, (18, 30), (21, 60), (40, 60, 80, 255), -1)
    green = np.array([40, 105, 60]) + rng.integers(-25, 25, 3)
    for _ in range(60):
        x, y = rng.normal(20, 8), rng.normal(19, 8)
        shade = np.clip(green * rng.uniform(0.6, 1.3), 0, 255)
        radius = int(rng.integers(2, 5))
        cv2.circle(canvas, (int(x), int(y)), radius, (*(int(c) for c in shade), 255), -1)
    texture[:60, :40] = canvas[::-1]
    return texture, windows


def vehicle_side(
    rng: np.random.Generator, long: float, tall: float
) -> tuple[np.ndarray, np.ndarray]:
    """One side of a vehicle of `long x tall` metres: body, glass, wheels."""
    texture, windows = blank()
    h, w = int(tall * PX), int(long * PX)
    colour = tuple(int(c) for c in rng.integers(20, 235, 3))
    image = np.full((h, w, 3), colour, np.uint8)
    cv2.rectangle(image, (2, 2), (w - 3, max(3, h // 2 - 1)), (60, 50, 45), -1)
    for x in (w // 5, 4 * w // 5):
        cv2.circle(image, (x, h - 2), max(2, h // 6), (25, 25, 25), -1)
    texture[:h, :w, :3], texture[:h, :w, 3] = image[::-1], 255
    return texture, windows
