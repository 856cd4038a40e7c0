"""A backbone's pretrained weights under GeM, without training: the model of a weights file alone."""

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from vprjax import models
from vprjax.weights import pretrained
from vprjax.weights.released.load import section


def gem(
    path: str, arrays: pretrained.Arrays | None = None
) -> tuple[ml_collections.ConfigDict, dict]:
    """Returns the `model` section and the variables of a weights file's backbone under GeM.

    `arrays` are the file's, where they are read already.

    Raises:
      WeightsError: the file is unreadable, or no backbone's.
    """
    backbone = pretrained.recognise(path, arrays)
    config = section({"backbone": backbone, "weights": path, "pooling": "gem"})
    loaded = pretrained.load(path, backbone, arrays=arrays)
    # GeM's start asks for no image; a whole network's would compile for seconds.
    pooling = models.build(config).pooling.init(jax.random.key(0), jnp.ones((1, 1, 1, 1)))
    variables = {kind: {"backbone": arrays} for kind, arrays in loaded.items()}
    variables["params"]["pooling"] = jax.tree.map(np.asarray, pooling["params"])
    return config, {**variables, "preprocess": loaded["preprocess"]}
