"""One descriptor of an image at several sizes: what retrieval networks call multi-scale extraction."""

import math

import jax
import jax.numpy as jnp

from vprjax.models.backbones import resample
from vprjax.models.heads.vectors import l2_normalize

ONE = (1.0,)  # the image's own size alone
EPS = 1e-6  # least magnitude under a power


def resized(images: jax.Array, scale: float) -> jax.Array:
    """Returns images `(b, h, w, c)` of `floor(scale h)` x `floor(scale w)`, bilinear without antialias.

    Raises:
      ValueError: a side becomes 0.
    """
    if scale == 1:
        return images
    sides = images.shape[1:3]
    counts = [math.floor(scale * side) for side in sides]
    if 0 in counts:
        raise ValueError(
            f"images of {sides[0]} x {sides[1]} pixels have none at model.scales={scale:g}: feed larger "
            "images or name larger scales"
        )
    rows, columns = (
        jnp.asarray(resample.linear(side, count, 1 / scale), jnp.float32)
        for side, count in zip(sides, counts, strict=True)
    )
    exact = jax.lax.Precision.HIGHEST
    return jnp.einsum("yh,xw,bhwc->byxc", rows, columns, images, precision=exact)


def joined(descriptors: jax.Array, power: float) -> jax.Array:
    """Power mean over sizes, `(s, b, d) -> (b, d)`, of L2 length 1: `n(m^(1/p))`, `m = mean_s f_s^p`.

    Powers keep the sign, as whitened descriptors have both.

    Source: the code released with Radenovic et al. 2018; of signed ones, with Revaud et al. 2019.
    """
    mean = jnp.mean(_signed_power(descriptors, power), axis=0)
    return l2_normalize(_signed_power(mean, 1 / power))


def words(model_config) -> str:
    """Says in a phrase which sizes a model's descriptors join; "" where it is the image's own alone."""
    if tuple(model_config.scales) == ONE:
        return ""
    sizes = ", ".join(f"{scale:.4g}" for scale in model_config.scales)
    return (
        f"descriptors of the sizes {sizes} joined by a power mean of {model_config.scales_power:g}"
    )


def _signed_power(x: jax.Array, power: float) -> jax.Array:
    if power == 1:
        return x
    return jnp.sign(x) * jnp.maximum(jnp.abs(x), EPS) ** power
