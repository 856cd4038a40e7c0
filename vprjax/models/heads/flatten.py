"""Flatten: the whole map as one vector."""

import jax
import jax.numpy as jnp

from vprjax.models.heads.variant import Head
from vprjax.models.heads.vectors import check_map


def flatten(x: jax.Array) -> jax.Array:
    """Every number of the map, `(b, h, w, c) -> (b, c h w)`; the channel is outermost.

    Descriptors of images of two sizes differ in length. `model.projection` with the start "gaussian" keeps
    the distances of long ones on average.

    Raises: ValueError on other shapes.
    Source: Suenderhauf et al. 2015, with the order of PyTorch and Caffe.
    """
    check_map("flatten", x)
    b, h, w, c = x.shape
    return jnp.asarray(x, jnp.float32).transpose(0, 3, 1, 2).reshape(b, c * h * w)


HEAD = Head(title="flat map", make=lambda section: flatten, one_size=True)
