import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from vprjax.cpu_ops import convolution

NHWC = ("NHWC", "HWIO", "NHWC")

# kernel, strides, padding, channels in, channels out, feature groups; inputs are 13 x 9.
CASES = [
    # 1x1: matrix products
    ((1, 1), (1, 1), "SAME", 5, 7, 1),
    ((1, 1), (2, 2), "VALID", 20, 6, 1),
    ((1, 1), (2, 1), "SAME", 20, 6, 1),
    ((1, 1), (1, 1), [(1, 0), (0, 2)], 20, 6, 1),  # padded: not a plain product
    # few channels: a product per kernel row
    ((3, 3), (1, 1), "SAME", 3, 8, 1),
    ((3, 3), (2, 2), "SAME", 3, 8, 1),
    ((7, 7), (2, 2), [(3, 3), (3, 3)], 3, 8, 1),
    ((3, 2), (2, 1), [(0, 2), (1, 0)], 3, 8, 1),
    # many: a product per tap
    ((3, 3), (1, 1), "SAME", 20, 6, 1),
    ((3, 3), (2, 2), "SAME", 20, 6, 1),
    ((3, 3), (2, 2), [(1, 1), (1, 1)], 20, 6, 1),
    ((3, 2), (1, 2), "VALID", 20, 6, 1),
    ((7, 7), (2, 1), "VALID", 20, 6, 1),
    # depthwise
    ((3, 3), (1, 1), "SAME", 12, 12, 12),
    ((3, 3), (2, 2), "SAME", 12, 12, 12),
    ((3, 2), (1, 2), [(0, 2), (1, 0)], 12, 12, 12),
    ((5, 5), (2, 2), "VALID", 12, 12, 12),
]


def _error(got, wanted):
    return float(jnp.max(jnp.abs(got - wanted)) / jnp.max(jnp.abs(wanted)))


