"""Poolings from a feature map to one descriptor: MAC, SPoC, GeM and NetVLAD, and L2 normalisation.

Pure functions that compute and return float32 whatever the type of their input: in half precision
GeM's powers overflow and NetVLAD's soft assignment loses its small weights.
"""

import math

import jax
import jax.numpy as jnp

# A TPU or GPU would otherwise round the float32 inputs of a matrix product to bfloat16 or TF32.
_EXACT = jax.lax.Precision.HIGHEST

# How often the nearest cluster of a local descriptor outweighs the second when NetVLAD starts.
_NEAREST_OVER_SECOND = 100.0


def l2_normalize(x: jax.Array, axis: int = -1, eps: float = 1e-12) -> jax.Array:
    """`x / |x|` along `axis`; a vector no longer than `eps` becomes zero, and so does its gradient.

    The plain quotient has a NaN gradient at the zero vector.
    """
    x = jnp.asarray(x, jnp.float32)
    squared = jnp.sum(x * x, axis=axis, keepdims=True)
    vanishes = squared <= eps * eps  # False for NaN, so that a NaN stays visible
    return jnp.where(vanishes, 0.0, x * jax.lax.rsqrt(jnp.where(vanishes, 1.0, squared)))


def mac(x: jax.Array) -> jax.Array:
    """Maximum activation of each channel, `(b, h, w, c) -> (b, c)` (Tolias et al. 2016)."""
    _check_map("mac", x)
    return jnp.max(jnp.asarray(x, jnp.float32), axis=(1, 2))


def spoc(x: jax.Array) -> jax.Array:
    """Mean activation of each channel, `(b, h, w, c) -> (b, c)` (Babenko & Lempitsky 2015)."""
    _check_map("spoc", x)
    return jnp.mean(jnp.asarray(x, jnp.float32), axis=(1, 2))


def gem(x: jax.Array, p: jax.Array, eps: float = 1e-6) -> jax.Array:
    """Generalised mean of each channel, `(mean_hw max(x, eps)^p)^(1/p)`; not L2-normalised.

    `p = 1` is SPoC of the clipped map and a large `p` tends to MAC. The channel's maximum is taken
    out of the power, so no `p > 0` overflows; below 0.1 float32 loses the mean's digits.

    Shapes: `(b, h, w, c), () or (c,) -> (b, c)`; `p` must be positive, which is not checked.
    Raises: ValueError on other shapes.
    Source: Eq. 1 and 2 of Alijani & Rahtu 2021; Radenovic et al. 2018.
    """
    _check_map("gem", x)
    p = jnp.asarray(p, jnp.float32)
    channels = x.shape[-1]
    if p.shape not in ((), (channels,)):
        raise ValueError(
            f"gem: p has shape {p.shape}; give one exponent, (), or one a channel, ({channels},)"
        )
    p = jnp.broadcast_to(p, (1, 1, 1, channels))
    clipped = jnp.maximum(jnp.asarray(x, jnp.float32), eps)
    # The result does not depend on the scale, so neither does its gradient.
    scale = jax.lax.stop_gradient(jnp.max(clipped, axis=(1, 2), keepdims=True))
    ratio = jnp.maximum(clipped / scale, jnp.finfo(jnp.float32).tiny)
    mean = jnp.mean(jnp.exp(p * jnp.log(ratio)), axis=(1, 2), keepdims=True)
    return (scale * jnp.exp(jnp.log(mean) / p))[:, 0, 0, :]


