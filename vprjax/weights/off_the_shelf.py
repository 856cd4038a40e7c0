"""A backbone's pretrained weights under GeM, without training: the model of a weights file alone."""

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from vprjax import models
from vprjax.models.heads import HEADS
from vprjax.variants import defaults
from vprjax.weights import pretrained


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
            "norms": models.USUAL_NORMS,
            "projection": 0,
            "projection_start": "pca",
            "compute_dtype": "float32",
            "remat": False,
        }
    )
    loaded = pretrained.load(path, backbone)
    # GeM's start asks for no image; a whole network's would compile for seconds.
    pooling = models.build(config).pooling.init(jax.random.key(0), jnp.ones((1, 1, 1, 1)))
    variables = {kind: {"backbone": arrays} for kind, arrays in loaded.items()}
    variables["params"]["pooling"] = jax.tree.map(np.asarray, pooling["params"])
    return config, {**variables, "preprocess": loaded["preprocess"]}
