"""Local descriptors of training images, and the words that k-means makes of them."""

from collections.abc import Callable

import numpy as np

from vprjax.console import log
from vprjax.data.source import Places
from vprjax.errors import ConfigError
from vprjax.retrieval.baselines.images import mapped, spread
from vprjax.runtime.machine import cores
from vprjax.variants import Key, Whole
from vprjax.weights.kmeans import kmeans

IMAGES = 2000  # training images that give local descriptors, at most
BATCH = 32
SAMPLE = Key(
    100_000, Whole(1, 10_000_000), "local descriptors of training images that k-means takes"
)
Local = Callable[[np.ndarray], np.ndarray]  # image (h, w, 3) -> local descriptors (n, d)


def root(descriptors: np.ndarray) -> np.ndarray:
    """RootSIFT: square roots of descriptors `(n, d)` of length 1 in L1 (Arandjelovic & Zisserman 2012)."""
    lengths = np.abs(descriptors).sum(axis=1, keepdims=True)
    return np.sqrt(np.maximum(descriptors, 0) / np.maximum(lengths, 1e-12))


def sample(local: Local, places: Places, most: int, seed: int) -> np.ndarray:
    """At most `most` local descriptors `(n, d)`, evenly from evenly spread images; a function of `seed`."""
    numbers = spread(len(places), min(IMAGES, most))
    shares = iter(np.diff(np.linspace(0, most, len(numbers) + 1).astype(np.int64)))
    rng = np.random.default_rng(seed)
    parts = []
    # as few images at once as keep the cores busy: a dense 640x480 grid's descriptors take 145 MB an image
    at_once = max(4, cores())
    for block in mapped(local, places, numbers, at_once, "local descriptors of training images"):
        for found in block:
            chosen = rng.permutation(len(found))[: next(shares)]
            parts.append(found[np.sort(chosen)])
    return np.concatenate(parts)


def words(local: Local, places: Places, settings, seed: int, key: str) -> np.ndarray:
    """The `settings.words` words `(k, d)` float32 of the images `places`, by k-means.

    Args:
      local: the local descriptors of an image.
      places: training images.
      settings: the method's config section.
      seed: of the sample and of k-means.
      key: the config section of the method, for messages.

    Raises:
      ConfigError: the images hold fewer local descriptors than words.
    """
    found, count = sample(local, places, settings.sample, seed), settings.words
    if not len(found):
        what, more = (
            ("keypoint", f", or lower {key}.contrast") if "contrast" in settings else ("edge", "")
        )
        raise ConfigError(
            f"{key} finds no {what} in any of the {len(places):,} training images (first: "
            f"{places.image_ids[0]}), so it learns nothing: name others in dataset.train_splits{more}"
        )
    if count > len(found):
        raise ConfigError(
            f"{key}.words={count} is more than the {len(found):,} local descriptors of the "
            f"{len(places):,} training images: lower it, raise {key}.sample, or name more images in "
            "dataset.train_splits"
        )
    log(f"k-means of {len(found):,} local descriptors: {count} words")
    return np.asarray(kmeans(found, count, seed))


def objections(settings, key: str) -> list[str]:
    """A sentence where k-means would take fewer local descriptors than it has words to find."""
    if settings.words <= settings.sample:
        return []
    return [
        f"{key}.words={settings.words} must not go over the {settings.sample} local descriptors of "
        f"{key}.sample: lower it or raise the sample"
    ]


def nearest(descriptors: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Numbers `(n,)` of the centres `(k, d)` nearest to local descriptors `(n, d)`."""
    return np.argmax(descriptors @ centres.T - 0.5 * np.sum(centres**2, axis=1), axis=1)
