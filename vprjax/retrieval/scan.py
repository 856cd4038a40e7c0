"""The pass over all references, which keeps the smallest distances of encoded rows.

References are split over the devices of all processes. Each device keeps its own best, and the host merges
these at the end of a block of queries.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vprjax.retrieval import encode, product
from vprjax.retrieval.bounds import Candidates, beyond, bounded
from vprjax.retrieval.plan import GROUP, Plan
from vprjax.retrieval.rows import Block, Rows
from vprjax.retrieval.select import Kept
from vprjax.runtime import parallel
from vprjax.runtime.prefetch import prefetch

PRODUCTS = 1 << 21  # of queries and references at once, which stay in a processor's cache
EVEN = 64  # a multiple of queries, whose rows start where a CPU device takes them without a copy
Encoder = Callable[[np.ndarray], encode.Encoded]
WHOLE, SPLIT = False, True  # an argument is whole on every device, or split over them


class Scanner:
    """Scans with one encoding; each block size compiles once."""

    def __init__(self, encoder: Encoder, reach: float = 0.0, of_queries: Encoder | None = None):
        """Takes an encoder of `encode` or `codes` and about the distance of a k-th neighbour.

        The scan orders references by `d^2 - 2 reach error`, a bound's square where d is `reach`: any
        number is right, and a good one keeps those with the smallest bounds. Queries may have their own
        encoder.
        """
        self._encoder, self._reach, self._of_queries = encoder, reach, of_queries or encoder

    def scan(self, queries: np.ndarray, references: Rows, plan: Plan, k: int) -> Candidates:
        """Candidates of a block of queries for their first k neighbours.

        Args:
          queries: `(n, d)` float32, n at most `plan.query_rows`.
          references: all references.
          plan: block sizes, with `columns == d`.
          k: number of neighbours, at most `plan.kept`.

        Raises:
          ValueError: a descriptor is not finite.
        """
        if jax.default_backend() == "cpu" and parallel.device_count() == 1:
            return self._scan_here(queries, references, plan, k)
        count, reach = len(references), self._reach
        own = self._of_queries(queries)
        parts = product.whole_numbers(own.values), own.scale, own.bias
        placed = [parallel.place_copies(_padded(part, plan.query_rows)) for part in parts]

        def produce(number: int) -> encode.Encoded:
            rows, size = _share(references, plan, number)
            return _Placed.of(self._encoder(rows), size, reach)

        best = _empty(plan)
        for number, block in prefetch(produce, 0, _blocks(count, plan), depth=1):
            first = parallel.place_copies(np.int32(number * plan.reference_rows))
            best = _step(count, plan.parts)(best, *placed, block, first)
            del block  # a name kept here holds one block more than `plan` counts
            best.norm.block_until_ready()  # else blocks pile up on the device
        return _gathered(best, own, reach)

    def _scan_here(self, queries: np.ndarray, references: Rows, plan: Plan, k: int) -> Candidates:
        """`scan` on one CPU: XLA multiplies, the host selects."""
        own, count, size = self._of_queries(queries), len(references), plan.reference_rows
        kept = Kept.nothing(own, self._reach, plan.kept, k if plan.kept < count else 0)
        values = product.whole_numbers(own.values)
        parts = max(-(-len(queries) * size // PRODUCTS), plan.parts)
        step = min(-(-len(queries) // (parts * EVEN)) * EVEN, len(queries))

        def produce(number: int) -> encode.Encoded:
            return self._encoder(references(slice(number * size, min((number + 1) * size, count))))

        for number, rows in prefetch(produce, 0, _blocks(count, plan), depth=1):
            kept.take_extremes(rows)
            others = -2 * rows.scale, jax.device_put(rows.values)
            others += encode.shifted(rows, self._reach), product.excess(values, rows)
            for first in range(0, len(queries), step):
                # The last part overlaps the one before and so has the same shape.
                start = min(first, len(queries) - step)
                part = slice(start, start + step)
                found = product.keys((own.scale[part], own.bias[part]), values[part], *others)
                keys, minima = (np.asarray(x)[first - start :] for x in found)
                kept.merge(first, keys, minima, rows, number * size)
            del rows, others
        found = kept.keys, kept.indices, kept.error
        kept.settle()
        return bounded(found, kept.rest, kept.extremes, own, self._reach)


def scan_columns(queries: Block, references: Rows, plan: Plan) -> Candidates:
    """`Scanner.scan` of float32 rows, with only `plan.columns` dimensions in memory at once."""
    count, d = references.shape
    parts = [slice(c, c + plan.columns) for c in range(0, d, plan.columns)]
    best, own = _empty(plan), None
    for number in range(_blocks(count, plan)):

        def produce(part: int, number: int = number):
            columns = parts[part]
            own_part = encode.float32(queries(slice(None), columns))
            rows, size = _share(references, plan, number, columns)
            values = parallel.place_copies(_padded(own_part.values, plan.query_rows))
            return own_part.squared, values, _Placed.of(encode.float32(rows), size, 0.0)

        total = own = None
        for _, (squared, values, block) in prefetch(produce, 0, len(parts), depth=1):
            piece = _products()(values, block.values), block.shifted
            del values, block
            own = squared if own is None else own + squared
            total = piece if total is None else jax.tree.map(jnp.add, total, piece)
        first = parallel.place_copies(np.int32(number * plan.reference_rows))
        best = _merge_columns(count)(best, *total, first)
        best.norm.block_until_ready()
    whole = encode.empty(len(own), 0, np.float32)._replace(values=np.empty((0, d), np.float32))
    whole.squared[:], whole.norm[:], whole.error[:] = own, np.sqrt(own), 0
    return _gathered(best, whole, 0.0)


class _Placed(NamedTuple):
    """Encoded references on the devices; `shifted` is `|v|^2 - 2 reach error`."""

    values: jax.Array
    scale: jax.Array
    shifted: jax.Array
    error: jax.Array
    norm: jax.Array
    total: jax.Array
    bias: jax.Array

    @classmethod
    def of(cls, rows: encode.Encoded, size: int, reach: float) -> "_Placed":
        parts = rows._replace(squared=encode.shifted(rows, reach))
        return cls(*(parallel.place_shards(_padded(part, size)) for part in parts))


def _blocks(count: int, plan: Plan) -> int:
    return -(-count // plan.reference_rows)


def _padded(rows: np.ndarray, count: int) -> np.ndarray:
    if len(rows) == count:
        return rows
    out = encode.aligned((count, *rows.shape[1:]), rows.dtype)
    out[: len(rows)] = rows
    out[len(rows) :] = 0
    return out


def _share(
    references: Rows, plan: Plan, number: int, columns: slice = slice(None)
) -> tuple[np.ndarray, int]:
    """The rows of block `number` that this process takes, and how many zero rows fill them up to."""
    share = parallel.process_rows(plan.reference_rows)
    first, count = number * plan.reference_rows, len(references)
    rows = slice(min(first + share.start, count), min(first + share.stop, count))
    return references(rows, columns), share.stop - share.start


class Best(NamedTuple):
    """A device's best so far, `(q, kept)`, and the gallery's extremes, `(1,)`.

    `keys` are squared distances less `|q|^2` and `2 reach error`; `error` is the references' own.
    """

    keys: jax.Array
    indices: jax.Array
    error: jax.Array
    least_error: jax.Array
    most_error: jax.Array
    norm: jax.Array


def _empty(plan: Plan) -> Best:
    local = parallel.local_device_count()
    shape = (local * plan.query_rows, plan.kept)
    zeros, most = np.zeros(local, np.float32), np.full(local, np.inf, np.float32)
    kept = (
        np.full(shape, np.inf, np.float32),
        np.zeros(shape, np.int32),
        np.zeros(shape, np.float32),
    )
    return Best(*(parallel.place_shards(part) for part in (*kept, most, zeros, zeros)))


@functools.cache
def _products() -> Callable:
    return parallel.map_shards(product.dot, (WHOLE, SPLIT))


@functools.cache
def _step(count: int, parts: int) -> Callable:
    """A function that multiplies and merges one block of references, one part of the queries at a time."""

    def step(best: Best, values, scale, bias, rows: _Placed, first):
        def one(part):
            kept, values, scale, bias = part
            products = product.dot(values, rows.values)
            if values.dtype == jnp.uint8:
                products -= product.OFFSET * rows.total[None, :]
            if products.dtype == jnp.int32:
                # One scale after the other: their own product may be too small for float32.
                products = products.astype(jnp.float32) - bias[:, None] - rows.bias[None, :]
                products = products * scale[:, None] * rows.scale[None, :]
            return _merge(kept, products, rows, first, count)

        cut = (best[:3], values, scale, bias)
        cut = jax.tree.map(lambda x: x.reshape(parts, -1, *x.shape[1:]), cut)
        kept = (x.reshape(-1, *x.shape[2:]) for x in jax.lax.map(one, cut))
        return Best(*kept, *_extremes(best, rows, first, count))

    return parallel.map_shards(step, (SPLIT, WHOLE, WHOLE, WHOLE, SPLIT, WHOLE), donate=(0,))


@functools.cache
def _merge_columns(count: int) -> Callable:
    """`_step` for given float32 products and squared norms."""

    def step(best: Best, products, squared, first):
        zeros = jnp.zeros_like(squared)
        rows = _Placed(None, None, squared, zeros, jnp.sqrt(squared), None, None)
        kept = _merge(best[:3], products, rows, first, count)
        return Best(*kept, *_extremes(best, rows, first, count))

    return parallel.map_shards(step, (SPLIT, SPLIT, SPLIT, WHOLE), donate=(0,))


def _places(size: int, first) -> jax.Array:
    return first + parallel.shard_number() * size + jnp.arange(size, dtype=jnp.int32)


def _extremes(best: Best, rows: _Placed, first, count: int):
    """Smallest and largest error and the largest norm; NaN and infinity pass to the final check."""
    here = _places(len(rows.error), first) < count
    least = jnp.where(here, rows.error, jnp.inf).min()
    return (
        jnp.minimum(best.least_error, least),
        jnp.maximum(best.most_error, rows.error.max()),
        jnp.maximum(best.norm, rows.norm.max()),
    )


def _merge(kept, products, rows: _Placed, first, count: int):
    """Merges one block's keys into the best; padding is infinitely far away."""
    best, indices, error = kept
    places = _places(len(rows.shifted), first)
    shifted = jnp.where(places < count, rows.shifted, jnp.inf)
    width = best.shape[1]
    # |q|^2 does not change the order.
    keys, columns = _smallest(shifted[None, :] - 2 * products, min(width, len(shifted)))
    keys = jnp.concatenate([best, keys], axis=1)
    indices = jnp.concatenate([indices, places[columns]], axis=1)
    error = jnp.concatenate([error, rows.error[columns]], axis=1)
    keys, order = jax.lax.top_k(-keys, width)
    return -keys, *(jnp.take_along_axis(x, order, axis=1) for x in (indices, error))


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


def _gathered(best: Best, own: encode.Encoded, reach: float) -> Candidates:
    """Merges the best of all devices into lower bounds of the true distances."""
    *kept, least, most, norm = (parallel.collect(part) for part in best)
    kept = _nearest_of_devices(kept, len(own.squared))
    extremes = least.min(), most.max(), norm.max()
    return bounded(kept, beyond(kept[0].max(axis=1), extremes, own, reach), extremes, own, reach)


def _nearest_of_devices(kept, n: int) -> list[np.ndarray]:
    """Keys, indices and errors `(n, kept)` of n queries, over all devices."""
    width, devices = kept[0].shape[1], parallel.device_count()
    kept = [
        x.reshape(devices, -1, width).transpose(1, 0, 2).reshape(-1, devices * width)[:n]
        for x in kept
    ]
    if devices > 1:
        order = np.argsort(kept[0], axis=1, kind="stable")[:, :width]
        kept = [np.take_along_axis(x, order, axis=1) for x in kept]
    return kept
