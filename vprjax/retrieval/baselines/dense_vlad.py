"""DenseVLAD (Torii et al. 2015): RootSIFT on a dense grid at four scales, summed as VLAD."""

import cv2
import numpy as np

from vprjax.retrieval.baselines import vlad, vocabulary
from vprjax.retrieval.baselines.variant import Facts
from vprjax.variants import Key, Several, Whole

ORIENTATIONS, BINS, CLIP = 8, 4, 0.2  # of a SIFT: directions, bins per side, largest share
FLAT = 1e-3  # grey levels per pixel: float32 rounds the gradients of a flat place to a sixth of it
KEYS = {
    **vlad.keys(words=128, dimensions=4096),
    "bins": Key(
        (4, 6, 8, 10), Several(Whole(2, 256)), "widths of a descriptor's bins, pixels: its scales"
    ),
    "step": Key(2, Whole(1, 256), "pixels between two descriptors"),
}


def dense_sift(grey: np.ndarray, width: int, step: int) -> np.ndarray:
    """SIFT of one scale on a grid, upright, without a Gaussian window over the descriptor.

    Gradient magnitudes of the smoothed image (deviation: a sixth of a bin) vote for the two nearest of 8
    directions; a bin weighs votes by a triangle of twice its width. The 4x4x8 numbers get length 1, are cut
    at 0.2 and get length 1 again; a flat place has zeros. The first descriptor lies where its outermost
    bins' centres just reach the border.

    Shapes: `(h, w)` uint8 -> `(n, 128)` float32, row by row; inside one bins by row, then directions.
    """
    smooth = np.sqrt(max((width / 6) ** 2 - 0.25, 0))  # a camera's image has a deviation of 0.5
    picture = grey.astype(np.float32)
    if smooth > 0.1:
        picture = cv2.GaussianBlur(picture, (0, 0), smooth, borderType=cv2.BORDER_REPLICATE)
    triangle = (1 - np.abs(np.arange(1 - width, width)) / width).astype(np.float32)
    maps = [
        cv2.sepFilter2D(part, -1, triangle, triangle, borderType=cv2.BORDER_CONSTANT)
        for part in _directions(picture)
    ]
    last = (BINS - 1) * width
    tops, lefts = (np.arange(0, side - last, step) for side in grey.shape)
    bins = np.arange(BINS) * width
    votes = np.stack(maps, axis=2)[
        (tops[:, None, None, None] + bins[None, None, :, None]),
        (lefts[None, :, None, None] + bins[None, None, None, :]),
    ]
    found = votes.reshape(len(tops) * len(lefts), -1)
    found[np.linalg.norm(found, axis=1) < FLAT * width**2] = 0
    for most in (CLIP, np.inf):
        found = found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-6)
        found = np.minimum(found, most)
    return found


def _directions(picture: np.ndarray) -> list[np.ndarray]:
    """Gradient magnitude of every pixel, shared between 8 directions: maps `(h, w)` float32."""
    down, across = np.gradient(picture)
    strength = np.hypot(across, down)
    angle = np.arctan2(down, across) * (ORIENTATIONS / (2 * np.pi)) % ORIENTATIONS
    gaps = (np.abs((angle - d + 4) % ORIENTATIONS - 4) for d in range(ORIENTATIONS))
    return [(strength * np.maximum(1 - gap, 0)).astype(np.float32) for gap in gaps]


def local(image: np.ndarray, settings) -> np.ndarray:
    """RootSIFT `(n, 128)` of all scales of an image `(h, w, 3)`, without those of flat places."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    every = np.concatenate([dense_sift(grey, width, settings.step) for width in settings.bins])
    return vocabulary.root(every[every.any(axis=1)])


def _objections(settings, facts: Facts) -> list[str]:
    widest, side = max(settings.bins), min(facts.height, facts.width)
    if (BINS - 1) * widest < side:
        return []
    return [
        f"baseline.dense_vlad.bins={tuple(settings.bins)} holds {widest}, whose descriptors span "
        f"{(BINS - 1) * widest + 1} pixels, but images have {facts.height}x{facts.width}: lower it"
    ]


BASELINE = vlad.declared(
    "dense_vlad",
    local,
    title="DenseVLAD",
    reference="Torii et al. 2015",
    about="RootSIFT on a grid of every second pixel at four scales is summed as residuals to 128 words, as "
    "in VLAD. The dense grid needs no keypoint detector, which fails where light changes.",
    keys=KEYS,
    objections=_objections,
)
