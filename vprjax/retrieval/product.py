"""Matrix products of descriptors and their codes, and how fast this processor takes them."""

import functools
import time

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Primitive
from jax.interpreters import mlir
from jaxlib.mlir import ir
from jaxlib.mlir.dialects import stablehlo

from vprjax.runtime import parallel

OFFSET = 128  # from int8 to the uint8 of the same order
ROWS, DIMENSIONS = 1024, 2048  # of the products that are timed
ROUNDS = 5
GROUP = 8  # keys per minimum, whose partition bounds the smallest keys


def dot(queries: jax.Array, references: jax.Array) -> jax.Array:
    """Products `(q, m), (r, m) -> (q, r)`: int32 of whole numbers, else float32 at highest precision.

    Queries in uint8 meet references in int8.
    """
    if queries.dtype == jnp.uint8:
        return _mixed.bind(queries, references)
    whole = jnp.issubdtype(queries.dtype, jnp.integer)
    return jax.lax.dot_general(
        queries,
        references,
        (((1,), (1,)), ((), ())),
        precision=jax.lax.Precision.HIGHEST,
        preferred_element_type=jnp.int32 if whole else jnp.float32,
    )


# A processor with VNNI multiplies uint8 by int8; `jax.lax.dot_general` would widen both to int32 first.
_mixed = Primitive("uint8_int8_dot")


@_mixed.def_abstract_eval
def _shape(queries, references):
    return jax.core.ShapedArray((queries.shape[0], references.shape[0]), jnp.int32)


def _lower(ctx, queries, references):
    dimensions = stablehlo.DotDimensionNumbers.get(
        lhs_batching_dimensions=[],
        rhs_batching_dimensions=[],
        lhs_contracting_dimensions=[1],
        rhs_contracting_dimensions=[1],
    )
    kind = ir.RankedTensorType.get(ctx.avals_out[0].shape, ir.IntegerType.get_signless(32))
    return [stablehlo.dot_general(kind, queries, references, dimensions)]


mlir.register_lowering(_mixed, _lower, platform="cpu")


def whole_numbers(values: np.ndarray) -> np.ndarray:
    """Values of queries as the faster product takes them: int8 may become uint8, in the same memory."""
    if values.dtype != np.int8 or fastest_whole() != "uint8":
        return values
    return offset(values, values.view(np.uint8))


def excess(values: np.ndarray, rows) -> np.ndarray | None:
    """What products of `whole_numbers`'s `values` hold too much per reference, `(r,)` int32.

    It is the references' `bias` in whole numbers and, with uint8, what `OFFSET` adds; it may wrap around as
    products do.
    """
    if values.dtype not in (np.uint8, np.int8):
        return None
    with np.errstate(invalid="ignore"):  # the scan refuses what is not finite
        bias = np.rint(rows.bias).astype(np.int32)
    return bias + OFFSET * rows.total if values.dtype == np.uint8 else bias


def offset(values: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """The uint8 values of int8 `values` plus `OFFSET`, in `out` if there is one."""
    return np.bitwise_xor(values.view(np.uint8), np.uint8(OFFSET), out=out)


of_rows = jax.jit(dot)


@jax.jit
def keys(own, values, rows, placed, shifted, excess):
    """Keys `(q, r)` float32 that a scan orders by, and the least `(q, groups)` of each group of them.

    A group holds the keys of every `groups`-th reference, at most `GROUP`. One program multiplies, scales
    and looks for minima: passes of their own over the keys take as long as a product of few dimensions.

    Args:
      own: `scale` and `bias` of the queries.
      values: theirs, of `whole_numbers`.
      rows: -2 times the references' `scale`.
      placed: their values.
      shifted: their part of the keys.
      excess: what products hold too much for them, or None.
    """
    products, (scale, bias) = dot(values, placed), own
    if excess is None:
        found = shifted[None] - 2 * products
    else:
        # One scale after the other: their own product may be too small for float32.
        whole = (products - excess[None]).astype(jnp.float32) - bias[:, None]
        found = whole * rows[None] * scale[:, None] + shifted[None]
    n, m = found.shape
    groups = -(-m // GROUP)
    wide = jnp.pad(found, ((0, 0), (0, groups * GROUP - m)), constant_values=jnp.inf)
    return found, wide.reshape(n, GROUP, groups).min(axis=1)


@functools.cache
def times() -> dict[str, float]:
    """Time of products of "bfloat16", "int8" and "uint8" on this processor, float32's being 1."""
    rows = np.random.default_rng(0).normal(size=(ROWS, DIMENSIONS)).astype(np.float32)
    whole = np.clip(np.rint(40 * rows), -127, 127).astype(np.int8)
    sides = {
        "float32": (rows, rows),
        "bfloat16": (rows.astype(jnp.bfloat16), rows.astype(jnp.bfloat16)),
        "int8": (whole, whole),
        "uint8": (offset(whole), whole),
    }
    product, seconds = jax.jit(dot), {}
    for name, pair in sides.items():
        placed = [jnp.asarray(side) for side in pair]
        product(*placed).block_until_ready()
        for _ in range(ROUNDS):
            start = time.perf_counter()
            product(*placed).block_until_ready()
            took = time.perf_counter() - start
            seconds[name] = min(seconds.get(name, took), took)
    return {name: took / seconds["float32"] for name, took in seconds.items()}


def fastest_whole() -> str:
    """The faster product of int8 codes: "uint8" or "int8"; several processes must run one program."""
    if jax.default_backend() != "cpu" or parallel.process_count() > 1:
        return "int8"
    found = times()
    return min(("uint8", "int8"), key=found.__getitem__)
