"""Encodings that a scan compares in place of the descriptors, with the error of every row.

An encoding maps rows to values without moving any two apart, up to the `error` of each:
`|q - r| >= |v_q - v_r| - error_q - error_r`. One matrix product of values thus bounds all distances below.
An error is the norm of what the values leave out, measured row by row. The host encodes, as one pass
through its cache: XLA's reductions on a CPU take longer than the products.
"""

import math
import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

import ml_dtypes
import numpy as np

from vprjax.retrieval.threads import on_threads

BLOCK = 512  # dimensions rotated together, about: rotating all at once costs more than the search
ROTATED = 64  # rows rotated at once, at least
LANES = 512  # numbers per float32 sum; float64 adds up these sums
EPS = float(np.finfo(np.float32).eps)
CACHE_BYTES = 1 << 20  # of one thread and step: after shorter ones it waits for the interpreter
LEAST = 6  # rows at once, as NumPy's calls take longer than they do alone
TINY = 2.0**-124  # what a number too small for float32 may lose in a sum, per term
ALIGNED = 64  # bytes; a CPU device takes arrays that start at a multiple without a copy


class Encoded(NamedTuple):
    """Encoded rows.

    Attributes:
      values: `(n, m)` float32, bfloat16 or int8.
      scale: `(n,)` float32, what 1 in a row's `values` stands for.
      squared: `(n,)` float32, squared norms of `scale * values`; `codes` says what they are of int8.
      error: `(n,)` float32, at least the distance between the values and what they stand for, or `codes`'s.
      norm: `(n,)` float32, what rounding errors of distances grow with.
      total: `(n,)` int32, sums of int8 values; 0 for others.
      bias: `(n,)` float32, what products of int8 values hold too much for this row; 0 for others.
    """

    values: np.ndarray
    scale: np.ndarray
    squared: np.ndarray
    error: np.ndarray
    norm: np.ndarray
    total: np.ndarray
    bias: np.ndarray


def shifted(rows: Encoded, reach: float) -> np.ndarray:
    """`|v|^2 - 2 reach error` `(n,)`: the part of a reference in the key that a scan orders by."""
    return rows.squared - np.float32(2 * reach) * rows.error


def rounding(terms: int) -> float:
    """Relative error of a float32 sum of `terms` products, `8 sqrt(terms) eps`.

    The error is a random walk of size `sqrt(terms) eps`; 8 times that lies far out in its tail.
    """
    return 8 * math.sqrt(terms) * EPS


def squared_norms(rows: np.ndarray) -> np.ndarray:
    """Squared norms of float32 rows, `(..., d) -> (...)` float64, by sums of `LANES` numbers."""
    whole = rows.shape[-1] // LANES * LANES
    lanes, rest = rows[..., :whole].reshape(*rows.shape[:-1], -1, LANES), rows[..., whole:]
    return np.vecdot(lanes, lanes).sum(axis=-1, dtype=np.float64) + np.vecdot(rest, rest)


def float32(rows: np.ndarray) -> Encoded:
    """The rows `(n, d)` themselves."""
    out = empty(len(rows), 0, np.float32)
    out.error[:] = 0
    rows = np.ascontiguousarray(rows, np.float32)

    def some(part: slice) -> None:
        out.squared[part] = squared_norms(rows[part])
        out.norm[part] = np.sqrt(out.squared[part])

    by_parts(some, *rows.shape)
    return out._replace(values=rows)


def bfloat16(rows: np.ndarray, mean: np.ndarray) -> Encoded:
    """Rows minus `mean` `(d,)` in bfloat16: the shift keeps distances and makes rounding errors small."""
    out = empty(*rows.shape, ml_dtypes.bfloat16)

    def some(part: slice) -> None:
        left, rounded = buffers(part.stop - part.start, rows.shape[1])
        np.subtract(rows[part], mean, out=left)
        out.values[part] = left
        rounded[...] = out.values[part]
        squared = squared_norms(rounded)
        left -= rounded
        out.squared[part], out.error[part] = squared, _error(left, squared)
        out.norm[part] = np.sqrt(squared)

    by_parts(some, *rows.shape)
    return out


