"""A model and a map that need no weights: descriptors are the pictures' colours."""

import dataclasses
import time
import types

import numpy as np
import PIL.Image

from vprjax.data.pictures import Form, Pictures

GRID = 4  # cells per side that a descriptor averages


class Colours:
    """A model whose descriptor is the mean colour of each cell of a grid."""

    title, dimension, id = "mean colours", 3 * GRID * GRID, "colours"

    def __init__(self, seconds: float = 0.0):
        self.form, self.seconds, self.shapes = Form(32, 32), seconds, []

    @property
    def size(self):
        return self.form.height, self.form.width

    def describe(self, images, batch=None):
        """Descriptors of pictures; notes the batch of every call and takes a while."""
        images = list(images)
        self.shapes.append(batch)
        time.sleep(self.seconds)
        found = Pictures(images, self.form).images(range(len(images))).astype(np.float32)
        cells = found.reshape(len(found), GRID, 32 // GRID, GRID, 32 // GRID, 3).mean(axis=(2, 4))
        rows = cells.reshape(len(found), -1)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True).clip(1e-9)


@dataclasses.dataclass(frozen=True)
class Answer:
    image_ids: np.ndarray
    positions: np.ndarray
    distances: np.ndarray
    confidence: float
    located: bool | None
    numbers: np.ndarray


class SmallMap:
    """A map of pictures that it writes to `folder`."""

    unit, crs = "m", None

    def __init__(self, folder, model, images, positions, calibrated=True):
        ids = [f"drive/{i:03d}.png" for i in range(len(images))]
        paths = [folder / f"map{i:03d}.png" for i in range(len(images))]
        for path, image in zip(paths, images, strict=True):
            PIL.Image.fromarray(image).save(path)
        self.frames = types.SimpleNamespace(
            image_ids=np.array(ids), positions=np.array(positions, np.float64), paths=paths
        )
        self._rows, self.calibration = model.describe(images), calibrated

    def __len__(self):
        return len(self._rows)

    def query_descriptors(self, descriptors, k, calibration):
        """One answer per descriptor."""
        distances = np.linalg.norm(descriptors[:, None] - self._rows[None], axis=2)
        answers = []
        for row in distances:
            best = np.argsort(row, kind="stable")[:k]
            sure = bool(row[best[0]] < 0.05)
            found = self.frames.image_ids[best], self.frames.positions[best], row[best]
            located = sure if calibration else None
            answers.append(Answer(*found, 0.97 if sure else 0.12, located, best))
        return answers


def views(n: int = 40, size: int = 64) -> list[np.ndarray]:
    """Pictures `(size, size, 3)` that differ, each of large patches."""
    draw = np.random.default_rng(0)
    small = draw.integers(0, 256, (n, GRID, GRID, 3), np.uint8)
    return [np.kron(one, np.ones((size // GRID, size // GRID, 1), np.uint8)) for one in small]


def loop(n: int = 40, radius: float = 100.0) -> np.ndarray:
    """Positions `(n, 2)` along a bent loop."""
    turn = np.linspace(0, 2 * np.pi, n, endpoint=False)
    return radius * np.stack([1.8 * np.cos(turn), np.sin(turn) + 0.3 * np.sin(3 * turn)], axis=1)
