"""State dicts of random values with the names that a family of released models has."""

import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from tests.helpers.random_variables import random_variables
from vprjax import models
from vprjax.weights.released import load
from vprjax.weights.released.variant import Family


def random_state(family: Family, keys: dict, seed: int = 0) -> dict[str, np.ndarray]:
    """Returns name -> array, in PyTorch's layout, of the model with these `model` keys."""
    module = models.build(load.section(keys))
    variables = random_variables(module, jnp.zeros((1, 64, 64, 3), jnp.uint8), seed)
    flat = traverse_util.flatten_dict(variables)
    return {
        family.name(p): _torch(p, np.asarray(a)) for p, a in flat.items() if p[0] != "preprocess"
    }


def _torch(path, array: np.ndarray) -> np.ndarray:
    if path[-1] == "kernel":
        array = array.transpose((3, 2, 0, 1) if array.ndim == 4 else (1, 0))
    return np.array(array if array.shape else array[None], order="C")
