import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from vprjax.cpu_ops import convolution, winograd

SAME = ((1, 1), (1, 1))


def _operands(images, height, width, c=40, o=36):
    rng = np.random.default_rng(images * height + width)
    x = rng.standard_normal((images, height, width, c), np.float32)
    return x, rng.standard_normal((3, 3, c, o), np.float32)


def _float64(x, kernel, pads):
    """The convolution as a sum over the taps, in NumPy."""
    x = np.pad(x.astype(np.float64), ((0, 0), *pads, (0, 0)))
    h, w = x.shape[1] - 2, x.shape[2] - 2
    return sum(
        x[:, i : i + h, j : j + w] @ kernel[i, j].astype(np.float64)
        for i in range(3)
        for j in range(3)
    )


def _kernel_gradient64(x, cotangent, pads):
    x = np.pad(x.astype(np.float64), ((0, 0), *pads, (0, 0)))
    h, w = cotangent.shape[1:3]
    each = [
        [np.einsum("bhwc,bhwo->co", x[:, i : i + h, j : j + w], cotangent) for j in range(3)]
        for i in range(3)
    ]
    return np.array(each)


def _error(got, wanted):
    return np.abs(np.asarray(got) - wanted).max() / np.abs(wanted).max()


@pytest.mark.parametrize("pads", [SAME, ((0, 0), (0, 0)), ((2, 0), (1, 2))])
@pytest.mark.parametrize("size", [(1, 12, 8), (3, 13, 9), (2, 3, 4)])
def test_equals_float64_and_is_no_further_from_it_than_the_stock_convolution(size, pads):
    x, kernel = _operands(*size)
    wanted = _float64(x, kernel, pads)
    stock = lax.conv_general_dilated(
        x, kernel, (1, 1), pads, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    got = jax.jit(lambda x, k: winograd.convolve(x, k, pads, None))(x, kernel)
    assert got.shape == wanted.shape
    assert _error(got, wanted) <= min(1e-6, 1.5 * _error(stock, wanted))


# One tile a block; part of a row; rows of an image, the last block in part; images; all.
@pytest.mark.parametrize("tiles", [1, 3, 11, 36, 72, 100_000])
def test_the_block_size_does_not_matter(monkeypatch, tiles):
    x, kernel = _operands(5, 13, 9)
    monkeypatch.setattr(winograd, "BLOCK_TILES", tiles)
    got = jax.jit(lambda x, k: winograd.convolve(x, k, SAME, None))(x, kernel)
    assert _error(got, _float64(x, kernel, SAME)) <= 1e-6
    cotangent = np.random.default_rng(1).standard_normal(got.shape, np.float32)
    of_kernel = jax.jit(lambda x, g: winograd.kernel_gradient(x, g, SAME, None))(x, cotangent)
    assert _error(of_kernel, _kernel_gradient64(x, cotangent, SAME)) <= 1e-6


@pytest.mark.parametrize(
    ("pads", "c", "o"), [(((2, 0), (1, 2)), 33, 40), (((3, 0), (1, 1)), 40, 33)]
)
def test_the_kernel_gradient_equals_float64(pads, c, o):
    x, _ = _operands(3, 6, 7, c, o)
    h, w = (n + sum(pad) - 2 for n, pad in zip(x.shape[1:3], pads, strict=True))
    cotangent = np.random.default_rng(1).standard_normal((3, h, w, o), np.float32)
    got = jax.jit(lambda x, g: winograd.kernel_gradient(x, g, pads, None))(x, cotangent)
    assert got.shape == (3, 3, c, o)
    assert _error(got, _kernel_gradient64(x, cotangent, pads)) <= 1e-6


def test_an_image_meets_only_itself():
    x, kernel = _operands(5, 13, 9)
    alone = winograd.convolve(x[2:3], kernel, SAME, None)
    np.testing.assert_allclose(
        winograd.convolve(x, kernel, SAME, None)[2:3], alone, rtol=1e-5, atol=1e-4
    )


def _through_cpu_conv(x, kernel, padding, strides=(1, 1)):
    return convolution.conv_general_dilated(
        x, kernel, strides, padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


# With few channels the kernel's gradient is not Winograd's.
@pytest.mark.parametrize(
    ("pads", "few"), [(SAME, 16), (((0, 0), (2, 1)), 128), (((3, 0), (1, 1)), 16)]
)
def test_gradients_through_the_cpu_convolution(monkeypatch, pads, few):
    monkeypatch.setattr(winograd, "LEAST_WORK", 1)
    monkeypatch.setattr(convolution, "FEW_CHANNELS", few)
    x, kernel = _operands(4, 13, 9)

    def stock(x, kernel):
        return lax.conv_general_dilated(
            x, kernel, (1, 1), pads, dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    y, pullback = jax.vjp(jax.jit(lambda x, k: _through_cpu_conv(x, k, pads)), x, kernel)
    wanted, stock_pullback = jax.vjp(jax.jit(stock), x, kernel)
    assert _error(y, wanted) <= 2e-6
    cotangent = np.random.default_rng(1).standard_normal(y.shape, np.float32)
    for got, expected in zip(pullback(cotangent), stock_pullback(cotangent), strict=True):
        assert _error(got, expected) <= 1e-5


def _stock_convolutions(x, kernel, **options):
    """How many convolutions are left to XLA in the forward pass and in the input gradient."""
    convolve = lambda x: _through_cpu_conv(x, kernel, "SAME", **options)  # noqa: E731
    jaxpr = jax.make_jaxpr(lambda x: jax.vjp(convolve, x)[1](convolve(x)))(x)
    return str(jaxpr).count("conv_general_dilated[")


def test_where_it_is_used(monkeypatch):
    x, kernel = _operands(4, 13, 9)
    monkeypatch.setattr(winograd, "LEAST_WORK", x[..., 0].size * 40 * 36)
    assert _stock_convolutions(x, kernel) == 0
    assert _stock_convolutions(x, kernel, strides=(2, 2)) == 3
    assert _stock_convolutions(x[..., :31], kernel[:, :, :31]) == 3  # too thin a product
    assert _stock_convolutions(x[:1], kernel) == 3  # too little work
    half = (jnp.asarray(x, jnp.bfloat16), jnp.asarray(kernel, jnp.bfloat16))
    assert _stock_convolutions(*half) == 3  # its sums of inputs would be rounded to 8 bits
