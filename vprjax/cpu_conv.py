"""`jax.lax.conv_general_dilated` for CPUs: the same values, with gradients that are not slow.

XLA's CPU backend reaches its full speed in the forward pass and the input gradient of an ordinary
convolution, but a fraction of it in the weight gradient, and crawls through depthwise ones. Here

- an ordinary convolution is the stock one, but for its weight gradient, a sum of matrix products
  of the shifted input with the output's gradient;
- a 1x1 convolution is one matrix product;
- a depthwise convolution is a sum of shifted multiply-adds, which XLA fuses into one loop.

Give it to `flax.linen.Conv(conv_general_dilated=...)` on a CPU; on a TPU or GPU use the stock one.
"""

import functools
from collections.abc import Callable, Iterator, Sequence

import jax
import jax.numpy as jnp
from jax import lax

_NHWC_HWIO = lax.ConvDimensionNumbers((0, 3, 1, 2), (3, 2, 0, 1), (0, 3, 1, 2))

# A block of images with about this many output positions stays in the cache while it is shifted.
_BLOCK_POSITIONS = 4096

# With fewer channels (an image's 3) a matrix product per tap is too thin: one per kernel row.
_FEW_CHANNELS = 16

_Pads = tuple[tuple[int, int], ...]


def conv_general_dilated(
    lhs: jax.Array,
    rhs: jax.Array,
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers=None,
    feature_group_count: int = 1,
    batch_group_count: int = 1,
    precision=None,
    **others,
) -> jax.Array:
    """The convolution `jax.lax.conv_general_dilated` computes, with fast gradients on a CPU.

    Fast for NHWC images and HWIO kernels without dilation or negative padding, ordinary or
    depthwise (one kernel per channel); anything else goes to the stock function. Reverse mode
    only, except for 1x1 kernels.

    Shapes: `(b, h, w, c), (kh, kw, c or 1, o) -> (b, h', w', o)`. Raises: what the stock one does.
    """
    stock = functools.partial(
        lax.conv_general_dilated,
        window_strides=window_strides,
        padding=padding,
        lhs_dilation=lhs_dilation,
        rhs_dilation=rhs_dilation,
        dimension_numbers=dimension_numbers,
        feature_group_count=feature_group_count,
        batch_group_count=batch_group_count,
        precision=precision,
        **others,
    )
    out = jax.eval_shape(stock, lhs, rhs)  # also refuses what the stock function refuses
    dilated = {1} != {*(lhs_dilation or (1,)), *(rhs_dilation or (1,))}
    asked = any(value is not None for value in others.values())
    if lhs.ndim != 4 or dilated or batch_group_count != 1 or asked or 0 in out.shape:
        return stock(lhs, rhs)
    if lax.conv_dimension_numbers(lhs.shape, rhs.shape, dimension_numbers) != _NHWC_HWIO:
        return stock(lhs, rhs)
    strides = tuple(window_strides)
    if isinstance(padding, str):
        padding = lax.padtype_to_pads(lhs.shape[1:3], rhs.shape[:2], strides, padding)
    pads = tuple((int(low), int(high)) for low, high in padding)
    if min(map(min, pads)) < 0:
        return stock(lhs, rhs)
    if feature_group_count == 1:
        if rhs.shape[:2] == (1, 1) and pads == ((0, 0), (0, 0)):
            return _pointwise(lhs, rhs, strides, precision)
        return _ordinary(lhs, rhs, strides, pads, precision)
    if feature_group_count == lhs.shape[3] == rhs.shape[3]:
        return _depthwise(lhs, rhs, strides, pads)
    return stock(lhs, rhs)


def _pointwise(x: jax.Array, kernel: jax.Array, strides: tuple[int, ...], precision) -> jax.Array:
    x = lax.slice(x, (0, 0, 0, 0), x.shape, (1, *strides, 1))
    return lax.dot_general(x, kernel[0, 0], (((3,), (0,)), ((), ())), precision=precision)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _ordinary(
    x: jax.Array, kernel: jax.Array, strides: tuple[int, ...], pads: _Pads, precision
) -> jax.Array:
    return lax.conv_general_dilated(
        x, kernel, strides, pads, dimension_numbers=_NHWC_HWIO, precision=precision
    )


