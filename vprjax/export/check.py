"""The check of an exported file: its descriptors of made pictures against the model's in memory."""

import dataclasses
from collections.abc import Callable

import cv2
import jax
import numpy as np

from vprjax import models
from vprjax.localize.model import Model

MOST = 1e-5  # largest relative difference, where the model's own rounding is less
IMAGES = 16  # of one size
BATCH, LAST = 8, 5  # images at once; an exported file's last batch is smaller
FREE = ((0, 0), (32, 64), (51, -29))  # what is added to height and width where they are free


@dataclasses.dataclass(frozen=True)
class Difference:
    """Largest relative differences `|e - f| / |f|` of descriptors on some pictures.

    Attributes:
      exported: between the exported file and the model.
      own: between the model's two ways to compute convolutions, which differ by rounding alone.
    """

    exported: float
    own: float

    @property
    def limit(self) -> float:
        """The largest sound value of `exported`."""
        return max(MOST, 4 * self.own)


def pictures(height: int, width: int, count: int = IMAGES) -> np.ndarray:
    """Patterns `(count, height, width, 3)` uint8, from smooth to rough."""
    rng = np.random.default_rng(0)
    out = np.empty((count, height, width, 3), np.uint8)
    for number in range(count):
        cells = 4 + number  # across the picture
        coarse = rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
        fine = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR).astype(float)
        out[number] = np.clip(fine + rng.normal(0, 4 + 2 * number, fine.shape), 0, 255)
    return out


class Made:
    """Images `(n, h, w, 3)` as a model's stream takes them, at their own size."""

    def __init__(self, images: np.ndarray):
        self._images = images

    def __len__(self) -> int:
        return len(self._images)

    def images(self, indices: np.ndarray) -> np.ndarray:
        """The images at `indices`."""
        return self._images[indices]


def compare(model: Model, exported: Model, images: np.ndarray) -> Difference:
    """Compares an exported file with its model on a CPU, whose float32 is exact to its last digits."""
    ours, other = (describe(model, images, build) for build in (models.build, models.build_for_cpu))
    with jax.default_device(jax.devices("cpu")[0]):
        theirs = np.concatenate([*exported.stream(Made(images), LAST)])
    return Difference(largest(theirs, ours), largest(other, ours))


def describe(model: Model, images: np.ndarray, build: Callable = models.build) -> np.ndarray:
    """Descriptors `(n, d)` on a CPU of images `(n, h, w, 3)`, by the module that `build` makes."""
    with jax.default_device(jax.devices("cpu")[0]):
        apply_fn = jax.jit(build(model.engine.config).apply)
        found = [
            np.asarray(apply_fn(model.engine.variables, images[first : first + BATCH]))
            for first in range(0, len(images), BATCH)
        ]
    rows = np.concatenate(found)
    return rows if model.projection is None else model.projection(rows)


def largest(found: np.ndarray, wanted: np.ndarray) -> float:
    """The largest relative difference `|found - wanted| / |wanted|` of descriptors `(n, d)`."""
    lengths = np.maximum(np.linalg.norm(wanted, axis=1), 1e-12)
    return float((np.linalg.norm(found - wanted, axis=1) / lengths).max())
