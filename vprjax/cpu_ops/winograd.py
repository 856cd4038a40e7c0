"""3x3 convolutions of stride 1 for CPUs with 4 of their 9 multiplications: Winograd's F(2x2, 3x3).

`y = A^T [G k G^T * B^T d B] A` turns each 4x4 tile `d` of the input into 2x2 outputs (Lavin & Gray 2016,
arXiv:1509.09308). It costs sixteen matrix products over the channels, one per entry of a tile. The factors
are 1 and 1/2 and the sums shorter than a stock convolution's, so that the values are at least as near to
float64's. Blocks of tiles stay in the cache between the steps.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence

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


def convolve(
    x: jax.Array, kernel: jax.Array, pads: _Pads, precision, turned: bool = False
) -> jax.Array:
    """The 3x3 convolution of stride 1. Shapes: `(b, h, w, c), (3, 3, c, o) -> (b, h', w', o)`.

    With `turned` the kernel is `(3, 3, o, c)` and enters upside down, as an input gradient needs it.
    """
    (h, w), b = _output_size(x, pads), len(x)
    blocks = _Blocks.of(x, pads)
    taps = [[kernel[i, j] for j in range(3)] for i in range(3)]
    kernels = _transform(_KERNEL, [row[::-1] for row in taps[::-1]] if turned else taps)
    product = functools.partial(
        lax.dot_general,
        # A transpose of the kernel itself would be read across the memory by every transform.
        dimension_numbers=(((3,), (1 if turned else 0,)), ((), ())),
        precision=precision,
    )
    tall = blocks.padded_down(x, pads)

    def block(number):
        tiles = _tiles(blocks.read(tall, number, pads))
        return _untiled(_transform(_OUTPUT, _each(product, tiles, kernels)))

    count = blocks.groups * blocks.bands
    y = lax.map(block, jnp.arange(count)) if count > 1 else block(0)
    size = (blocks.groups * blocks.images, 2 * blocks.rows * blocks.bands, 2 * blocks.across, -1)
    return y.reshape(size)[:b, :h, :w]


def kernel_gradient(x: jax.Array, gradient: jax.Array, pads: _Pads, precision) -> jax.Array:
    """The gradient of `convolve` for its kernel.

    Shapes: `(b, h, w, c), (b, h', w', o) -> (3, 3, c, o)`.
    """
    c, o = x.shape[3], gradient.shape[3]
    blocks = _Blocks.of(x, pads)
    tall = blocks.padded_down(x, pads)
    size = (blocks.groups * blocks.images, 2 * blocks.rows * blocks.bands, 2 * blocks.across)
    edges = [(0, whole - old, 0) for whole, old in zip(size, gradient.shape, strict=False)]
    whole = lax.pad(gradient, jnp.zeros((), gradient.dtype), (*edges, (0, 0, 0)))
    over = (((0, 1, 2), (0, 1, 2)), ((), ()))

    def product(tile, other):
        first, second = (other, tile) if c > o else (tile, other)  # XLA: the wider factor second
        return lax.dot_general(first, second, over, precision=precision)

    def of_block(number):
        at = (*blocks.start(number), 0, 0)
        part = lax.dynamic_slice(whole, at, (blocks.images, 2 * blocks.rows, 2 * blocks.across, o))
        planes = [[part[:, i::2, j::2] for j in range(2)] for i in range(2)]
        tiles = _tiles(blocks.read(tall, number, pads))
        return _each(product, tiles, _transform(_OUTPUT.T, planes))

    def add(number, total):
        return _each(jnp.add, total, of_block(number))

    total = lax.fori_loop(1, blocks.groups * blocks.bands, add, of_block(0))
    planes = _transform(_KERNEL.T, total)
    found = jnp.stack([jnp.stack(row) for row in planes])
    return jnp.swapaxes(found, 2, 3) if c > o else found


@dataclasses.dataclass(frozen=True)
class _Blocks:
    """How an output is cut: `groups` of `images`, each in `bands` of `rows` of `across` tiles."""

    images: int
    rows: int
    across: int
    groups: int
    bands: int

    @classmethod
    def of(cls, x: jax.Array, pads: _Pads) -> "_Blocks":
        """The largest equal blocks that fit, of the output of a convolution of `x`."""
        h, w = _output_size(x, pads)
        across = -(-w // 2)
        images, rows = _shares(len(x), -(-h // 2), across)
        return cls(images, rows, across, -(-len(x) // images), -(-h // (2 * rows)))

    def start(self, number: int) -> tuple[int, int]:
        """The first image and the first output row of a block."""
        return number // self.bands * self.images, number % self.bands * 2 * self.rows

    def padded_down(self, x: jax.Array, pads: _Pads) -> jax.Array:
        """The input with all images and rows that the blocks read."""
        none, top = (0, 0, 0), pads[0][0]
        below = 2 * self.rows * self.bands + 2 - top - x.shape[1]
        more = (0, self.groups * self.images - len(x), 0)
        return lax.pad(x, jnp.zeros((), x.dtype), (more, (top, below, 0), none, none))

    def read(self, tall: jax.Array, number: int, pads: _Pads) -> jax.Array:
        """A block's input `(images, 2 rows + 2, 2 across + 2, c)` from `padded_down`'s."""
        size = (self.images, 2 * self.rows + 2, *tall.shape[2:])
        part = lax.dynamic_slice(tall, (*self.start(number), 0, 0), size)
        # Padding here copies the slice into the cache; else XLA reads it from the whole, twice as slowly.
        none, left = (0, 0, 0), pads[1][0]
        right = 2 * self.across + 2 - left - tall.shape[2]
        return lax.pad(part, jnp.zeros((), part.dtype), (none, none, (left, right, 0), none))


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


def _each(function: Callable, first: _Planes, second: _Planes) -> _Planes:
    rows = zip(first, second, strict=True)
    return [[function(*pair) for pair in zip(*row, strict=True)] for row in rows]


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
