"""Procedural textures of rooms: walls with doors, windows, boards and cabinets, and the sides of furniture.

Uint8 BGRA, `PX` pixels per metre: walls are near, so they show more than a house front.
"""

import cv2
import numpy as np

from tfds_builders.synthetic.textures import HEIGHT, SIGNS, WIDTH, blank

PX = 30  # pixels per metre
TALL = 3.0  # metres from floor to ceiling
LONGEST = (WIDTH - 1) / PX  # metres that a texture covers
PAINTS = (
    (205, 215, 220),
    (190, 205, 200),
    (215, 205, 190),
    (170, 190, 215),
    (160, 185, 170),
    (225, 225, 225),
)
WOODS = ((70, 105, 150), (95, 130, 175), (60, 75, 105), (150, 150, 145), (110, 85, 60))


def wall(rng: np.random.Generator, width: float) -> tuple[np.ndarray, np.ndarray]:
    """A piece of wall of `width` metres with what stands and hangs there, and its window mask."""
    texture, panes = blank()
    h, w = int(TALL * PX), min(int(width * PX) + 1, WIDTH)
    paint = np.array(PAINTS[rng.integers(len(PAINTS))], float) + rng.normal(0, 9, 3)
    image = np.clip(paint + rng.normal(0, 4, (h, w, 1)), 0, 255).astype(np.uint8)
    mask = np.zeros((h, w), np.uint8)
    if rng.random() < 0.35:  # a darker dado
        image[h - int(rng.uniform(0.9, 1.3) * PX) :] = _tint(paint, rng.uniform(0.55, 0.9))
    if rng.random() < 0.15:  # bricks
        image[::6] = (image[::6] * 0.8).astype(np.uint8)
        image[:, ::10] = (image[:, ::10] * 0.9).astype(np.uint8)
    image[h - 3 :] = _tint(paint, rng.uniform(0.3, 0.6))
    left = int(rng.integers(3, 20))
    while left < w - 8:
        item = _ITEMS[rng.choice(len(_ITEMS), p=_SHARES)]
        left += item(rng, image, mask, left) + int(rng.integers(4, 24))
    texture[:h, :w, :3], texture[:h, :w, 3], panes[:h, :w] = image[::-1], 255, mask[::-1]
    return texture, panes


def side(rng: np.random.Generator, width: float, tall: float) -> tuple[np.ndarray, np.ndarray]:
    """One side of a cupboard, table or box of `width x tall` metres.

    The texture has whole pixels alone: the rest, below `1 / PX` m at the far edge and top, is transparent.
    """
    texture, panes = blank()
    h, w = int(tall * PX), max(2, int(width * PX))
    colour = (
        np.array(WOODS[rng.integers(len(WOODS))])
        if rng.random() < 0.5
        else rng.integers(20, 235, 3)
    )
    image = np.clip(colour + rng.normal(0, 5, (h, w, 1)), 0, 255).astype(np.uint8)
    dark = _tint(colour, 0.6)
    for y in range(int(rng.integers(5, 15)), h, int(rng.integers(8, 25))):
        cv2.line(image, (0, y), (w, y), dark, 1)
    cv2.rectangle(image, (0, 0), (w - 1, h - 1), dark, 1)
    texture[:h, :w, :3], texture[:h, :w, 3] = image[::-1], 255
    return texture, panes


def _tint(colour, factor: float) -> tuple[int, ...]:
    return tuple(int(c) for c in np.clip(np.asarray(colour) * factor, 0, 255))


def _door(rng, image, mask, left: int) -> int:
    h, wide = len(image), int(rng.choice([27, 30, 54]))
    top, right = h - 63, left + wide
    frame = _tint(WOODS[rng.integers(len(WOODS))], rng.uniform(0.6, 1.2))
    leaf = _tint(WOODS[rng.integers(len(WOODS))], rng.uniform(0.8, 1.5))
    cv2.rectangle(image, (left, top), (right, h), leaf, -1)
    if rng.random() < 0.4:  # a pane
        corner = (left + 6, top + 6), (right - 6, top + int(rng.integers(20, 40)))
        cv2.rectangle(image, *corner, (120, 110, 100), -1)
        cv2.rectangle(mask, *corner, 1, -1)
    cv2.rectangle(image, (left, top), (right, h), frame, 2)
    cv2.circle(image, (right - 5, h - 31), 1, (60, 60, 60), -1)
    if rng.random() < 0.6:  # a plate beside it
        cv2.rectangle(image, (right + 4, h - 50), (right + 9, h - 45), (240, 240, 240), -1)
    return wide


