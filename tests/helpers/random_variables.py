"""Random variables for a module from NumPy: compiling 52 random kernels takes longer than a test."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util


def random_variables(module, x, seed=0):
    """He-scaled kernels; BatchNorm statistics and parameters far from 0 and 1; the rest small."""
    shapes = jax.eval_shape(functools.partial(module.init, jax.random.key(0)), x)
    rng = np.random.default_rng(seed)

    def draw(path, shape):
        if path[0] == "preprocess":
            return np.full(shape, 120.0 if path[1] == "mean" else 60.0)
        if path[-1] == "kernel":
            return rng.normal(0, np.sqrt(2 / np.prod(shape[:-1])), shape)
        if path[-1] in ("scale", "var"):
            return rng.uniform(0.5, 1.2, shape)
        return rng.normal(2.0 if path[-1] == "p" else 0.0, 0.1, shape)

    flat = traverse_util.flatten_dict(shapes)
    return traverse_util.unflatten_dict(
        {path: jnp.asarray(draw(path, s.shape), s.dtype) for path, s in flat.items()}
    )
