"""Encodings that a scan compares in place of the descriptors, with bounds of their error.

An encoding maps rows to values without moving any two apart, up to a rounding of at most `error`:
`|q - r| >= |v_q - v_r| - error_q - error_r`. One matrix product of values thus bounds all distances below.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

BLOCK = 512  # dimensions rotated together, about: rotating all at once costs more than the search
LANES = 64  # numbers summed side by side
HALF = 2.0**-8  # relative error of rounding to bfloat16, twice the worst case


class Encoded(NamedTuple):
    """Encoded rows: values `(n, m)`, their squared norms `(n,)` and `error` `(n,)`."""

    values: jax.Array
    squared: jax.Array
    error: jax.Array


def rounding(terms: int) -> float:
    """Relative error of a float32 sum of `terms` products, `8 sqrt(terms) eps`.

    The error is a random walk of size `sqrt(terms) eps`; 8 times that lies far out in its tail.
    """
    return 8 * math.sqrt(terms) * float(np.finfo(np.float32).eps)


def squares(rows: jax.Array) -> jax.Array:
    """Squared norms `(n,)` of rows, summed in lanes: a CPU adds one long row number by number."""
    n, d = rows.shape
    whole = d // LANES * LANES
    lanes = rows[:, :whole].reshape(n, -1, LANES)
    rest = rows[:, whole:]
    return jnp.sum(lanes * lanes, axis=1).sum(axis=1) + jnp.sum(rest * rest, axis=1)


def float32(rows: jax.Array) -> Encoded:
    """The rows themselves, `(n, d)` float32."""
    return Encoded(rows, squares(rows), jnp.zeros(len(rows)))


def bfloat16(rows: jax.Array, mean: jax.Array) -> Encoded:
    """Rows minus `mean` `(d,)` in bfloat16: the shift keeps distances and makes rounding errors small."""
    values = (rows - mean[None, :]).astype(jnp.bfloat16)
    squared = squares(values.astype(jnp.float32))
    return Encoded(values, squared, HALF * jnp.sqrt(squared))


def rotated(rows: jax.Array, mean: jax.Array, bases: jax.Array) -> Encoded:
    """Rows minus `mean` along the orthonormal `bases` `(blocks, width, m)`, and the norm of the rest.

    Each block of dimensions is projected onto its own basis; the values are bfloat16. With
    x = (inside, outside), `|q - r|^2 = |q_in - r_in|^2 + |q_out - r_out|^2
    >= |q_in - r_in|^2 + (|q_out| - |r_out|)^2`, so that (inside, |outside|) is an encoding.
    """
    rows = rows - mean[None, :]
    blocks, width, m = bases.shape
    n, d = rows.shape
    parts = jnp.pad(rows, ((0, 0), (0, blocks * width - d))).reshape(n, blocks, width)
    inside = jnp.einsum("nbi,bim->nbm", parts, bases, precision=jax.lax.Precision.HIGHEST)
    inside = inside.reshape(n, blocks * m)
    squared = squares(rows)
    outside = jnp.sqrt(jnp.maximum(squared - squares(inside), 0))
    values = jnp.concatenate([inside, outside[:, None]], axis=1).astype(jnp.bfloat16)
    # Two sums' difference errs by `slack`, its root by slack / root or, near 0, sqrt(slack).
    slack = 2 * rounding(d) * squared
    root = jnp.minimum(slack / jnp.maximum(outside, 1e-30), jnp.sqrt(2 * slack))
    error = (HALF + rounding(width)) * jnp.sqrt(squared) + root
    return Encoded(values, squares(values.astype(jnp.float32)), error)


def learn_bases(rows: np.ndarray, share: float) -> np.ndarray:
    """Orthonormal bases `(blocks, width, m)` of the main directions of centred `rows` `(n, d)`.

    Each block keeps `share` of its dimensions, by subspace iteration from a fixed start. Any orthonormal
    basis keeps a search exact; a good one makes it fast.
    """
    blocks, width = block_sizes(rows.shape[1])
    m = max(1, round(width * share))
    start = np.random.default_rng(0).normal(size=(width, m)).astype(np.float32)
    bases = np.zeros((blocks, width, m), np.float32)
    for number in range(blocks):
        covariance = block_covariance(rows, number)
        bases[number] = np.linalg.qr(covariance @ (covariance @ start))[0]
    return bases


def block_sizes(d: int) -> tuple[int, int]:
    """Number and width of the blocks of `d` dimensions; padding fills the last."""
    blocks = max(1, round(d / BLOCK))
    return blocks, math.ceil(d / blocks)


def block_covariance(rows: np.ndarray, number: int) -> np.ndarray:
    """Covariance `(width, width)` of one block of centred rows, up to a factor; positive definite."""
    _, width = block_sizes(rows.shape[1])
    columns = rows[:, number * width : (number + 1) * width]
    columns = np.pad(columns, ((0, 0), (0, width - columns.shape[1])))
    covariance = columns.T @ columns
    covariance[np.diag_indices(width)] += np.float32(1e-6 * np.trace(covariance) / width + 1e-30)
    return covariance / np.abs(covariance).max()
