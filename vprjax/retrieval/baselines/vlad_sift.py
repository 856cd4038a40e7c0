"""VLAD of SIFT at keypoints (Jegou et al. 2010), with RootSIFT and intra-normalisation."""

import cv2
import numpy as np

from vprjax.retrieval.baselines import vlad, vocabulary
from vprjax.variants import Key, Number, Whole

KEYPOINTS = {
    "features": Key(1000, Whole(1, 100_000), "strongest keypoints per image"),
    "contrast": Key(
        0.04, Number(high=1, above=True), "least contrast of a keypoint, OpenCV's threshold"
    ),
}
KEYS = {**vlad.keys(words=128, dimensions=512), **KEYPOINTS}


def local(image: np.ndarray, settings) -> np.ndarray:
    """RootSIFT `(n, 128)` float32 at OpenCV's keypoints of an image `(h, w, 3)`; n may be 0."""
    sift = cv2.SIFT_create(nfeatures=settings.features, contrastThreshold=settings.contrast)
    _, found = sift.detectAndCompute(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), None)
    return vocabulary.root(found) if found is not None else np.zeros((0, 128), np.float32)


BASELINE = vlad.declared(
    "vlad_sift",
    local,
    title="VLAD with SIFT",
    reference="Jegou et al. 2010; Arandjelovic & Zisserman 2012, 2013",
    about="RootSIFT at the image's keypoints is summed as residuals to the nearest of 128 words, which "
    "k-means learns from training images. Each word's sum gets length 1, and PCA-whitening shortens all.",
    keys=KEYS,
    lacks="a keypoint",
)
