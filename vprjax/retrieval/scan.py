"""The pass over all references, which keeps the smallest distances of encoded rows.

References are split over the devices of all processes. Each device keeps its own best, and the host merges
these at the end of a block of queries.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vprjax.retrieval import encode
from vprjax.retrieval.plan import GROUP, Plan
from vprjax.retrieval.rows import Block, Rows
from vprjax.runtime import parallel
from vprjax.runtime.prefetch import prefetch

WHOLE, SPLIT = False, True  # an argument is whole on every device, or split over them


@dataclasses.dataclass(frozen=True)
class Candidates:
    """Per query the references with the smallest lower bounds, in ascending order.

    Attributes:
      indices: `(q, kept)` int64.
      lower: `(q, kept)` float64, squared L2; inf past the last reference.
    """

    indices: np.ndarray
    lower: np.ndarray


class Scanner:
    """Scans with one encoding; each block size compiles once."""

    def __init__(self, encoder: Callable, *constants: np.ndarray):
        """Takes `encoder(rows, *constants) -> encode.Encoded`; every device holds the constants."""
        self._constants = tuple(parallel.place_copies(c) for c in constants)
        self._encode_queries = jax.jit(encoder)
        self._encode_references = _split_encoder(encoder, len(constants))

    def scan(self, queries: np.ndarray, references: Rows, plan: Plan) -> Candidates:
        """Candidates of a block of queries.

        Args:
          queries: `(n, d)` float32, n at most `plan.query_rows`.
          references: all references.
          plan: block sizes, with `columns == d`.

        Raises:
          ValueError: a descriptor is not finite.
        """
        count = len(references)
        placed = parallel.place_copies(_padded(queries, plan.query_rows))
        own = self._encode_queries(placed, *self._constants)
        del placed
        best = _empty(plan)
        for number, block in prefetch(
            lambda n: _place(references, plan, n), 0, _blocks(count, plan), depth=1
        ):
            rows = self._encode_references(block, *self._constants)
            del block  # a name kept here or below holds one block more than `plan` counts
            first = parallel.place_copies(np.int32(number * plan.reference_rows))
            best = _step(count, plan.parts)(best, own.values, rows, first)
            best.norm.block_until_ready()  # else blocks pile up on the device
            del rows
        return _gathered(best, own, len(queries))


def scan_columns(queries: Block, references: Rows, plan: Plan) -> Candidates:
    """`Scanner.scan` of float32 rows, with only `plan.columns` dimensions in memory at once."""
    count, d = references.shape
    parts = [slice(c, c + plan.columns) for c in range(0, d, plan.columns)]
    best, own = _empty(plan), None
    for number in range(_blocks(count, plan)):

        def produce(part: int, number: int = number):
            columns = parts[part]
            own_part = _padded(queries(slice(None), columns), plan.query_rows)
            return parallel.place_copies(own_part), _place(references, plan, number, columns)

        total = None
        for _, (own_part, block) in prefetch(produce, 0, len(parts), depth=1):
            piece = (
                _products()(own_part, block),
                _squares_whole(own_part),
                _squares_split()(block),
            )
            del own_part, block
            total = piece if total is None else jax.tree.map(jnp.add, total, piece)
        own = encode.Encoded(queries, total[1], jnp.zeros(len(total[1])))
        first = parallel.place_copies(np.int32(number * plan.reference_rows))
        best = _merge_columns(count)(best, total[0], total[2], first)
        best.norm.block_until_ready()
    return _gathered(best, own, len(queries), d)


@functools.cache
def _split_encoder(encoder: Callable, constants: int) -> Callable:
    return parallel.map_shards(encoder, (SPLIT,) + (WHOLE,) * constants)


def _blocks(count: int, plan: Plan) -> int:
    return -(-count // plan.reference_rows)


def _padded(rows: np.ndarray, count: int) -> np.ndarray:
    if len(rows) == count:
        return rows
    return np.concatenate([rows, np.zeros((count - len(rows), rows.shape[1]), rows.dtype)])


def _place(references: Rows, plan: Plan, number: int, columns: slice = slice(None)) -> jax.Array:
    """The share of this process in block `number`, padded with zero rows, on its devices."""
    share = parallel.process_rows(plan.reference_rows)
    first, count = number * plan.reference_rows, len(references)
    rows = references(
        slice(min(first + share.start, count), min(first + share.stop, count)), columns
    )
    return parallel.place_shards(_padded(rows, share.stop - share.start))


class Best(NamedTuple):
    """A device's smallest distances so far with their indices, and the largest error and norm."""

    distances: jax.Array
    indices: jax.Array
    error: jax.Array
    norm: jax.Array


def _empty(plan: Plan) -> Best:
    local = parallel.local_device_count()
    shape = (local * plan.query_rows, plan.kept)
    zeros = np.zeros(local, np.float32)
    parts = (np.full(shape, np.inf, np.float32), np.zeros(shape, np.int32), zeros, zeros)
    return Best(*(parallel.place_shards(part) for part in parts))


