"""Figures of sound or failing training, computed inside the step by pure functions."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from clu import metrics
from flax import struct

HISTOGRAM_BINS = 20  # of width 0.1 over 0 .. 2, all distances between unit descriptors


@struct.dataclass
class Histogram(metrics.Metric):
    """Counts `(20,)` of distances in bins of 0.1 over 0 .. 2."""

    counts: jax.Array

    @classmethod
    def empty(cls) -> "Histogram":
        """Returns zero counts."""
        return cls(jnp.zeros(HISTOGRAM_BINS, jnp.int32))

    @classmethod
    def from_model_output(cls, values: jax.Array, **_) -> "Histogram":
        """Counts the finite numbers of `values` `(...)`."""
        bins = jnp.floor(values.ravel() * (HISTOGRAM_BINS / 2))
        bins = jnp.where(jnp.isfinite(bins), jnp.clip(bins, 0, HISTOGRAM_BINS - 1), -1)
        hot = jax.nn.one_hot(bins.astype(jnp.int32), HISTOGRAM_BINS, dtype=jnp.int32)
        return cls(hot.sum(axis=0, dtype=jnp.int32))

    def merge(self, other: "Histogram") -> "Histogram":
        """Returns the sum of both counts."""
        return type(self)(self.counts + other.counts)

    def reduce(self) -> "Histogram":
        """Sums the counts over a leading axis."""
        return type(self)(self.counts.sum(axis=0))

    def compute(self) -> jax.Array:
        """Returns the counts."""
        return self.counts


def spread(descriptors: jax.Array, axis: str) -> dict[str, jax.Array]:
    """Computes the spread of the global batch's descriptors; low figures are signs of collapse.

    `variance = 1 - |mean|^2` is 0 where all descriptors are one point, and near 1 where they fill the
    sphere. `effective_rank = tr(C)^2 / tr(C^2)`, with C their covariance, is the participation ratio. It
    counts the directions in use, at most one fewer than the batch's images.

    Shapes: `(n, d)` of this device -> two `()`.
    """
    every = jax.lax.all_gather(jax.lax.stop_gradient(descriptors), axis)
    every = every.reshape(-1, descriptors.shape[-1])
    centred = every - every.mean(axis=0, keepdims=True)
    gram = jnp.matmul(centred, centred.T, precision=jax.lax.Precision.HIGHEST)
    trace, squares = jnp.trace(gram), jnp.sum(gram**2)
    some = trace > 1e-6 * len(every)  # a smaller trace is rounding
    rank = jnp.where(some, trace**2 / jnp.where(some, squares, 1.0), 0.0)
    return {"variance": trace / len(every), "effective_rank": rank}


def gradient_norms(grads: Any) -> dict[str, jax.Array]:
    """Computes the L2 norms of all gradients, and of the backbone's, the head's and the class weights'."""
    model = grads["model"]
    head = {name: tree for name, tree in model.items() if name != "backbone"}
    return {
        "grad_norm": optax.global_norm(grads),
        "grad_norm_backbone": optax.global_norm(model["backbone"]),
        "grad_norm_head": optax.global_norm(head) if head else jnp.zeros(()),
        "grad_norm_classes": (
            optax.global_norm(grads["classes"])
            if jax.tree.leaves(grads["classes"])
            else jnp.zeros(())
        ),
    }
