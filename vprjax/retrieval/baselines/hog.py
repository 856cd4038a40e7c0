"""Histogram of oriented gradients over the whole image (Dalal & Triggs 2005), as in VPR-Bench.

OpenCV has no `HOGDescriptor` from version 5 on, so the formula is here; its values are those of
OpenCV 4 without gamma correction.
"""

import functools

import cv2
import numpy as np

from vprjax.retrieval.baselines.variant import Baseline, Facts
from vprjax.variants import Key, Whole

BINS = 9  # of orientation, over 180 degrees
CLIP = 0.2  # of L2-Hys
KEYS = {
    "size": Key(512, Whole(16, 4096), "side of the square that the image is scaled to, pixels"),
    "cell": Key(
        16, Whole(2, 512), "side of a cell, pixels; a block has 2x2 cells, and blocks overlap"
    ),
}


def blocks(grey: np.ndarray, cell: int) -> np.ndarray:
    """The histograms of all blocks.

    Gradients of the grey levels vote for the two nearest of 9 orientations. A block of
    2x2 cells weighs votes by a Gaussian (deviation: half a cell) and shares them between its cells
    bilinearly; its 36 numbers get length 1, are cut at 0.2 and get length 1 again (L2-Hys).

    Shapes: `(h, w)` uint8 -> `(h / cell - 1, w / cell - 1, 36)` float32, in OpenCV's order: blocks here by
    row, inside a block the cells by column, then the orientations.
    """
    tiles = _votes(grey)
    rows, columns = grey.shape[0] // cell, grey.shape[1] // cell
    tiles = tiles.reshape(rows, cell, columns, cell, BINS).transpose(0, 2, 4, 1, 3)
    sums = tiles.reshape(-1, cell * cell) @ _weights(cell)
    sums = sums.reshape(rows, columns, BINS, 2, 2, 4)  # the tile's place in a block, then the cell
    block = sum(
        sums[y : rows - 1 + y, x : columns - 1 + x, :, y, x] for y in range(2) for x in range(2)
    )
    found = block.transpose(0, 1, 3, 2).reshape(rows - 1, columns - 1, 4 * BINS)
    lengths = np.linalg.norm(found, axis=2, keepdims=True)
    found = np.minimum(found / (lengths + 0.1 * 4 * BINS), CLIP)
    return found / (np.linalg.norm(found, axis=2, keepdims=True) + 1e-3)


def _votes(grey: np.ndarray) -> np.ndarray:
    """Gradient magnitude of every pixel, shared between orientations: `(h, w, 9)` float32."""
    wide = cv2.copyMakeBorder(grey.astype(np.float32), 1, 1, 1, 1, cv2.BORDER_REFLECT_101)
    across, down = wide[1:-1, 2:] - wide[1:-1, :-2], wide[2:, 1:-1] - wide[:-2, 1:-1]
    angle = np.arctan2(down, across) * (BINS / np.pi) - 0.5
    low = np.floor(angle)
    share, strength = angle - low, np.hypot(across, down)
    out = np.zeros((*grey.shape, BINS), np.float32)
    first = (low.astype(np.int64) % BINS)[..., None]
    np.put_along_axis(out, first, (strength * (1 - share))[..., None], axis=2)
    np.put_along_axis(out, (first + 1) % BINS, (strength * share)[..., None], axis=2)
    return out


@functools.cache
def _weights(cell: int) -> np.ndarray:
    """Weights `(cell * cell, 16)` of a tile's pixels, by the tile's place in a block and the cell."""
    side = np.arange(2 * cell)
    gauss = np.exp(-((side - cell) ** 2) / (2 * (cell / 2) ** 2))
    place = (side + 0.5) / cell - 0.5
    near = np.stack([np.clip(1 - np.abs(place - c), 0, 1) for c in range(2)])  # (cell, pixel)
    line = (gauss * near).reshape(2, 2, cell)  # cell, tile, pixel
    # Pixels (y, x), tiles (y, x), cells (x, y): OpenCV runs through a block's cells by column.
    both = np.einsum("ctp,dus->pstudc", line, line)
    return both.reshape(cell * cell, 16).astype(np.float32)


def describe(image: np.ndarray, state, settings) -> np.ndarray:
    """All blocks as a unit vector; zero where the image is flat."""
    grey = cv2.cvtColor(cv2.resize(image, (settings.size, settings.size)), cv2.COLOR_RGB2GRAY)
    flat = blocks(grey, settings.cell).ravel()
    return flat / max(float(np.linalg.norm(flat)), 1e-12)


def _objections(settings, facts: Facts) -> list[str]:
    if settings.size % settings.cell == 0 and settings.size >= 2 * settings.cell:
        return []
    return [
        f"baseline.hog.size={settings.size} must be a multiple of baseline.hog.cell={settings.cell}, and "
        "twice it or more"
    ]


BASELINE = Baseline(
    title="HOG",
    reference="Dalal & Triggs 2005; Zaffar et al. 2021 (VPR-Bench)",
    about="Histograms of nine gradient orientations over cells of 16 pixels describe the image at 512x512. "
    "Blocks of 2x2 cells are normalised against light, and the cosine compares images.",
    describe=describe,
    keys=KEYS,
    objections=_objections,
)
