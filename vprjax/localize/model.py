"""A model ready for use: pictures -> descriptors.

model = vprjax.load("runs/mine")
descriptors = model.describe(["a.jpg", "b.jpg"])
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import numpy as np

from vprjax.data.pictures import Form, Pictures
from vprjax.descriptors.whitening import Projection
from vprjax.errors import DataError


class Engine(Protocol):
    """What computes descriptors: vprjax's own network, or an exported program."""

    def stream(self, pictures, batch: int, first: int) -> Iterator[np.ndarray]:
        """Yields descriptors `(m, d)` float32 of `pictures` from number `first` on, in order.

        Args:
          pictures: `len(pictures)` and `images(indices (m,)) -> (m, h, w, 3)` uint8, RGB.
          batch: pictures that are described at once; the last ones are padded to as many.
          first: number of the first picture.
        """


class Model:
    """A model that describes pictures; `vprjax.load` makes it.

    Attributes:
      title: its name in words.
      form: the form that it brings pictures to.
      dimension: of a descriptor.
      batch: pictures that it describes at once where there are enough.
      digest: SHA-256 of what it computes, whatever the form of the pictures.
      dataset: the dataset that it trained on, "" for none.
      calibration: what `localize calibrate` found, JSON values; None before.
      engine: what computes the descriptors.
      source: the path or hub id that it was loaded from, "" for none; a map finds its model there.
    """

    source = ""

    def __init__(
        self,
        engine: Engine,
        projection: Projection | None,
        form: Form,
        *,
        title: str,
        dimension: int,
        digest: str,
        batch: int = 32,
        facts: dict[str, Any] | None = None,
    ):
        """Joins the parts; `projection` follows the engine, `facts` holds `dataset` and `calibration`."""
        self.engine, self.projection, self.form = engine, projection, form
        self.title, self.dimension, self.digest, self.batch = title, dimension, digest, batch
        facts = facts or {}
        self.dataset, self.calibration = facts.get("dataset", ""), facts.get("calibration")

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the images that it sees."""
        return self.form.height, self.form.width

    @property
    def id(self) -> str:
        """SHA-256, hexadecimal, that tells models apart: weights, network, projection, form of images."""
        text = json.dumps([self.digest, self.form.to_json()])
        return hashlib.sha256(text.encode()).hexdigest()

    def __repr__(self) -> str:
        """Returns title, size, dimensions and the start of the id."""
        h, w = self.size
        return f"<Model {self.title}: {h}x{w} -> {self.dimension}, id {self.id[:12]}>"

    def describe(self, images, batch: int | None = None) -> np.ndarray:
        """Returns descriptors `(n, d)` float32 of pictures, L2 length 1.

        Args:
          images: one or several of: path, PIL image, uint8 array `(h, w, 3)`; or an array `(n, h, w, 3)`.
            They are RGB and of any size.
          batch: pictures that are described at once; more take more memory. The values depend on it by
            rounding alone.

        Raises:
          DataError: an image cannot be read or is none of these; the sentence names it.
        """
        pictures = Pictures(_items(images), self.form)
        out = np.empty((len(pictures), self.dimension), np.float32)
        done = 0
        for block in self.stream(pictures, batch):
            out[done : done + len(block)] = block
            done += len(block)
        return out

    def stream(self, pictures, batch: int | None = None, first: int = 0) -> Iterator[np.ndarray]:
        """Yields descriptors `(m, d)` of `pictures` in order, from number `first` on.

        Args:
          pictures: `data.pictures.Pictures`, or the images of a prepared split (`data.source.Places`),
            which keep their own size.
          batch: as in `describe`.
          first: number of the first picture.

        Raises:
          DataError: an image cannot be read.
        """
        batch = self.batch_of(len(pictures) - first) if batch is None else batch
        if batch < 1:
            raise DataError(f"batch is {batch}; give 1 or more")
        for block in self.engine.stream(pictures, batch, first):
            yield block if self.projection is None else self.projection(block)

    def batch_of(self, count: int) -> int:
        """The model's batch, or the power of two that holds fewer: few programs, little padding."""
        return min(self.batch, 1 << max(0, count - 1).bit_length())


def _items(images) -> list[Any]:
    """The pictures of `describe`'s argument, one by one."""
    if isinstance(images, np.ndarray) and images.ndim == 4:
        return [*images]
    if (
        isinstance(images, np.ndarray)
        or not isinstance(images, Iterable)
        or isinstance(images, str)
    ):
        return [images]  # one array, path or PIL image
    return list(images)