def _operands(kernel, c, o, groups, images=4):
    keys = jax.random.split(jax.random.key(0), 2)
    x = jax.random.normal(keys[0], (images, 13, 9, c))
    return x, jax.random.normal(keys[1], (*kernel, c // groups, o))


def _with_gradients(convolution, x, kernel, **options):
    """Output, and the gradients for input and kernel of a fixed random cotangent."""

    @jax.jit
    def run(x, kernel):
        y, pullback = jax.vjp(functools.partial(convolution, **options), x, kernel)
        return y, *pullback(jax.random.normal(jax.random.key(1), y.shape, y.dtype))

    return run(x, kernel)


@pytest.mark.parametrize(("kernel", "strides", "padding", "c", "o", "groups"), CASES)
def test_equals_the_stock_convolution(monkeypatch, kernel, strides, padding, c, o, groups):
    monkeypatch.setattr(convolution, "BLOCK_POSITIONS", 2 * 13 * 9)  # two blocks of two images
    monkeypatch.setattr(convolution, "FEW_CHANNELS", 16)
    x, w = _operands(kernel, c, o, groups)
    options = {"window_strides": strides, "padding": padding, "dimension_numbers": NHWC}
    options["feature_group_count"] = groups
    wanted = _with_gradients(lax.conv_general_dilated, x, w, **options)
    got = _with_gradients(convolution.conv_general_dilated, x, w, **options)
    assert got[0].shape == wanted[0].shape
    assert _error(got[0], wanted[0]) <= 1e-6
    assert _error(got[1], wanted[1]) <= 1e-5
    assert _error(got[2], wanted[2]) <= 1e-5


# A row or two of one image, more rows, images, all.
@pytest.mark.parametrize("positions", [1, 20, 117, 351, 10_000])
@pytest.mark.parametrize("groups", [1, 20])
@pytest.mark.parametrize("strides", [(1, 1), (2, 1), (3, 2)])
def test_the_block_size_does_not_matter(monkeypatch, positions, groups, strides):
    x, w = _operands((3, 3), 20, 20, groups, images=6)
    x = jnp.pad(x, ((0, 0), (0, 5), (0, 0), (0, 0)))  # 18 rows: 18, 9 and 6 of the output
    options = {"window_strides": strides, "padding": "SAME", "dimension_numbers": NHWC}
    options["feature_group_count"] = groups
    wanted = _with_gradients(lax.conv_general_dilated, x, w, **options)[2]
    monkeypatch.setattr(convolution, "BLOCK_POSITIONS", positions)
    got = _with_gradients(convolution.conv_general_dilated, x, w, **options)[2]
    assert _error(got, wanted) <= 1e-5


def _stock_convolutions(**options):
    """How many stock convolutions the forward and backward pass of ours hold."""
    kernel, c, o = options.pop("kernel"), options.pop("c"), options.pop("o")
    groups = options.get("feature_group_count", 1)
    x, w = _operands(kernel, c, o, groups)
    options = {"window_strides": (1, 1), "padding": "SAME", "dimension_numbers": NHWC} | options
    ours = functools.partial(convolution.conv_general_dilated, **options)
    if options["dimension_numbers"] == ("NCHW", "HWIO", "NCHW"):
        x = jnp.moveaxis(x, 3, 1)
    jaxpr = jax.make_jaxpr(lambda x, w: jax.vjp(ours, x, w)[1](ours(x, w)))(x, w)
    return str(jaxpr).count("conv_general_dilated[")


def test_what_is_fast_and_what_stays_stock():
    count = functools.partial(_stock_convolutions, kernel=(3, 3), c=20, o=20)
    # Twice forward (once for the cotangent) and one input gradient; no weight gradient.
    assert count() == 3
    assert count(kernel=(1, 1)) == 0
    assert count(feature_group_count=20) == 0
    # Not covered: twice forward and both gradients are the stock ones.
    assert count(feature_group_count=4) == 4
    assert count(feature_group_count=20, o=40) == 4
    assert count(rhs_dilation=(2, 2)) == 4
    assert count(lhs_dilation=(2, 1), padding=[(1, 1), (1, 1)]) == 4
    assert count(dimension_numbers=("NCHW", "HWIO", "NCHW")) == 4
    assert count(preferred_element_type=jnp.float32) == 4
    assert count(padding=[(-1, 0), (0, 0)]) == 4


@pytest.mark.parametrize(
    "options",
    [
        {"rhs_dilation": (2, 1)},
        {"lhs_dilation": (1, 2), "padding": [(1, 1), (1, 1)]},
        {"feature_group_count": 4},
        {"padding": "VALID", "rhs_dilation": (6, 6)},  # an output without elements
    ],
)
def test_what_is_not_covered_is_the_stock_function(options):
    x, w = _operands((3, 3), 20, 8, options.get("feature_group_count", 1))
    options = {"window_strides": (1, 1), "padding": "SAME", "dimension_numbers": NHWC} | options
    got = convolution.conv_general_dilated(x, w, **options)
    np.testing.assert_array_equal(got, lax.conv_general_dilated(x, w, **options))


def test_mistakes_get_the_stock_errors():
    x, w = _operands((3, 3), 20, 8, 1)
    wrong = (x[..., :7], w, (1, 1), "SAME")
    with pytest.raises((TypeError, ValueError), match="feature") as stock:  # which: JAX's version
        lax.conv_general_dilated(*wrong, dimension_numbers=NHWC)
    with pytest.raises(stock.type, match="feature") as ours:
        convolution.conv_general_dilated(*wrong, dimension_numbers=NHWC)
    assert str(ours.value) == str(stock.value)


@pytest.mark.parametrize(
    ("kernel", "c", "groups"), [(1, 20, 1), (3, 3, 1), (3, 20, 1), (3, 20, 20)]
)
def test_bfloat16(kernel, c, groups):
    x, w = _operands((kernel, kernel), c, 20, groups)
    options = {"window_strides": (2, 2), "padding": "SAME", "dimension_numbers": NHWC}
    options["feature_group_count"] = groups
    wanted = _with_gradients(lax.conv_general_dilated, x, w, **options)
    half = _with_gradients(
        convolution.conv_general_dilated, x.astype(jnp.bfloat16), w.astype(jnp.bfloat16), **options
    )
    # The random cotangents of the two types differ, so gradients are only held to be finite.
    assert _error(half[0].astype(jnp.float32), wanted[0]) <= 2e-2
    for got in half:
        assert got.dtype == jnp.bfloat16
        assert jnp.all(jnp.isfinite(got))


def test_fits_flax_conv():
    x = jax.random.normal(jax.random.key(0), (2, 13, 9, 6))
    for options in ({}, {"strides": 2}, {"feature_group_count": 6}, {"padding": [(1, 1), (0, 2)]}):
        make = functools.partial(
            nn.Conv, 12 if "feature" not in str(options) else 6, (3, 3), **options
        )
        variables = make().init(jax.random.key(1), x)
        ours = make(conv_general_dilated=convolution.conv_general_dilated)
        np.testing.assert_allclose(
            ours.apply(variables, x), make().apply(variables, x), rtol=1e-5, atol=1e-5
        )


def test_under_pmap_with_replicated_weights():
    x, w = _operands((3, 3), 20, 6, 1, images=8)
    depthwise = _operands((3, 3), 20, 20, 20)[1]

    def loss(weights, x):
        y = convolution.conv_general_dilated(
            x, weights[1], (1, 1), "SAME", dimension_numbers=NHWC, feature_group_count=20
        )
        y = convolution.conv_general_dilated(y, weights[0], (2, 2), "SAME", dimension_numbers=NHWC)
        return jnp.mean(y**2)

    def mapped(x):
        return lax.pmean(jax.grad(loss)((w, depthwise), x), "batch")

    each = jax.pmap(mapped, axis_name="batch", devices=jax.devices()[:2])(
        x.reshape(2, 4, *x.shape[1:])
    )
    whole = jax.jit(jax.grad(loss))((w, depthwise), x)
    for got, wanted in zip(each, whole, strict=True):
        assert _error(got[1], wanted) <= 1e-5


def test_an_unused_input_gradient_is_not_computed():
    x, w = _operands((3, 3), 20, 6, 1)

    def loss(w, x):  # x is an argument: XLA folds a constant x and its gradient away
        return convolution.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=NHWC).sum()

    hlo = jax.jit(jax.grad(loss)).lower(w, x).compile().as_text()
    assert "convolution(" not in hlo
    assert "dot(" in hlo
