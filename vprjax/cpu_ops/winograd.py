"""3x3 convolutions of stride 1 for CPUs with 4 of their 9 multiplications: Winograd's F(2x2, 3x3).

`y = A^T [G k G^T * B^T d B] A` turns each 4x4 tile `d` of the input into 2x2 outputs (Lavin & Gray 2016,
arXiv:1509.09308). It costs sixteen matrix products over the channels, one per entry of a tile. The factors
are 1 and 1/2 and the sums shorter than a stock convolution's, so that the values are at least as near to
float64's. Blocks of tiles stay in the cache between the steps.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

_INPUT = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]])  # B^T
_KERNEL = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])  # G
_OUTPUT = np.array([[1, 1, 1, 0], [0, 1, -1, -1]])  # A^T

# Most tiles per block: the fastest from 200 to 6,000 for the layers of VGG16 and ResNet50.
BLOCK_TILES = 2048

# Multiplications per tap of a stock convolution below which compilation costs more than it saves.
LEAST_WORK = 1 << 24

_Pads = tuple[tuple[int, int], ...]
_Planes = list[list[jax.Array]]


def pays(x: jax.Array, kernel: jax.Array, strides: Sequence[int], pads: _Pads) -> bool:
    """Whether a convolution is 3x3 of stride 1 in float32, and large enough to be faster here."""
    kh, kw, c, o = kernel.shape
    if (kh, kw, *strides) != (3, 3, 1, 1) or not x.dtype == kernel.dtype == jnp.float32:
        return False
    h, w = _output_size(x, pads)
    return min(c, o) >= 32 and len(x) * h * w * c * o >= LEAST_WORK


def convolve(x: jax.Array, kernel: jax.Array, pads: _Pads, precision) -> jax.Array:
    """The 3x3 convolution of stride 1. Shapes: `(b, h, w, c), (3, 3, c, o) -> (b, h', w', o)`."""
    (h, w), b = _output_size(x, pads), len(x)
    across = -(-w // 2)
    images, rows = _shares(b, -(-h // 2), across)
    groups, bands = -(-b // images), -(-h // (2 * rows))
    size = (groups * images, 2 * rows * bands + 2, 2 * across + 2)
    before = (0, pads[0][0], pads[1][0])
    edges = [(n, whole - n - old, 0) for n, whole, old in zip(before, size, x.shape, strict=False)]
    zero, none = jnp.zeros((), x.dtype), (0, 0, 0)
    tall = lax.pad(x, zero, (*edges[:2], none, none))
    taps = [[kernel[i, j] for j in range(3)] for i in range(3)]
    kernels = _transform(_KERNEL, taps)

    def block(number):
        at = (number // bands * images, number % bands * 2 * rows, 0, 0)
        part = lax.dynamic_slice(tall, at, (images, 2 * rows + 2, *x.shape[2:]))
        # Padding here copies the slice into the cache; else XLA reads it from the whole, twice as slowly.
        part = lax.pad(part, zero, (none, none, edges[2], none))
        return _untiled(_transform(_OUTPUT, _products(_tiles(part), kernels, precision)))

    y = lax.map(block, jnp.arange(groups * bands)) if groups * bands > 1 else block(0)
    return y.reshape(groups * images, 2 * rows * bands, 2 * across, -1)[:b, :h, :w]


def _output_size(x: jax.Array, pads: _Pads) -> tuple[int, int]:
    return x.shape[1] + sum(pads[0]) - 2, x.shape[2] + sum(pads[1]) - 2


def _shares(b: int, down: int, across: int) -> tuple[int, int]:
    """Images per block and rows of tiles per image: the largest equal blocks that fit."""
    fit = max(1, BLOCK_TILES // across)
    if fit < down:
        return 1, -(-down // -(-down // fit))
    return -(-b // -(-b // (fit // down))), down


def _tiles(x: jax.Array) -> _Planes:
    """The sixteen entries of all transformed 4x4 tiles, `(b, rows, across, c)` each."""
    b, h, w, c = x.shape
    lines = [lax.slice(x, (0, i, 0, 0), (b, h - 3 + i, w, c), (1, 2, 1, 1)) for i in range(4)]
    out = []
    for weights in _INPUT:
        line = _sum(weights, lines)
        ends = (b, h // 2 - 1, w - 3, c)
        entries = [
            lax.slice(line, (0, 0, j, 0), (b, ends[1], ends[2] + j, c), (1, 1, 2, 1))
            for j in range(4)
        ]
        out.append([_sum(weights, entries) for weights in _INPUT])
    return out


def _products(tiles: _Planes, kernels: _Planes, precision) -> _Planes:
    def product(tile, kernel):
        return lax.dot_general(tile, kernel, (((3,), (0,)), ((), ())), precision=precision)

    rows = zip(tiles, kernels, strict=True)
    return [[product(*pair) for pair in zip(*row, strict=True)] for row in rows]


def _untiled(planes: _Planes) -> jax.Array:
    """Interleaves `2 x 2` planes: `(b, rows, across, o)` each -> `(b, 2 rows, 2 across, o)`."""
    b, rows, across, o = planes[0][0].shape
    lines = [jnp.stack(row, axis=3).reshape(b, rows, 2 * across, o) for row in planes]
    return jnp.stack(lines, axis=2).reshape(b, 2 * rows, 2 * across, o)


def _transform(matrix: np.ndarray, planes: _Planes) -> _Planes:
    """`matrix planes matrix^T`."""
    half = [[_sum(row, column) for row in matrix] for column in zip(*planes, strict=True)]
    return [[_sum(row, line) for row in matrix] for line in zip(*half, strict=True)]


def _sum(weights: np.ndarray, terms: Sequence[jax.Array]) -> jax.Array:
    """The weighted sum, without products by 0 and 1, which XLA does not remove."""
    total = None
    for weight, term in zip(weights.tolist(), terms, strict=True):
        if weight:
            part = term if abs(weight) == 1 else term * np.float32(abs(weight))
            if total is None:
                total = part if weight > 0 else -part
            else:
                total = total + part if weight > 0 else total - part
    return total