def _ordinary_forward(x, kernel, strides, pads, precision):
    return _ordinary(x, kernel, strides, pads, precision), (x, kernel)


def _ordinary_backward(strides, pads, precision, residuals, gradient):
    x, kernel = residuals
    stock = functools.partial(_ordinary.fun, strides=strides, pads=pads, precision=precision)
    (to_x,) = jax.linear_transpose(lambda x: stock(x, kernel), x)(gradient)

    def of_block(x, gradient):
        return _ordinary_to_kernel(x, gradient, kernel.shape, strides, pads, precision)

    to_kernel = _sum_over_blocks(of_block, x, gradient)
    if x.shape[3] >= _FEW_CHANNELS:
        to_kernel = jnp.swapaxes(to_kernel, 1, 2)
    return to_x, to_kernel.reshape(kernel.shape).astype(kernel.dtype)


_ordinary.defvjp(_ordinary_forward, _ordinary_backward)


def _ordinary_to_kernel(x, gradient, kernel_shape, strides, pads, precision) -> jax.Array:
    """`(kh kw, o, c)`, or `(kh, kw c, o)` where the channels are few."""
    kh, kw, c, _ = kernel_shape
    size = gradient.shape[1:3]
    dot = functools.partial(
        lax.dot_general,
        dimension_numbers=(((0, 1, 2), (0, 1, 2)), ((), ())),
        precision=precision,
        preferred_element_type=jnp.promote_types(x.dtype, jnp.float32),
    )
    x = _pad(x, pads)
    if c >= _FEW_CHANNELS:
        # The gradient in front is transposed once for all taps, and the product is larger.
        return jnp.stack([dot(gradient, tap) for tap in _taps(x, (kh, kw), size, strides)])
    height = x.shape[1]
    row = jnp.concatenate(list(_taps(x, (1, kw), (height, size[1]), (1, strides[1]))), axis=3)
    return jnp.stack([dot(tap, gradient) for tap in _taps(row, (kh, 1), size, (strides[0], 1))])


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

    def of_block(x, gradient):
        ones = jnp.ones(gradient[..., 0].size, kind)  # a product sums faster than XLA's reduction
        x, gradient = _pad(x, pads).astype(kind), gradient.astype(kind)
        taps = _taps(x, kernel.shape[:2], gradient.shape[1:3], strides)
        return jnp.stack([ones @ (tap * gradient).reshape(len(ones), -1) for tap in taps])

    to_kernel = _sum_over_blocks(of_block, x, gradient)
    return to_x, to_kernel.reshape(kernel.shape).astype(kernel.dtype)


_depthwise.defvjp(_depthwise_forward, _depthwise_backward)


def _sum_over_blocks(of_block: Callable, x: jax.Array, gradient: jax.Array) -> jax.Array:
    """`of_block(x, gradient)` summed over blocks of images small enough for the cache."""
    b, positions = x.shape[0], gradient.shape[1] * gradient.shape[2]
    fits = [n for n in range(1, b + 1) if b % n == 0 and n * positions <= _BLOCK_POSITIONS]
    images = max(fits, default=1)
    if images == b:
        return of_block(x, gradient)
    blocks = [v.reshape(b // images, images, *v.shape[1:]) for v in (x, gradient)]
    total = jax.eval_shape(of_block, blocks[0][0], blocks[1][0])
    return lax.scan(
        lambda total, block: (total + of_block(*block), None),
        jnp.zeros(total.shape, total.dtype),
        blocks,
    )[0]


def _pad(x: jax.Array, pads: _Pads) -> jax.Array:
    return lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), *((*p, 0) for p in pads), (0, 0, 0)))


def _taps(
    padded: jax.Array, kernel: Sequence[int], size: Sequence[int], strides: Sequence[int]
) -> Iterator[jax.Array]:
    """For each tap of the kernel, row by row, the input it meets: `(b, *size, c)`."""
    b, _, _, c = padded.shape
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            bottom = i + (size[0] - 1) * strides[0] + 1
            right = j + (size[1] - 1) * strides[1] + 1
            yield lax.slice(padded, (0, i, j, 0), (b, bottom, right, c), (1, *strides, 1))