def _window(rng, image, mask, left: int) -> int:
    wide, tall = int(rng.integers(25, 60)), int(rng.integers(30, 48))
    top = int(rng.integers(8, 24))
    light = tuple(int(c) for c in np.array([250, 240, 225]) - rng.integers(0, 30, 3))
    corner = (left + wide, top + tall)
    cv2.rectangle(image, (left, top), corner, light, -1)
    for x in range(left, corner[0] + 1, max(10, wide // int(rng.integers(1, 4)))):
        cv2.line(image, (x, top), (x, corner[1]), (90, 90, 90), 1)
    cv2.rectangle(image, (left - 1, top - 1), (corner[0] + 1, corner[1] + 1), (110, 110, 115), 2)
    if rng.random() < 0.5:  # a radiator below it
        foot = len(image) - 6
        cv2.rectangle(image, (left, foot - 18), (corner[0], foot), (215, 215, 215), -1)
        for x in range(left, corner[0], 4):
            cv2.line(image, (x, foot - 18), (x, foot), (160, 160, 160), 1)
    return wide


def _board(rng, image, mask, left: int) -> int:
    wide, tall = int(rng.integers(20, 55)), int(rng.integers(20, 36))
    top = len(image) - 30 - tall - int(rng.integers(0, 12))
    back = _tint((90, 140, 175) if rng.random() < 0.5 else (230, 230, 230), rng.uniform(0.7, 1))
    cv2.rectangle(image, (left, top), (left + wide, top + tall), back, -1)
    for _ in range(int(rng.integers(2, 12))):  # papers
        x, y = left + int(rng.integers(1, wide - 6)), top + int(rng.integers(1, tall - 8))
        paper = (245, 245, 245) if rng.random() < 0.6 else SIGNS[rng.integers(len(SIGNS))]
        cv2.rectangle(image, (x, y), (x + 5, y + 7), paper, -1)
    cv2.rectangle(image, (left, top), (left + wide, top + tall), (80, 90, 100), 1)
    return wide


def _picture(rng, image, mask, left: int) -> int:
    wide, tall = (int(v) for v in rng.integers(12, 32, 2))
    top = len(image) - 40 - tall - int(rng.integers(0, 8))
    colours = [tuple(int(c) for c in rng.integers(20, 240, 3)) for _ in range(4)]
    cv2.rectangle(image, (left, top), (left + wide, top + tall), colours[0], -1)
    for colour in colours[1:]:
        centre = (left + int(rng.integers(3, wide - 3)), top + int(rng.integers(3, tall - 3)))
        cv2.circle(image, centre, 3, colour, -1)
    cv2.rectangle(image, (left, top), (left + wide, top + tall), (40, 40, 40), 1)
    return wide


def _cabinet(rng, image, mask, left: int) -> int:
    wide, tall = int(rng.integers(24, 50)), int(rng.integers(30, 66))
    h, colour = len(image), WOODS[rng.integers(len(WOODS))]
    cv2.rectangle(
        image, (left, h - tall), (left + wide, h), _tint(colour, rng.uniform(0.7, 1.5)), -1
    )
    books = rng.random() < 0.5
    for y in range(h - tall + 2, h - 10, 11):
        if books:
            for x in range(left + 2, left + wide - 2, 2):
                spine = tuple(int(c) for c in rng.integers(20, 220, 3))
                cv2.line(image, (x, y + int(rng.integers(0, 4))), (x, y + 8), spine, 2)
        cv2.line(image, (left, y + 9), (left + wide, y + 9), _tint(colour, 0.5), 1)
    cv2.rectangle(image, (left, h - tall), (left + wide, h), _tint(colour, 0.5), 1)
    return wide


def _extinguisher(rng, image, mask, left: int) -> int:
    h = len(image)
    cv2.rectangle(image, (left, h - 36), (left + 5, h - 20), (30, 30, 190), -1)
    cv2.rectangle(image, (left - 1, h - 52), (left + 6, h - 45), (40, 130, 40), -1)
    return 6


def _nothing(rng, image, mask, left: int) -> int:
    return int(rng.integers(10, 50))


_ITEMS = (_door, _window, _board, _picture, _cabinet, _extinguisher, _nothing)
_SHARES = (0.22, 0.16, 0.14, 0.12, 0.14, 0.06, 0.16)

assert int(TALL * PX) <= HEIGHT
