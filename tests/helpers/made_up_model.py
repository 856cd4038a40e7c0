"""A model without a network, and folders of pictures with positions, for tests of what uses models."""

import json

import cv2
import numpy as np

from vprjax.data.pictures import Form
from vprjax.localize.model import Model

SIZE = (8, 10)
DIMENSION = 24


class Pixels:
    """An engine that projects pixels at random: equal pictures alone have equal descriptors."""

    def __init__(self, seed=0, before=lambda first: None):
        pixels = SIZE[0] * SIZE[1] * 3
        self._kernel = np.random.default_rng(seed).normal(size=(pixels, DIMENSION))
        self._before = before

    def stream(self, pictures, batch, first):
        """Yields descriptors as `model.Engine` does; `before(first)` comes before each batch."""
        for start in range(first, len(pictures), batch):
            self._before(start)
            images = pictures.images(np.arange(start, min(start + batch, len(pictures))))
            rows = (images.reshape(len(images), -1) / 255 - 0.5) @ self._kernel
            yield (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def model(seed=0, batch=4, **more):
    """A model whose id depends on `seed`."""
    found = Model(
        Pixels(seed, **more),
        None,
        Form(*SIZE),
        title=f"Pixels {seed}",
        dimension=DIMENSION,
        digest=str(seed),
        batch=batch,
    )
    found.source = "nowhere/model"
    return found


def picture(number):
    """The pixels of a picture, `(8, 10, 3)`."""
    return np.random.default_rng(number).integers(0, 255, (*SIZE, 3), dtype=np.uint8)


def drive(folder, numbers=range(12), crs="EPSG:32631", split="drive", **more):
    """Writes pictures `numbers` with a positions file, 10 m and 1 s apart from west to east; its path."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for place, number in enumerate(numbers):
        name = f"{number:03d}.png"
        cv2.imwrite(str(folder / name), picture(number)[..., ::-1])
        row = {"image": name, "id": name, "x": 500000.0 + 10 * place, "y": 5700000.0}
        rows.append({**row, "heading": 0.5, "time": float(place), "altitude": 40.0, **more})
    document = {"layout": "csv", "position_unit": "m", "crs": crs, "splits": {split: rows}}
    file = folder / "positions.json"
    file.write_text(json.dumps(document))
    return file


def drive_again(folder, shift, numbers=range(12), change=4, **more):
    """As `drive`, with one value of each picture changed by `change`, `shift` metres on; its path."""
    file = drive(folder, numbers, **more)
    document = json.loads(file.read_text())
    for row in document["splits"]["drive"]:
        row["x"] += shift
        image = cv2.imread(str(folder / row["image"]))
        image[0, 0, 0] ^= change
        cv2.imwrite(str(folder / row["image"]), image)
    file.write_text(json.dumps(document))
    return file
