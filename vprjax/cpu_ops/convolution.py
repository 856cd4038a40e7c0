"""`jax.lax.conv_general_dilated` for CPUs: the same values in less time.

XLA's CPU backend spends nine multiplications per output of a 3x3 convolution. Its weight gradient reaches a
fraction of the processor's speed, and its depthwise convolution even less. This module instead computes

- a 3x3 convolution of stride 1 in float32, and both its gradients, by Winograd's method (`winograd`);
- any other ordinary convolution by the stock function;
- any other ordinary convolution's weight gradient as a sum of matrix products of the shifted input with the
  output's gradient, a few rows of the image at a time;
- a 1x1 convolution as one matrix product;
- a depthwise convolution as a sum of shifted multiply-adds, which XLA fuses into one loop.

Pass it to `flax.linen.Conv(conv_general_dilated=...)` on a CPU; a TPU or GPU does best with the stock one.
"""

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence

import jax
import jax.numpy as jnp
from jax import lax

from vprjax.cpu_ops import winograd

_NHWC_HWIO = lax.ConvDimensionNumbers((0, 3, 1, 2), (3, 2, 0, 1), (0, 3, 1, 2))

# Options of the stock function that the fast ways support.
_OPTIONS = {
    "lhs_dilation",
    "rhs_dilation",
    "dimension_numbers",
    "feature_group_count",
    "batch_group_count",
    "precision",
}

# Most output positions of a block that stays in a core's cache while it shifts.
BLOCK_POSITIONS = 2048

# With fewer channels a matrix product per tap is too thin; one per kernel row replaces it. Up to so many,
# the transforms of Winograd's weight gradient cost more than they save.
FEW_CHANNELS = 128

_Pads = tuple[tuple[int, int], ...]


def conv_general_dilated(
    lhs: jax.Array,
    rhs: jax.Array,
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    **options,
) -> jax.Array:
    """The convolution `jax.lax.conv_general_dilated` computes, with fast gradients on a CPU.

    NHWC images and HWIO kernels, ordinary or depthwise (one kernel per channel), are fast without
    dilation or negative padding; the stock function computes anything else. `options` are the stock
    function's. The fast ways have no forward-mode derivative.

    Shapes: `(b, h, w, c), (kh, kw, c or 1, o) -> (b, h', w', o)`. Raises: what the stock one does.
    """
    stock = functools.partial(
        lax.conv_general_dilated, window_strides=window_strides, padding=padding, **options
    )
    out = jax.eval_shape(stock, lhs, rhs)  # also refuses what the stock function refuses
    if 0 in out.shape or not _is_plain(lhs, rhs, options):
        return stock(lhs, rhs)
    strides = tuple(window_strides)
    if isinstance(padding, str):
        padding = lax.padtype_to_pads(lhs.shape[1:3], rhs.shape[:2], strides, padding)
    pads = tuple((int(low), int(high)) for low, high in padding)
    if min(map(min, pads)) < 0:
        return stock(lhs, rhs)
    groups, precision = options.get("feature_group_count", 1), options.get("precision")
    if groups == 1:
        if rhs.shape[:2] == (1, 1) and pads == ((0, 0), (0, 0)):
            return _pointwise(lhs, rhs, strides, precision)
        return _ordinary(lhs, rhs, strides, pads, precision)
    if groups == lhs.shape[3] == rhs.shape[3]:
        return _depthwise(lhs, rhs, strides, pads)
    return stock(lhs, rhs)


def _is_plain(lhs: jax.Array, rhs: jax.Array, options: dict) -> bool:
    """Whether operands are NHWC and HWIO, without dilation and without options unknown here."""
    dilations = (options.get(name) or (1,) for name in ("lhs_dilation", "rhs_dilation"))
    unknown = any(options[name] is not None for name in options.keys() - _OPTIONS)
    if lhs.ndim != 4 or {1} != {*itertools.chain(*dilations)} or unknown:
        return False
    numbers = lax.conv_dimension_numbers(lhs.shape, rhs.shape, options.get("dimension_numbers"))
    return numbers == _NHWC_HWIO and options.get("batch_group_count", 1) == 1


def _pointwise(x: jax.Array, kernel: jax.Array, strides: tuple[int, ...], precision) -> jax.Array:
    x = lax.slice(x, (0, 0, 0, 0), x.shape, (1, *strides, 1))
    return _matrix_product(x, kernel[0, 0], precision)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _matrix_product(x: jax.Array, kernel: jax.Array, precision) -> jax.Array:
    return lax.dot_general(x, kernel, (((3,), (0,)), ((), ())), precision=precision)