def netvlad(x: jax.Array, weights: jax.Array, biases: jax.Array, centers: jax.Array) -> jax.Array:
    """Residuals to `k` centres, softly assigned: `V_k = sum_i a_ik (x_i - c_k)`.

    `a_i = softmax_k(w_k . x_i + b_k)` over the L2-normalised local descriptors `x_i`. Each `V_k` is
    L2-normalised, then the whole. Computed as `A^T X - (sum_i a_i) c`: nothing of size `n k d`.

    Shapes: `(b, h, w, d), (k, d), (k,), (k, d) -> (b, k * d)`, cluster-major (`d` runs fastest).
    Raises: ValueError on other shapes.
    Source: Eq. 3 and 4 of Alijani & Rahtu 2021; Arandjelovic et al. 2016.
    """
    _check_map("netvlad", x)
    b, h, w, d = x.shape
    if weights.ndim != 2 or weights.shape[1] != d or centers.shape != weights.shape:
        raise ValueError(
            f"netvlad: weights {weights.shape} and centers {centers.shape} must both be (k, {d}) "
            f"for a feature map of {d} channels"
        )
    k = weights.shape[0]
    if biases.shape != (k,):
        raise ValueError(f"netvlad: biases have shape {biases.shape}, expected ({k},)")
    weights, biases, centers = (jnp.asarray(v, jnp.float32) for v in (weights, biases, centers))
    local = l2_normalize(x).reshape(b, h * w, d)
    logits = jnp.einsum("bnd,kd->bnk", local, weights, precision=_EXACT) + biases[None, None, :]
    assignment = jax.nn.softmax(logits, axis=-1)
    pulled = jnp.einsum("bnk,bnd->bkd", assignment, local, precision=_EXACT)
    mass = jnp.sum(assignment, axis=1)
    residuals = pulled - mass[:, :, None] * centers[None, :, :]
    return l2_normalize(l2_normalize(residuals).reshape(b, k * d))


def netvlad_from_centers(
    centers: jax.Array, local_descriptors: jax.Array, bias: bool = True
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """NetVLAD parameters under which the nearest centre outweighs the second by 100 on average.

    With bias: `w_k = 2 alpha c_k`, `b_k = -alpha |c_k|^2`, `alpha = ln(100) / gap`, where `gap` is
    the mean over descriptors of the squared distance to the second nearest centre less that to the
    nearest. Without (the original's `vlad_v1`): `w_k = alpha c_k / |c_k|`, `b_k = 0`, and `gap` is
    the mean difference of the two largest cosines. Descriptors are L2-normalised first, as
    `netvlad` does; centres are returned as they came. Reads values: not for use under `jit`.

    Shapes: `(k, d), (n, d) -> (weights (k, d), biases (k,), centers (k, d))`, `k >= 2`.
    Raises: ValueError on other shapes, or where the two nearest centres never differ.
    Source: Arandjelovic et al. 2016, section 3.1 and the released code.
    """
    if centers.ndim != 2 or centers.shape[0] < 2:
        raise ValueError(f"netvlad_from_centers: centers {centers.shape} must be (k, d), k >= 2")
    if local_descriptors.ndim != 2 or local_descriptors.shape[1] != centers.shape[1]:
        raise ValueError(
            f"netvlad_from_centers: local_descriptors {local_descriptors.shape} must be "
            f"(n, {centers.shape[1]}) to match the centers"
        )
    centers = jnp.asarray(centers, jnp.float32)
    # closeness is -|x - c|^2 + |x|^2 with bias, the cosine without; |x|^2 is no part of the gap.
    directions = 2.0 * centers if bias else l2_normalize(centers)
    offsets = -jnp.sum(centers**2, axis=1) if bias else jnp.zeros(len(centers), jnp.float32)
    local = l2_normalize(local_descriptors)
    closeness = jnp.matmul(local, directions.T, precision=_EXACT) + offsets[None, :]
    nearest, second = jax.lax.top_k(closeness, 2)[0].T
    gap = float(jnp.mean(nearest - second))
    if not gap > 0:
        raise ValueError(
            f"netvlad_from_centers: the two nearest centers are {gap} apart on average; "
            "give distinct centers and finite descriptors"
        )
    alpha = math.log(_NEAREST_OVER_SECOND) / gap
    return alpha * directions, alpha * offsets, centers


def _check_map(name: str, x: jax.Array) -> None:
    if x.ndim != 4:
        raise ValueError(f"{name}: the feature map has shape {x.shape}, expected (b, h, w, c)")