def dot(queries: jax.Array, references: jax.Array) -> jax.Array:
    """Products `(q, m), (r, m) -> (q, r)` float32, at the device's highest precision."""
    return jax.lax.dot_general(
        queries,
        references,
        (((1,), (1,)), ((), ())),
        precision=jax.lax.Precision.HIGHEST,
        preferred_element_type=jnp.float32,
    )


@functools.cache
def _products() -> Callable:
    return parallel.map_shards(dot, (WHOLE, SPLIT))


@jax.jit
def _squares_whole(rows):
    return encode.squares(rows)


@functools.cache
def _squares_split() -> Callable:
    return parallel.map_shards(encode.squares, (SPLIT,))


@functools.cache
def _step(count: int, parts: int) -> Callable:
    """A function that multiplies and merges one block of references, one part of the queries at a time."""

    def step(best: Best, queries, rows: encode.Encoded, first):
        def one(part):
            distances, indices, values = part
            products = dot(values, rows.values)
            return _merge(distances, indices, products, rows.squared, first, count)

        cut = (best.distances, best.indices, queries)
        cut = jax.tree.map(lambda x: x.reshape(parts, -1, *x.shape[1:]), cut)
        distances, indices = (x.reshape(-1, *x.shape[2:]) for x in jax.lax.map(one, cut))
        error = jnp.maximum(best.error, rows.error.max())
        return Best(distances, indices, error, _largest(best.norm, rows.squared))

    return parallel.map_shards(step, (SPLIT, WHOLE, SPLIT, WHOLE), donate=(0,))


@functools.cache
def _merge_columns(count: int) -> Callable:
    """`_step` for given float32 products."""

    def step(best: Best, products, squared, first):
        merged = _merge(best.distances, best.indices, products, squared, first, count)
        return Best(*merged, best.error, _largest(best.norm, squared))

    return parallel.map_shards(step, (SPLIT, SPLIT, SPLIT, WHOLE), donate=(0,))


def _largest(norm, squared):
    """The larger norm; NaN and infinity pass through to the final check."""
    return jnp.maximum(norm, jnp.sqrt(squared.max()))


def _merge(best, indices, products, squared, first, count: int):
    """Merges one block's distances into the best; padding is infinitely far away."""
    size = len(squared)
    places = first + parallel.shard_number() * size + jnp.arange(size, dtype=jnp.int32)
    squared = jnp.where(places < count, squared, jnp.inf)
    kept = best.shape[1]
    # |q|^2 does not change the order.
    values, columns = _smallest(squared[None, :] - 2 * products, min(kept, size))
    values = jnp.concatenate([best, values], axis=1)
    indices = jnp.concatenate([indices, places[columns]], axis=1)
    values, order = jax.lax.top_k(-values, kept)
    return -values, jnp.take_along_axis(indices, order, axis=1)


def _smallest(values: jax.Array, count: int) -> tuple[jax.Array, jax.Array]:
    """The `count` smallest values of each row and their columns, after one cheap pass over groups.

    They lie in the `count` groups with the smallest minima.
    """
    n, m = values.shape
    groups = m // GROUP
    if groups <= 2 * count:
        smallest, columns = jax.lax.top_k(-values, count)
        return -smallest, columns
    grouped = values.reshape(n, groups, GROUP)
    _, chosen = jax.lax.top_k(-grouped.min(axis=2), count)
    inside = jnp.take_along_axis(grouped, chosen[:, :, None], axis=1).reshape(n, count * GROUP)
    smallest, order = jax.lax.top_k(-inside, count)
    group = jnp.take_along_axis(chosen, order // GROUP, axis=1)
    return -smallest, group * GROUP + order % GROUP


def _gathered(best: Best, own: encode.Encoded, n: int, d: int | None = None) -> Candidates:
    """Merges the best of all devices into lower bounds of the true distances."""
    scanned, indices, error, norm = (parallel.collect(part) for part in best)
    own_squared, own_error = (np.asarray(x, np.float64)[:n, None] for x in (own.squared, own.error))
    if not (np.isfinite(norm).all() and np.isfinite(own_squared).all()):
        raise ValueError("descriptors hold NaN or infinity")
    kept, devices = scanned.shape[1], parallel.device_count()
    scanned, indices = (
        x.reshape(devices, -1, kept).transpose(1, 0, 2).reshape(-1, devices * kept)[:n]
        for x in (scanned, indices)
    )
    order = np.argsort(scanned, axis=1, kind="stable")[:, :kept]
    scanned = np.take_along_axis(scanned, order, axis=1).astype(np.float64) + own_squared
    summing = encode.rounding(d or own.values.shape[1])
    scanned -= summing * (np.sqrt(own_squared) + norm.max()) ** 2
    lower = np.maximum(np.sqrt(np.maximum(scanned, 0)) - own_error - error.max(), 0) ** 2
    return Candidates(np.take_along_axis(indices, order, axis=1).astype(np.int64), lower)
