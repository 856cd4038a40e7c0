"""k-means (Lloyd, k-means++ start) of local descriptors, from which NetVLAD's centres start."""

import functools

import jax
import jax.numpy as jnp

_EXACT = jax.lax.Precision.HIGHEST


def kmeans(
    points: jax.Array, k: int, seed: int, iterations: int = 30, block: int = 4096
) -> jax.Array:
    """Finds the centres that Lloyd's iterations reach from a k-means++ start; a pure function of `seed`.

    Each iteration sends every point to its nearest centre (squared L2; ties to the lower index)
    and moves the centres to their means. A centre without points moves to the point farthest from
    its own centre (the next such centre to the second farthest, ...). The search stops after
    `iterations`, or when no centre moves. It reads `block` rows at a time: beside a few vectors of
    length `n`, no array is larger than `block x k` or `k x d`.

    Shapes: `(n, d) -> (k, d)` float32, `1 <= k <= n`.
    Raises: ValueError on other shapes.
    Source: Lloyd 1982; Arthur & Vassilvitskii 2007.
    """
    points = jnp.asarray(points, jnp.float32)
    if points.ndim != 2 or not 1 <= k <= points.shape[0]:
        raise ValueError(
            f"kmeans: points {points.shape} must be (n, d) with at least k = {k} >= 1 rows"
        )
    if iterations < 0 or block < 1:
        raise ValueError(f"kmeans: iterations {iterations} must be >= 0 and block {block} >= 1")
    return _kmeans(points, jax.random.key(seed), k, iterations, min(block, points.shape[0]))


@functools.partial(jax.jit, static_argnames=("k", "iterations", "block"))
def _kmeans(points: jax.Array, key: jax.Array, k: int, iterations: int, block: int) -> jax.Array:
    def unfinished(state):
        step, _, moved = state
        return (step < iterations) & moved

    def step_once(state):
        step, centers, _ = state
        after = lloyd_step(points, centers, block)
        return step + 1, after, jnp.any(after != centers)

    start = (0, _plus_plus(points, key, k), True)
    return jax.lax.while_loop(unfinished, step_once, start)[1]


def _plus_plus(points: jax.Array, key: jax.Array, k: int) -> jax.Array:
    """Draws `k` of the points, each with odds of its squared distance to those drawn before."""
    first, rest = jax.random.split(key)
    lengths = jnp.sum(points**2, axis=1)

    def draw(state, key):
        chosen, nearest = state
        # As a product: the sum of squared differences takes ten times as long on a CPU.
        product = jnp.matmul(points, points[chosen], precision=_EXACT)
        squared = jnp.maximum(lengths + lengths[chosen] - 2.0 * product, 0.0)
        nearest = jnp.minimum(nearest, squared).at[chosen].set(0.0)
        return (jax.random.categorical(key, jnp.log(nearest)), nearest), chosen

    start = (jax.random.randint(first, (), 0, len(points)), jnp.full(len(points), jnp.inf))
    (last, _), drawn = jax.lax.scan(draw, start, jax.random.split(rest, k - 1))
    return points[jnp.append(drawn, last)]


def lloyd_step(points: jax.Array, centers: jax.Array, block: int) -> jax.Array:
    """Returns the mean of the points nearest to each centre; empty centres move to the farthest points."""
    n, k = len(points), len(centers)

    def add_block(state, index):
        sums, counts, nearest = state
        # The last block starts early enough to be whole and leaves out the rows already counted.
        start = jnp.minimum(index * block, n - block)
        rows = jax.lax.dynamic_slice_in_dim(points, start, block)
        fresh = start + jnp.arange(block) >= index * block
        product = jnp.matmul(rows, centers.T, precision=_EXACT)
        distance = jnp.sum(centers**2, axis=1)[None, :] - 2.0 * product
        owner = jnp.argmin(distance, axis=1)
        member = (owner[:, None] == jnp.arange(k)[None, :]) & fresh[:, None]
        member = member.astype(jnp.float32)
        sums += jnp.matmul(member.T, rows, precision=_EXACT)
        counts += jnp.sum(member, axis=0)
        squared = jnp.sum(rows**2, axis=1) + jnp.min(distance, axis=1)
        nearest = jax.lax.dynamic_update_slice_in_dim(nearest, squared, start, 0)
        return (sums, counts, nearest), None

    zeros = (jnp.zeros_like(centers), jnp.zeros(k), jnp.zeros(n))
    (sums, counts, nearest), _ = jax.lax.scan(add_block, zeros, jnp.arange(-(-n // block)))
    empty = counts == 0
    farthest = jax.lax.top_k(nearest, k)[1]
    reseeded = points[farthest[jnp.maximum(jnp.cumsum(empty) - 1, 0)]]
    means = sums / jnp.maximum(counts, 1.0)[:, None]
    return jnp.where(empty[:, None], reseeded, means)
