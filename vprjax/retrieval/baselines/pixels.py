"""Patch-normalised pixels: the floor that every other method should pass (Milford & Wyeth 2012)."""

import cv2
import numpy as np

from vprjax.retrieval.baselines.variant import Baseline, Facts
from vprjax.variants import Key, Whole

KEYS = {
    "width": Key(64, Whole(1, 4096), "width of the small picture"),
    "height": Key(32, Whole(1, 4096), "height of the small picture"),
    "patch": Key(8, Whole(2, 512), "side of the patches, each with mean 0 and deviation 1"),
}


def normalised(image: np.ndarray, width: int, height: int, patch: int) -> np.ndarray:
    """The small grey picture with every patch at mean 0 and deviation 1; a flat patch is 0.

    Shapes: `(h, w, 3)` uint8 RGB -> `(height, width)` float32; the patch divides both sides.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)
    tiles = small.reshape(height // patch, patch, width // patch, patch)
    centred = tiles - tiles.mean(axis=(1, 3), keepdims=True)
    deviation = np.sqrt(np.mean(centred**2, axis=(1, 3), keepdims=True))
    # Half a grey level: below it a patch shows the camera's rounding alone.
    found = np.where(deviation > 0.5, centred / np.maximum(deviation, 0.5), 0)
    return found.reshape(height, width)


def describe(image: np.ndarray, state, settings) -> np.ndarray:
    """The normalised picture as a unit vector `(height * width,)`, so that L2 ranks as the cosine."""
    flat = normalised(image, settings.width, settings.height, settings.patch).ravel()
    return flat / max(float(np.linalg.norm(flat)), 1e-12)


def objections_of(name: str):
    """The objections of a baseline with this file's keys."""

    def objections(settings, facts: Facts) -> list[str]:
        return [
            f"baseline.{name}.{side}={settings[side]} must be a multiple of baseline.{name}.patch="
            f"{settings.patch}"
            for side in ("width", "height")
            if settings[side] % settings.patch
        ]

    return objections


BASELINE = Baseline(
    title="patch-normalised pixels",
    reference="Milford & Wyeth 2012, its image step alone",
    about="The image shrinks to 64x32 grey pixels, and every 8x8 patch gets mean 0 and deviation 1. "
    "Images are compared by the cosine, so this is the floor that a learnt descriptor has to pass.",
    describe=describe,
    keys=KEYS,
    objections=objections_of("pixels"),
)
