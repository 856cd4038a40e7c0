"""A model that looks at colours alone, a map of forty pictures, and a calibration for it."""

import dataclasses
import json
import time

import numpy as np
import PIL.Image

from vprjax.data.pictures import Form
from vprjax.localize.calibration import Calibration
from vprjax.localize.map import Map
from vprjax.localize.model import Model

GRID = 4  # cells per side that a descriptor averages
SIZE = 32  # height and width that the model sees
DIMENSION = 3 * GRID * GRID


class Colours:
    """An engine whose descriptor is the mean colour of each cell of a grid.

    Attributes:
      shapes: the batch of every call.
    """

    def __init__(self, seconds: float):
        """Every batch takes so many seconds."""
        self.seconds, self.shapes = seconds, []

    def stream(self, pictures, batch, first):
        """Yields descriptors as `model.Engine` does."""
        for start in range(first, len(pictures), batch):
            self.shapes.append(batch)
            time.sleep(self.seconds)
            images = pictures.images(np.arange(start, min(start + batch, len(pictures))))
            cells = images.reshape(len(images), GRID, SIZE // GRID, GRID, SIZE // GRID, 3)
            rows = cells.mean(axis=(2, 4), dtype=np.float32).reshape(len(images), -1) + 1
            yield rows / np.linalg.norm(rows, axis=1, keepdims=True)


def model(seconds: float = 0.0, calibrated: bool = True) -> Model:
    """The model; with a calibration it locates up to a distance of 0.05."""
    form = Form(SIZE, SIZE)
    found = Model(
        Colours(seconds), None, form, title="mean colours", dimension=DIMENSION, digest="colours"
    )
    found.source = "nowhere/model"
    if calibrated:
        distances, shares = (0.0, 0.05, 0.051, 2.0), (0.97, 0.97, 0.12, 0.12)
        calibration = Calibration(
            found.id, "views", 40, 5.0, 0.9, 0.05, 0.97, 0.5, distances, shares
        )
        found.calibration = dataclasses.asdict(calibration)
    return found


def build(folder, own: Model, positions: np.ndarray | None = None, crs: str | None = None) -> Map:
    """A map of `views` in `folder`, at `positions` `(n, 2)` of a system, by default along `loop`."""
    positions = loop() if positions is None else positions
    images, rows = folder / "drive", []
    images.mkdir(parents=True)
    for number, (view, place) in enumerate(zip(views(), positions, strict=False)):
        name = f"{number:03d}.png"
        PIL.Image.fromarray(view).save(images / name)
        row = dict.fromkeys(("x", "y", "heading", "time", "altitude"))
        x, y = place.tolist()
        rows.append({**row, "image": name, "id": f"drive/{name}", "x": x, "y": y})
    document = {"layout": "csv", "position_unit": "m", "crs": crs, "splits": {"drive": rows}}
    (images / "positions.json").write_text(json.dumps(document))
    return Map.build(own, images / "positions.json", folder / "map")


def views(n: int = 40, size: int = 64) -> list[np.ndarray]:
    """Pictures `(size, size, 3)` that differ, each of large patches."""
    draw = np.random.default_rng(0)
    small = draw.integers(0, 256, (n, GRID, GRID, 3), np.uint8)
    return [np.kron(one, np.ones((size // GRID, size // GRID, 1), np.uint8)) for one in small]


def loop(n: int = 40, radius: float = 100.0) -> np.ndarray:
    """Positions `(n, 2)` along a bent loop."""
    turn = np.linspace(0, 2 * np.pi, n, endpoint=False)
    return radius * np.stack([1.8 * np.cos(turn), np.sin(turn) + 0.3 * np.sin(3 * turn)], axis=1)
