"""The change of the cosines between descriptors against those of the untrained model."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from vprjax.losses.vectors import unit

# A TPU or GPU would otherwise round the float32 inputs of a matrix product to bfloat16 or TF32.
_EXACT = jax.lax.Precision.HIGHEST


def similarity_change(descriptors: jax.Array, untrained: jax.Array, axis: str) -> jax.Array:
    """`L_i = mean_{j != i} (f_i . f_j - s_ij)^2`, over all images `j` of the step on all devices.

    `f` has length 1, and `s_ij` is the cosine of the untrained model's descriptors of the same two images.
    As `|f_i - f_j|^2 = 2 - 2 f_i . f_j`, four times the value is the mean squared change of the squared
    distances, which retrieval ranks. Row-wise softmax with Kullback-Leibler divergence, the other form,
    has a temperature and does not see a constant that is added to a row: with it all descriptors may draw
    together. Gradients return to the device of each image.

    Args:
      descriptors: `(n, d)` of this device's images.
      untrained: `(n, m)` cosines of this device's images with all `m` of the step, in their order.
      axis: name of the mapped axis, which the other devices' images come from.

    Returns:
      `(n,)` float32.

    Source: pairwise relations as in Tung & Mori 2019 and Park et al. 2019.
    """
    own = unit(jnp.asarray(descriptors, jnp.float32))
    every = jax.lax.all_gather(own, axis).reshape(-1, own.shape[-1])
    n, m = len(own), len(every)
    if untrained.shape != (n, m):
        raise ValueError(f"similarity_change: untrained {untrained.shape} must be {(n, m)}")
    number = jax.lax.axis_index(axis) * n + jnp.arange(n)
    others = number[:, None] != jnp.arange(m)[None, :]
    change = jnp.matmul(own, every.T, precision=_EXACT) - untrained
    return jnp.sum(change**2, axis=1, where=others) / max(m - 1, 1)


def with_kept_similarities(loss_fn: Callable, weight: float, axis: str) -> Callable:
    """Adds `weight` times the mean `similarity_change` of each row's images to a loss on batches.

    The loss is `(descriptors (b, m, d), batch, classes, step) -> dict of (b,)`, and the batch's
    "untrained" is `(b, m, M)`, the cosines with all `M` images of the step.
    """

    def loss(descriptors, batch, classes, step):
        parts = loss_fn(descriptors, batch, classes, step)
        b, m, d = descriptors.shape
        flat = batch["untrained"].reshape(b * m, -1)
        change = similarity_change(descriptors.reshape(b * m, d), flat, axis)
        return {**parts, "loss": parts["loss"] + weight * change.reshape(b, m).mean(axis=1)}

    return loss