def rotated(rows: np.ndarray, mean: np.ndarray, bases: np.ndarray) -> Encoded:
    """Rows minus `mean` along the orthonormal `bases` `(blocks, width, m)`, and the norm of the rest.

    Each block of dimensions is projected onto its own basis; the values are bfloat16. With
    x = (inside, outside), `|q - r|^2 = |q_in - r_in|^2 + |q_out - r_out|^2
    >= |q_in - r_in|^2 + (|q_out| - |r_out|)^2`, so that (inside, |outside|) is an encoding.
    """
    blocks, width, m = bases.shape
    n, d = rows.shape
    out = empty(n, blocks * m + 1, ml_dtypes.bfloat16)

    def some(part: slice) -> None:
        left = np.zeros((part.stop - part.start, blocks * width), np.float32)
        left[:, :d] = rows[part] - mean
        squared = squared_norms(left)
        inside = np.einsum("nbi,bim->nbm", left.reshape(-1, blocks, width), bases, optimize=True)
        inside = inside.reshape(len(left), -1)
        outside = np.sqrt(np.maximum(squared - squared_norms(inside), 0))
        # Two sums' difference errs by `slack`, its root by slack / root or, near 0, sqrt(slack).
        slack = 2 * rounding(LANES) * squared
        root = np.minimum(slack / np.maximum(outside, TINY), np.sqrt(2 * slack))
        whole = np.concatenate([inside, outside[:, None].astype(np.float32)], axis=1)
        out.values[part] = whole
        rounded = out.values[part].astype(np.float32)
        out.squared[part] = squared_norms(rounded)
        out.norm[part] = np.sqrt(out.squared[part])
        whole -= rounded
        out.error[part] = _error(whole, squared) + (rounding(width) * np.sqrt(squared) + root)

    by_parts(some, n, d, ROTATED)
    return out


def joined(parts: Sequence[Encoded]) -> Encoded:
    """Several blocks of encoded rows, one after the other."""
    n, m = sum(len(part.values) for part in parts), parts[0].values.shape[1]
    values = aligned((n, m), parts[0].values.dtype)
    np.concatenate([part.values for part in parts], out=values)
    return Encoded(values, *(np.concatenate(some) for some in list(zip(*parts, strict=True))[1:]))


def _error(left: np.ndarray, squared: np.ndarray) -> np.ndarray:
    """Errors `(n,)` of values with these squared norms that leave out `left` `(n, d)`.

    The shift and the scaling round numbers of the values' own size.
    """
    missed = np.sqrt(squared_norms(left)) * (1 + rounding(LANES))
    missed += 4 * EPS * np.sqrt(squared) + math.sqrt(TINY * left.shape[1])
    return np.nextafter(missed.astype(np.float32), np.float32(np.inf))


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


def aligned(shape: tuple[int, ...], dtype) -> np.ndarray:
    """An empty array that a CPU device takes as it is."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    raw = np.empty(size + ALIGNED, np.uint8)
    first = -raw.ctypes.data % ALIGNED
    return raw[first : first + size].view(dtype).reshape(shape)


def empty(n: int, m: int, dtype) -> Encoded:
    """Room for `n` rows of `m` values, whose scale is 1 and which products hold as they are."""
    squared, error, norm = np.empty((3, n), np.float32)
    one, total, bias = np.ones(n, np.float32), np.zeros(n, np.int32), np.zeros(n, np.float32)
    return Encoded(aligned((n, m), dtype), one, squared, error, norm, total, bias)


_local = threading.local()


def buffers(n: int, d: int) -> np.ndarray:
    """Two arrays `(n, d)` of this thread: fresh memory per step costs more than the sums."""
    if getattr(_local, "buffer", np.empty(0)).size < 2 * n * d:
        _local.buffer = np.empty(2 * n * d, np.float32)
    return _local.buffer[: 2 * n * d].reshape(2, n, d)


def by_parts(some: Callable[[slice], None], n: int, d: int, least: int = LEAST) -> None:
    """Calls `some` on parts of the rows that fit a core's cache; infinities show in the norms."""
    step = max(least, CACHE_BYTES // (4 * d))

    def run(first: int) -> None:
        with np.errstate(invalid="ignore", over="ignore"):
            some(slice(first, min(first + step, n)))

    on_threads(run, range(0, n, step))
