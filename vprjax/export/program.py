"""What every format writes: the program of a model, and the facts that go with it."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

import vprjax
from vprjax import models
from vprjax.localize.exported import KEYS
from vprjax.localize.model import Model
from vprjax.models.heads.vectors import l2_normalize

Size = tuple[int, int] | None  # None where height and width are free


def program(model: Model, max_pool: Callable = nn.max_pool) -> Callable:
    """Returns `images (b, h, w, 3) uint8 -> descriptors (b, d)`, the projection included.

    Args:
      model: a model whose engine is a `localize.network.Network`.
      max_pool: replaces flax's.
    """
    network = models.constant(model.engine.config, model.engine.variables, max_pool)
    if model.projection is None:
        return network
    mean = model.projection.mean.astype(np.float32)[None]
    kernel = model.projection.kernel.astype(np.float32)

    def projected(images: jax.Array) -> jax.Array:
        centred = network(images) - mean
        return l2_normalize(jnp.matmul(centred, kernel, precision=jax.lax.Precision.HIGHEST))

    return projected


def facts(model: Model, size: Size) -> dict:
    """What a file says of itself, JSON values: `exported.KEYS`, and lines for people."""
    values = {
        "title": model.title,
        "digest": model.digest,
        "form": model.form.to_json(),
        "size": [*size] if size else None,
        "dimension": model.dimension,
        "batch": model.batch,
        "dataset": model.dataset,
        "calibration": model.calibration,
    }
    assert tuple(values) == KEYS
    h, w = size or ("height", "width")
    return {
        "id": model.id,
        "input": f"images: uint8 (batch, {h}, {w}, 3), RGB from 0 to 255",
        "output": f"descriptors: float32 (batch, {model.dimension}), L2 length 1",
        "made_by": f"vprjax {vprjax.__version__}",
        **values,
    }
