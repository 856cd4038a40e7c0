"""DELF's local features: points of a pyramid of sizes, each with a descriptor and an attention score."""

import dataclasses
from collections.abc import Callable, Iterable

import cv2
import jax
import jax.numpy as jnp
import numpy as np

from vprjax.descriptors import whitening
from vprjax.models.heads.delf import Attention
from vprjax.models.heads.vectors import l2_normalize

# Of DELF's program (delf_config_example.pbtxt).
SCALES = tuple(2 ** (i / 2) for i in range(-4, 3))  # 0.25, 0.35, ..., 2
STRIDE = 32  # pixels between positions of conv4; the first lies at pixel 0
THRESHOLD, MOST = 100.0, 1000
DIMENSIONS = 40
SAMPLES = 200_000  # local descriptors that fit PCA


@dataclasses.dataclass(frozen=True)
class Features:
    """The local features of one image, the highest score first.

    Attributes:
      points: `(n, 2)` float32, x and y in pixels of the image as it was given.
      descriptors: `(n, d)` float32, L2 length 1.
      scores: `(n,)` float32.
    """

    points: np.ndarray
    descriptors: np.ndarray
    scores: np.ndarray


@dataclasses.dataclass(frozen=True)
class Rule:
    """Which points are kept.

    Attributes:
      scales: sizes of the image, relative to its own.
      threshold: the least score.
      most: the most points of an image, those of the highest scores.
    """

    scales: tuple[float, ...] = SCALES
    threshold: float = THRESHOLD
    most: int = MOST


def describer(module, variables, rule: Rule) -> Callable[[np.ndarray], Features]:
    """Returns `image (h, w, 3) uint8, RGB -> Features` of a model with the head `delf`.

    The descriptors have the channels of the map; `reduced` brings them to fewer dimensions.

    Source: Noh et al. 2017.
    """
    attention = variables["params"]["pooling"]["attention"]
    hidden = attention["conv1"]["bias"].shape[0]

    @jax.jit
    def local(image):
        found = module.apply(variables, image[None], method="features")
        scores = Attention(hidden).apply({"params": attention}, found)
        return l2_normalize(found)[0], scores[0]

    def describe(image: np.ndarray) -> Features:
        parts = [_of_size(local, image, scale, rule.threshold) for scale in rule.scales]
        points, descriptors, scores = map(np.concatenate, zip(*parts, strict=True))
        kept = np.argsort(-scores, kind="stable")[: rule.most]
        return Features(points[kept], descriptors[kept], scores[kept])

    return describe


def _of_size(local, image: np.ndarray, scale: float, threshold: float):
    """Points, descriptors and scores at one size of the image."""
    h, w = (max(1, round(scale * side)) for side in image.shape[:2])
    sized = image if scale == 1 else cv2.resize(image, (w, h), interpolation=cv2.INTER_LINEAR)
    descriptors, scores = (np.asarray(x) for x in local(jnp.asarray(sized)))
    rows, columns = np.nonzero(scores >= threshold)
    across = STRIDE * np.array([image.shape[1] / w, image.shape[0] / h])
    points = (np.stack([columns, rows], axis=1) * across).astype(np.float32)
    return points, descriptors[rows, columns], scores[rows, columns]


def fit(found: Iterable[Features], dimensions: int = DIMENSIONS) -> whitening.Projection:
    """Fits PCA to the descriptors of images, as many as `SAMPLES`.

    Raises:
      ValueError: they are fewer than `dimensions`.
    """
    collected, count = [], 0
    for features in found:
        collected.append(features.descriptors)
        count += len(features.descriptors)
        if count >= SAMPLES:
            break
    if count <= dimensions:
        raise ValueError(
            f"the images have {count} local features, and PCA to {dimensions} dimensions takes more; "
            "lower the threshold of their scores"
        )
    return whitening.learn(np.concatenate(collected), dimensions, False)


def reduced(features: Features, pca: whitening.Projection) -> Features:
    """Returns the features with descriptors in the PCA's dimensions, L2-normalised again."""
    if not len(features.points):
        empty = np.empty((0, pca.kernel.shape[1]), np.float32)
        return dataclasses.replace(features, descriptors=empty)
    return dataclasses.replace(features, descriptors=pca(features.descriptors))
