"""A backbone's pretrained weights under GeM, without training: the model of a weights file alone."""

import ml_collections
import numpy as np

from vprjax.models.heads import HEADS
from vprjax.variants import defaults
from vprjax.weights import initialise, pretrained

LOOK = 64  # height and width of the image that shapes are taken from


def gem(path: str) -> tuple[ml_collections.ConfigDict, dict]:
    """Returns the `model` section and the variables of a weights file's backbone under GeM.

    Raises:
      WeightsError: the file is unreadable, or no backbone's.
    """
    backbone = pretrained.recognise(path)
    config = ml_collections.ConfigDict(
        {
            "backbone": backbone,
            "stage": "",
            "train_from": "",
            "batch_norm": "frozen",
            "weights": path,
            "partial_weights": False,
            "pooling": "gem",
            **defaults(HEADS),
            "projection": 0,
            "projection_start": "pca",
            "compute_dtype": "float32",
            "remat": False,
        }
    )
    loaded = pretrained.load(path, backbone)

    def black(indices: np.ndarray) -> np.ndarray:
        return np.zeros((len(indices), LOOK, LOOK, 3), np.uint8)  # GeM starts from no image

    variables, _ = initialise.initialise(config, loaded, 0, black, 1)
    return config, variables
