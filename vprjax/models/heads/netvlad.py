"""NetVLAD: residuals of local descriptors to learnable centres, softly assigned."""

import math

import jax
import jax.numpy as jnp
from flax import linen as nn

from vprjax.models.heads.variant import ClusterStart, Head
from vprjax.models.heads.vectors import check_map, l2_normalize
from vprjax.variants import Key, OneOf, Whole

# A TPU or GPU would otherwise round the float32 inputs of a matrix product to bfloat16 or TF32.
_EXACT = jax.lax.Precision.HIGHEST

# The nearest cluster of a local descriptor outweighs the second by this factor at the start.
_NEAREST_OVER_SECOND = 100.0

ORDERS = ("clusters", "channels")  # what a descriptor lists first; the original lists channels


def netvlad(
    x: jax.Array,
    weights: jax.Array,
    biases: jax.Array,
    centers: jax.Array,
    order: str = ORDERS[0],
) -> jax.Array:
    """Residuals to `k` centres, softly assigned: `V_k = sum_i a_ik (x_i - c_k)`.

    `a_i = softmax_k(w_k . x_i + b_k)` over the L2-normalised local descriptors `x_i`. Each `V_k` is
    L2-normalised, then the whole. The form `A^T X - (sum_i a_i) c` needs no array of size `n k d`.

    Shapes: `(b, h, w, d), (k, d), (k,), (k, d) -> (b, k * d)`, cluster-major (`d` runs fastest)
    unless `order` is "channels".
    Raises: ValueError on other shapes.
    Source: Eq. 3 and 4 of Alijani & Rahtu 2021; Arandjelovic et al. 2016.
    """
    local, assignment = soft_assignment(x, weights, biases, centers)
    return aggregate(local, assignment, centers, order)


def soft_assignment(
    x: jax.Array, weights: jax.Array, biases: jax.Array, centers: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Returns the L2-normalised local descriptors `(b, n, d)` of `netvlad` and their `(b, n, k)` shares."""
    check_map("netvlad", x)
    b, h, w, d = x.shape
    if weights.ndim != 2 or weights.shape[1] != d or centers.shape != weights.shape:
        raise ValueError(
            f"netvlad: weights {weights.shape} and centers {centers.shape} must both be (k, {d}) "
            f"for a feature map of {d} channels"
        )
    k = weights.shape[0]
    if biases.shape != (k,):
        raise ValueError(f"netvlad: biases have shape {biases.shape}, expected ({k},)")
    weights, biases = (jnp.asarray(v, jnp.float32) for v in (weights, biases))
    local = l2_normalize(x).reshape(b, h * w, d)
    logits = jnp.einsum("bnd,kd->bnk", local, weights, precision=_EXACT) + biases[None, None, :]
    return local, jax.nn.softmax(logits, axis=-1)


def aggregate(
    local: jax.Array, assignment: jax.Array, centers: jax.Array, order: str = ORDERS[0]
) -> jax.Array:
    """Weighted residuals `sum_i a_ik (x_i - c_k)`, each L2-normalised, then the whole.

    Shapes: `(b, n, d), (b, n, k), (k, d) -> (b, k * d)`.
    """
    pulled = jnp.einsum("bnk,bnd->bkd", assignment, local, precision=_EXACT)
    mass = jnp.sum(assignment, axis=1)
    residuals = l2_normalize(pulled - mass[:, :, None] * jnp.asarray(centers, jnp.float32)[None])
    if order == "channels":
        residuals = residuals.transpose(0, 2, 1)
    return l2_normalize(residuals.reshape(local.shape[0], centers.size))


def netvlad_from_centers(
    centers: jax.Array, local_descriptors: jax.Array, bias: bool = True
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns NetVLAD parameters whose nearest centre outweighs the second by 100 on average.

    With bias: `w_k = 2 alpha c_k`, `b_k = -alpha |c_k|^2`, `alpha = ln(100) / gap`. Here `gap` is the
    mean over descriptors of the squared distance to the second nearest centre less that to the nearest.
    Without (the original's `vlad_v1`): `w_k = alpha c_k / |c_k|`, `b_k = 0`, and `gap` is the mean
    difference of the two largest cosines. The function L2-normalises descriptors first, as `netvlad`
    does, and returns the centres unchanged. It reads values and therefore cannot run under `jit`.

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


class NetVLAD(nn.Module):
    """NetVLAD, `(b, h, w, d) -> (b, k * d)`; `weights`, `centers` `(k, d)`, `biases` `(k,)`.

    The random start only fills the shapes; a useful start comes from k-means on local descriptors.
    """

    clusters: int
    order: str = ORDERS[0]

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns `(b, k * d)`, in the given order, normalised."""
        return netvlad(x, *parameters(self, x.shape[-1]), self.order)


def parameters(head: nn.Module, d: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Declares the weights, biases and centres of a head with `clusters`."""
    k = head.clusters
    weights = rows(head, "weights", k, d)
    biases = head.param("biases", nn.initializers.zeros, (k,), jnp.float32)
    return weights, biases, rows(head, "centers", k, d)


def rows(head: nn.Module, name: str, count: int, d: int) -> jax.Array:
    """Declares a parameter `(count, d)` with rows of length about 1, as the local descriptors have."""
    return head.param(name, nn.initializers.normal(d**-0.5), (count, d), jnp.float32)


def clusters(count: int, least: int = 2) -> Key:
    """The config key of a head's number of clusters, `count` by default."""
    return Key(count, Whole(least), "clusters k; a descriptor has k times the channels")


def start(centers: jax.Array, local_descriptors: jax.Array) -> dict[str, jax.Array]:
    """Returns the parameters by name that k-means' centres give."""
    weights, biases, centers = netvlad_from_centers(centers, local_descriptors)
    return {"weights": weights, "biases": biases, "centers": centers}


HEAD = Head(
    title="NetVLAD",
    make=lambda section: NetVLAD(section.clusters, section.order),
    keys={
        "clusters": clusters(64),
        "order": Key(
            ORDERS[0], OneOf(ORDERS), "what a descriptor lists first; the original lists channels"
        ),
    },
    trains=True,
    start=ClusterStart("clusters", start),
)
