"""Settings of baselines, and pictures with keypoints, for their tests."""

import cv2
import numpy as np
from ml_collections import ConfigDict

from tests.helpers.memory_places import Memory, drive
from vprjax.retrieval.baselines import BASELINES
from vprjax.variants import defaults


def settings(name, **changes):
    return ConfigDict(defaults(BASELINES)[name] | changes)


def picture(seed=0, size=(48, 64)):
    """A smooth picture, as cameras take them."""
    noise = np.random.default_rng(seed).uniform(0, 255, (*size, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2)
    low, high = smooth.min(), smooth.max()
    return np.round(255 * (smooth - low) / (high - low)).astype(np.uint8)


def places(images):
    """A split in memory of the images `(n, h, w, 3)`."""
    encoded = [cv2.imencode(".png", image[..., ::-1])[1].tobytes() for image in images]
    return drive(len(images), 1).__class__(
        **{**vars(drive(len(images), 1)), "sources": (Memory(encoded),)}
    )
