"""Exact nearest neighbours in blocks: the full query x reference matrix never exists."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

SPARE = 16  # candidates beyond k that the float32 scan hands to the exact ranking


def nearest(
    queries: np.ndarray, references: np.ndarray, k: int = 1, memory_bytes: int = 1 << 30
) -> tuple[np.ndarray, np.ndarray]:
    """The `k` references with the smallest L2 distance to every query, nearest first.

    A float32 scan over blocks, `|q|^2 + |r|^2 - 2 q.r`, keeps `k + SPARE` candidates; these are ranked
    by float64 differences, ties to the lower index. Where rounding could have hidden a neighbour from
    the candidates (near-ties, duplicates), that query is searched again in float64.

    Args:
      queries: `(q, d)`; arrays or memory maps.
      references: `(r, d)`.
      k: neighbours wanted, at most r.
      memory_bytes: bound on the two row blocks and their distances.

    Returns:
      distances `(q, k)` float32 and indices `(q, k)` int64.

    Raises:
      ValueError: shapes do not fit, `k` is not in 1..r, or a descriptor is not finite.
    """
    _check(queries, references, k)
    if not len(queries):
        return np.empty((0, k), np.float32), np.empty((0, k), np.int64)
    kept = min(k + SPARE, len(references))
    query_rows, reference_rows = _block_rows(queries, references, memory_bytes)
    squared = np.concatenate(
        [
            _squared_norms(references[first : first + reference_rows])
            for first in range(0, len(references), reference_rows)
        ]
    )
    distances = np.empty((len(queries), k), np.float32)
    indices = np.empty((len(queries), k), np.int64)
    for first in range(0, len(queries), query_rows):
        block = np.asarray(queries[first : first + query_rows], np.float32)
        found, bound = _scan(block, references, squared, kept, query_rows, reference_rows)
        rows = slice(first, first + len(block))
        distances[rows], indices[rows], sure = _rank(block, references, found, bound, k)
        for row in np.flatnonzero(~sure):
            distances[first + row], indices[first + row] = _search_exactly(
                block[row], references, k, reference_rows
            )
    return distances, indices


def _check(queries, references, k: int) -> None:
    if queries.ndim != 2 or references.ndim != 2 or queries.shape[1] != references.shape[1]:
        raise ValueError(
            f"queries {queries.shape} and references {references.shape} must be (q, d) and (r, d)"
        )
    if not 1 <= k <= len(references):
        raise ValueError(f"k={k} must be between 1 and the {len(references)} references")


def _block_rows(queries, references, memory_bytes: int) -> tuple[int, int]:
    """Rows of a query and of a reference block: both blocks and their distances within the budget."""
    d = queries.shape[1]
    rows = max(1, int((-d + math.sqrt(d * d + memory_bytes / 4 / 2)) / 1))
    rows = min(rows, 4096)
    return min(rows, len(queries)), min(rows, len(references))


def _squared_norms(rows) -> np.ndarray:
    rows = np.asarray(rows, np.float32)
    squared = np.einsum("rd,rd->r", rows, rows, dtype=np.float64)
    if not np.isfinite(squared).all():
        raise ValueError("descriptors hold NaN or infinity")
    return squared


def _scan(block, references, squared, kept: int, query_rows: int, reference_rows: int):
    """Candidates `(n, kept)` of a query block and, per query, what float32 may be wrong by."""
    n, d = block.shape
    own = _squared_norms(block)
    padded = jnp.asarray(_padded(block, query_rows))
    best = jnp.full((query_rows, kept), jnp.inf), jnp.zeros((query_rows, kept), jnp.int32)
    for first in range(0, len(references), reference_rows):
        rows = np.asarray(references[first : first + reference_rows], np.float32)
        norms = np.full(reference_rows, np.inf, np.float32)  # Padding is infinitely far away.
        norms[: len(rows)] = squared[first : first + len(rows)]
        best = _merge_block(*best, padded, jnp.asarray(_padded(rows, reference_rows)), norms, first)
    scanned, found = (np.asarray(part)[:n] for part in best)
    # Rounding of a d-term float32 sum grows like sqrt(d); 8 of these are far out in its tail.
    error = 8 * np.sqrt(d) * np.finfo(np.float32).eps * (np.sqrt(own) + np.sqrt(squared.max())) ** 2
    bound = own + scanned[:, -1] - error
    if kept == len(references):
        bound[:] = np.inf  # Nothing was left out.
    return found.astype(np.int64), bound


@functools.partial(jax.jit, donate_argnums=(0, 1))
def _merge_block(best, indices, queries, references, squared, first):
    """Merges one reference block into the best so far; earlier (lower) indices win ties."""
    kept = best.shape[1]
    products = jnp.matmul(queries, references.T, precision=jax.lax.Precision.HIGHEST)
    distances = squared[None, :] - 2 * products  # |q|^2 does not change the order.
    values, places = jax.lax.top_k(-distances, min(kept, distances.shape[1]))
    values = jnp.concatenate([-best, values], axis=1)
    indices = jnp.concatenate([indices, places + first], axis=1)
    values, places = jax.lax.top_k(values, kept)
    return -values, jnp.take_along_axis(indices, places, axis=1)


def _padded(rows: np.ndarray, count: int) -> np.ndarray:
    if len(rows) == count:
        return rows
    return np.concatenate([rows, np.zeros((count - len(rows), rows.shape[1]), rows.dtype)])


def _rank(block, references, found, bound, k: int):
    """Exact distances of the candidates; `sure` where no other reference can be among the first k."""
    n, kept = found.shape
    exact = np.empty((n, kept))
    for row in range(n):  # A row at a time: memory stays at kept x d.
        gap = np.asarray(references[found[row]], np.float64) - block[row]
        exact[row] = np.einsum("md,md->m", gap, gap)
    order = np.lexsort((found, exact), axis=1)[:, :k]
    exact, chosen = np.take_along_axis(exact, order, 1), np.take_along_axis(found, order, 1)
    return np.sqrt(exact).astype(np.float32), chosen, exact[:, -1] < bound


def _search_exactly(query, references, k: int, reference_rows: int):
    """One query against all references in float64."""
    squared = np.empty(len(references))
    for first in range(0, len(references), reference_rows):
        gap = np.asarray(references[first : first + reference_rows], np.float64) - query
        squared[first : first + len(gap)] = np.einsum("rd,rd->r", gap, gap)
    order = np.argsort(squared, kind="stable")[:k]
    return np.sqrt(squared[order]).astype(np.float32), order
