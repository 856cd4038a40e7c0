"""What a batch holds so that training keeps the untrained model's similarities between images.

The untrained model describes the keep images once, before the first step, and with `keep.batch_weight` or
`tuples.push` the training images too. The descriptors lie in `WORKDIR/untrained` until the last step, and a
resumed run reads the same bits. A step then gathers rows by number, and the host multiplies them into
cosines: `k x k` numbers reach the devices, not `k` descriptors. Keep images are not augmented, and the
cosines of training images are those of the stored images.
"""

import dataclasses
import pathlib
import shutil
import time
from collections.abc import Callable

import numpy as np

from vprjax.console import log
from vprjax.data.named import Named
from vprjax.data.source import Places
from vprjax.data.together import joined
from vprjax.descriptors import store
from vprjax.runtime import parallel

FOLDER = "untrained"


@dataclasses.dataclass(frozen=True)
class KeepImages:
    """The keep images of a run: the splits that `keep.images` names, one after the other."""

    named: tuple[Named, ...]

    @property
    def places(self) -> Places:
        """All images."""
        return joined([part.places for part in self.named])

    @property
    def facts(self) -> dict:
        """Provenance: the number of images by source, and a digest of all."""
        if not self.named:
            return {}
        counts = {str(part): len(part.places) for part in self.named}
        return {"keep_images": counts, "keep_set": self.places.image_set()}


NO_IMAGES = KeepImages(())


def worthwhile(config):
    """Returns the config, without keep images where the untrained model knows nothing or nothing trains.

    A model without `model.weights` starts from random values. A sentence says so.
    """
    if not config.keep.images or (config.model.weights and config.train.steps):
        return config
    if config.train.steps:
        log(
            "keep.images is left out: without model.weights the untrained model is random, and nothing it "
            "tells apart is worth keeping"
        )
    config = config.copy_and_resolve_references()
    config.keep.update(images=(), weight=0.0)
    return config


def drawn(images: int, count: int, seed: int, step: int) -> np.ndarray:
    """Returns the keep images `(count,)` of a step, a pure function of `(seed, step)`; each once.

    Fewer images than `count` repeat.
    """
    rng = np.random.default_rng((seed, 6, step))
    return rng.choice(images, count, replace=images < count)


def cosines(descriptors: np.ndarray) -> np.ndarray:
    """Returns the cosines `(n, n)` float32 of descriptors `(n, d)`; a zero vector has none but 0."""
    rows = np.asarray(descriptors, np.float32)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit = rows / np.where(lengths == 0, 1, lengths)
    return unit @ unit.T


class Keeper:
    """Adds to each batch of a run what its keep terms need; nothing where the config has none."""

    def __init__(self, config, keep: KeepImages, images: Places):
        """Reads nothing yet: `similarities` are 0 until `describe`, as a compiler asks for shapes alone."""
        self._config, self._images = config, images
        self._keep = keep.places if keep.named else None
        self._rows: dict[str, np.ndarray] = {}

    @property
    def _compares_batches(self) -> bool:
        return bool(self._config.keep.batch_weight) or self._config.tuples.push == "to_untrained"

    @property
    def sets(self) -> dict[str, Places]:
        """The images that the untrained model describes."""
        batch = {"batch": self._images} if self._compares_batches else {}
        return batch | ({"keep": self._keep} if self._keep is not None else {})

    def describe(self, folder: pathlib.Path, key: dict, width: Callable, stream: Callable) -> None:
        """Describes what `folder` does not hold yet, and opens it.

        Args:
          folder: of the stores.
          key: the origin of the descriptors.
          width: `places -> dimensions` of their descriptors.
          stream: `(places, indices, words, first) -> blocks (b, d)` of the untrained model.

        Raises:
          DataError: a store is damaged, or an image cannot be read.
        """
        for name, places in self.sets.items():
            began, every = time.monotonic(), np.arange(len(places))
            words = f"describe {name} images untrained"

            def blocks(first, places=places, every=every, words=words):
                return stream(places, every, words, first)

            own = {**key, "images": places.image_set()}
            if parallel.is_primary():
                store.discard_other(folder / name, own, "float32")
            parallel.barrier("untrained")
            opened = store.write(folder / name, own, places, width(places), "float32", blocks)
            self._rows[name] = opened.rows
            log(
                f"keep: the untrained model's descriptors of {len(places):,} {name} images are there "
                f"after {time.monotonic() - began:.1f} s"
            )

    def added(self, step: int, chosen: np.ndarray, rows: slice) -> dict:
        """Returns what the batch of a step holds besides: `rows` of the training rows, and keep images.

        Args:
          step: number of the step.
          chosen: `(b, m)` numbers of the step's training images.
          rows: of `chosen` that this process takes.

        Returns:
          "untrained" `(rows, m, b m)` and "keep": "images" `(k, h, w, 3)` uint8 and "similarities"
          `(k, K)`, this process's share `k` of `K` keep images.
        """
        out, k = {}, self._config.keep
        if self._compares_batches:
            found = self._cosines("batch", chosen.ravel()).reshape(*chosen.shape, chosen.size)
            out["untrained"] = found[rows]
        if self._keep is not None:
            images = drawn(len(self._keep), k.batch, self._config.seed, step)
            own = parallel.process_rows(k.batch)
            out["keep"] = {
                "images": self._keep.images(images[own]),
                "similarities": self._cosines("keep", images)[own],
            }
        return out

    def _cosines(self, name: str, images: np.ndarray) -> np.ndarray:
        if name not in self._rows:
            return np.zeros((len(images), len(images)), np.float32)
        return cosines(self._rows[name][images])


def remove(workdir: pathlib.Path) -> None:
    """Removes the untrained descriptors, which a finished run needs no more."""
    shutil.rmtree(workdir / FOLDER, ignore_errors=True)
