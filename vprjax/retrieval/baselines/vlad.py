"""Vector of locally aggregated descriptors (Jegou et al. 2010; Arandjelovic & Zisserman 2013)."""

from collections.abc import Callable
from typing import Any

import numpy as np

from vprjax.console import log
from vprjax.data.source import Places
from vprjax.descriptors import whitening
from vprjax.errors import ConfigError
from vprjax.retrieval.baselines import vocabulary
from vprjax.retrieval.baselines.images import mapped
from vprjax.retrieval.baselines.variant import Baseline, Facts
from vprjax.variants import Key, Whole

ROWS = 8192  # local descriptors assigned at once
ROUNDING = 1e-6  # largest error of a residual of descriptors of length 1 in float32


def keys(words: int, dimensions: int) -> dict[str, Key]:
    """The config keys of a VLAD with these defaults."""
    return {
        "words": Key(
            words, Whole(1, 100_000), "words of the vocabulary, by k-means on training images"
        ),
        "sample": vocabulary.SAMPLE,
        "dimensions": Key(
            dimensions,
            Whole(),
            "PCA-whitened dimensions, where more training images are there; 0 is off",
        ),
    }


def encode(local: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """`V_k = sum over the descriptors nearest to c_k of (x - c_k)`, each V_k at length 1, then all of V.

    A V_k no longer than the rounding of its residuals is zero: its descriptors lie on their word.

    Shapes: `(n, d)` of length 1, `(k, d) -> (k * d,)` float32, word by word; zero without a local
    descriptor.
    """
    k, d = centres.shape
    if not len(local):
        return np.zeros(k * d, np.float32)
    sums, counts = np.zeros((k, d), np.float32), np.zeros((k, 1), np.float32)
    for first in range(0, len(local), ROWS):
        part = local[first : first + ROWS]
        member = np.zeros((k, len(part)), np.float32)
        member[vocabulary.nearest(part, centres), np.arange(len(part))] = 1
        own = member.sum(axis=1, keepdims=True)
        sums, counts = sums + member @ part - own * centres, counts + own
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    sums = np.where(lengths > ROUNDING * counts, sums / np.maximum(lengths, 1e-12), 0)
    return (sums / max(float(np.linalg.norm(sums)), 1e-12)).ravel().astype(np.float32)


def fit(local: vocabulary.Local, places: Places, settings, seed: int, key: str):
    """The vocabulary and, where the training images are enough, PCA-whitening of their VLADs.

    Args:
      local: the local descriptors of an image.
      places: training images.
      settings: the method's config section.
      seed: of the sample and of k-means.
      key: the section's name, for messages.

    Returns:
      `centres (k, d)`, and `mean (k * d,)` and `kernel (k * d, m)` of the projection; and notes.

    Raises:
      ConfigError: the images hold fewer local descriptors than words, or show the same.
    """
    centres = vocabulary.words(local, places, settings, seed, key)
    state, full = {"centres": centres}, centres.size
    if not settings.dimensions:
        return state, []
    stride, count = whitening.rows([len(places)], full)
    if settings.dimensions >= count or settings.dimensions > full:
        short = (
            f"{count:,} training images" if settings.dimensions >= count else f"{full:,} dimensions"
        )
        note = (
            f"{key}.dimensions={settings.dimensions} takes more than {short}, so all {full:,} dimensions "
            "stay, without whitening"
        )
        log(note)
        return state, [note]
    numbers, parts = np.arange(0, len(places), stride), []
    for block in mapped(
        lambda image: encode(local(image), centres),
        places,
        numbers,
        vocabulary.BATCH,
        "VLADs for PCA",
    ):
        parts += block
    found = _whitening(np.stack(parts), settings.dimensions, key)
    return state | {"mean": found.mean, "kernel": found.kernel.astype(np.float32)}, []


def _whitening(vlads: np.ndarray, dimensions: int, key: str) -> whitening.Projection:
    try:
        return whitening.learn(vlads, dimensions, whiten=True)
    except ValueError as error:
        raise ConfigError(
            f"{key}.dimensions={dimensions}: {error}; name more images in dataset.train_splits, or set it "
            "to 0"
        ) from error


def declared(
    name: str,
    local: Callable[[np.ndarray, Any], np.ndarray],
    objections: Callable[[Any, Facts], list[str]] = lambda settings, facts: [],
    **declarations,
) -> Baseline:
    """The declaration of a method that sums `local(image, settings)` as VLAD; the rest is `Baseline`'s."""
    key = f"baseline.{name}"
    return Baseline(
        describe=lambda image, state, settings: describe(local(image, settings), state),
        fit=lambda places, settings, seed: fit(
            lambda image: local(image, settings), places, settings, seed, key
        ),
        objections=lambda settings, facts: [
            *vocabulary.objections(settings, key),
            *objections(settings, facts),
        ],
        **declarations,
    )


def describe(local: np.ndarray, state) -> np.ndarray:
    """The VLAD of local descriptors `(n, d)`, projected where `fit` made a projection; zero without any."""
    flat = encode(local, state["centres"])
    if "kernel" not in state or not len(local):
        return flat if "kernel" not in state else np.zeros(state["kernel"].shape[1], np.float32)
    return whitening.Projection(state["mean"], state["kernel"])(flat[None])[0]