def _product_forward(x, kernel, precision):
    return _matrix_product(x, kernel, precision), (x, kernel)


def _product_backward(precision, residuals, gradient):
    x, kernel = residuals
    c, o = kernel.shape
    to_x = lax.dot_general(gradient, kernel, (((3,), (1,)), ((), ())), precision=precision)
    flat, other = x.reshape(-1, c), gradient.reshape(-1, o)
    narrow, wide = (flat, other) if c <= o else (other, flat)
    # XLA multiplies `(m, k) (k, n)` fastest. The barriers keep it from merging the transposes into it.
    turned = lax.optimization_barrier(narrow.T)
    kind = jnp.promote_types(x.dtype, jnp.float32)
    product = lax.dot(turned, wide, precision=precision, preferred_element_type=kind)
    to_kernel = product if c <= o else lax.optimization_barrier(product).T
    return to_x, to_kernel.astype(kernel.dtype)


_matrix_product.defvjp(_product_forward, _product_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _ordinary(
    x: jax.Array, kernel: jax.Array, strides: tuple[int, ...], pads: _Pads, precision
) -> jax.Array:
    if winograd.pays(x, kernel, strides, pads):
        return winograd.convolve(x, kernel, pads, precision)
    return _stock(x, kernel, strides, pads, precision)


def _stock(x, kernel, strides, pads, precision) -> jax.Array:
    return lax.conv_general_dilated(
        x, kernel, strides, pads, dimension_numbers=_NHWC_HWIO, precision=precision
    )


def _ordinary_forward(x, kernel, strides, pads, precision):
    return _ordinary(x, kernel, strides, pads, precision), (x, kernel)


def _ordinary_backward(strides, pads, precision, residuals, gradient):
    x, kernel = residuals
    to_x = _ordinary_to_x(x, kernel, gradient, strides, pads, precision)
    if min(kernel.shape[2:]) > FEW_CHANNELS and winograd.pays(x, kernel, strides, pads):
        return to_x, winograd.kernel_gradient(x, gradient, pads, precision)

    def of_block(padded, gradient):
        return _ordinary_to_kernel(padded, gradient, kernel.shape, strides, precision)

    to_kernel = _sum_over_blocks(of_block, _pad(x, pads), gradient, kernel.shape[:2], strides)
    if _gradient_first(kernel.shape):
        to_kernel = jnp.swapaxes(to_kernel, 1, 2)
    return to_x, to_kernel.reshape(kernel.shape).astype(kernel.dtype)


def _ordinary_to_x(x, kernel, gradient, strides, pads, precision) -> jax.Array:
    """The gradient convolved with the flipped kernel, under the complement of the input's padding."""
    rest = tuple((2 - low, 2 - high) for low, high in pads)
    if winograd.pays(gradient, kernel, strides, rest):
        return winograd.convolve(gradient, kernel, rest, precision, turned=True)
    stock = functools.partial(_stock, strides=strides, pads=pads, precision=precision)
    return jax.linear_transpose(lambda x: stock(x, kernel), x)(gradient)[0]


_ordinary.defvjp(_ordinary_forward, _ordinary_backward)


def _ordinary_to_kernel(padded, gradient, kernel_shape, strides, precision) -> jax.Array:
    """The weight gradient `(kh kw, c, o)`, with few channels `(kh, kw c, o)`; see `_gradient_first`."""
    kh, kw, c, _ = kernel_shape
    size = gradient.shape[1:3]
    dot = functools.partial(
        lax.dot_general,
        dimension_numbers=(((0, 1, 2), (0, 1, 2)), ((), ())),
        precision=precision,
        preferred_element_type=jnp.promote_types(padded.dtype, jnp.float32),
    )
    if c >= FEW_CHANNELS:
        taps = _taps(padded, (kh, kw), size, strides)
    else:
        wide = (padded.shape[1], size[1])
        row = jnp.concatenate(list(_taps(padded, (1, kw), wide, (1, strides[1]))), axis=3)
        taps = _taps(row, (kh, 1), size, (strides[0], 1))
    if _gradient_first(kernel_shape):
        return jnp.stack([dot(gradient, tap) for tap in taps])
    return jnp.stack([dot(tap, gradient) for tap in taps])


def _gradient_first(kernel_shape: Sequence[int]) -> bool:
    """Whether the gradient is a product's first factor, which swaps the last two axes.

    XLA is faster with the wider factor second. It merges a transpose of one product back into that product,
    so that the swap waits for the sum.
    """
    _, kw, c, o = kernel_shape
    return c >= FEW_CHANNELS or kw * c >= o


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _depthwise(x: jax.Array, kernel: jax.Array, strides: tuple[int, ...], pads: _Pads) -> jax.Array:
    kh, kw, _, c = kernel.shape
    padded = _pad(x, pads).astype(jnp.promote_types(x.dtype, jnp.float32))
    size = [(padded.shape[axis + 1] - kernel.shape[axis]) // strides[axis] + 1 for axis in (0, 1)]
    weights = kernel.reshape(kh * kw, 1, 1, 1, c)
    taps = _taps(padded, (kh, kw), size, strides)
    return sum(tap * weight for tap, weight in zip(taps, weights, strict=True)).astype(x.dtype)


def _depthwise_forward(x, kernel, strides, pads):
    return _depthwise(x, kernel, strides, pads), (x, kernel)


def _depthwise_backward(strides, pads, residuals, gradient):
    x, kernel = residuals
    (to_x,) = jax.linear_transpose(lambda x: _depthwise.fun(x, kernel, strides, pads), x)(gradient)
    kind = jnp.promote_types(x.dtype, jnp.float32)

    def of_block(padded, gradient):
        ones = jnp.ones(gradient[..., 0].size, kind)  # a product sums faster than XLA's reduction
        padded, gradient = padded.astype(kind), gradient.astype(kind)
        taps = _taps(padded, kernel.shape[:2], gradient.shape[1:3], strides)
        return jnp.stack([ones @ (tap * gradient).reshape(len(ones), -1) for tap in taps])

    to_kernel = _sum_over_blocks(of_block, _pad(x, pads), gradient, kernel.shape[:2], strides)
    return to_x, to_kernel.reshape(kernel.shape).astype(kernel.dtype)


_depthwise.defvjp(_depthwise_forward, _depthwise_backward)


def _sum_over_blocks(
    of_block: Callable, padded: jax.Array, gradient: jax.Array, kernel: Sequence[int], strides
) -> jax.Array:
    """Sums `of_block(padded, gradient)` over blocks of images, or of one image's rows."""
    b, h, w, _ = gradient.shape
    images, rows = _block(b, h, w)
    if (images, rows) == (b, h):
        return of_block(padded, gradient)
    bands = h // rows
    read = (images, (rows - 1) * strides[0] + kernel[0], *padded.shape[2:])

    def add(number, total):
        image, band = number // bands * images, number % bands * rows
        block = lax.dynamic_slice(padded, (image, band * strides[0], 0, 0), read)
        at = lax.dynamic_slice(gradient, (image, band, 0, 0), (images, rows, *gradient.shape[2:]))
        return total + of_block(block, at)

    one = (
        jax.ShapeDtypeStruct(read, padded.dtype),
        jax.ShapeDtypeStruct((images, rows, *gradient.shape[2:]), gradient.dtype),
    )
    total = jax.eval_shape(of_block, *one)
    start = jnp.zeros(total.shape, total.dtype)
    return lax.fori_loop(0, b // images * bands, add, start)


def _block(b: int, h: int, w: int) -> tuple[int, int]:
    """Images per block and rows per image: the most that fit, in equal blocks."""
    whole = [n for n in range(1, b + 1) if b % n == 0 and n * h * w <= BLOCK_POSITIONS]
    if whole:
        return max(whole), h
    return 1, max(
        (n for n in range(1, h + 1) if h % n == 0 and n * w <= BLOCK_POSITIONS), default=1
    )


def _pad(x: jax.Array, pads: _Pads) -> jax.Array:
    return lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), *((*p, 0) for p in pads), (0, 0, 0)))


def _taps(
    padded: jax.Array, kernel: Sequence[int], size: Sequence[int], strides: Sequence[int]
) -> Iterator[jax.Array]:
    """Yields the input `(b, *size, c)` that each tap of the kernel meets, row by row."""
    b, _, _, c = padded.shape
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            bottom = i + (size[0] - 1) * strides[0] + 1
            right = j + (size[1] - 1) * strides[1] + 1
            yield lax.slice(padded, (0, i, j, 0), (b, bottom, right, c), (1, *strides, 1))
