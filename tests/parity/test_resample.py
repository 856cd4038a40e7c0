"""Matrices that resize as PyTorch's interpolation does, of floats from 0 to 1 and by a factor."""

import itertools

import numpy as np
import pytest

from tests.helpers import goldens
from vprjax.models.backbones import resample

SIZES = [(28, 42), (20, 27), (56, 70)]
ANTIALIASED = {"bilinear": resample.antialiased_linear, "bicubic": resample.antialiased_cubic}
PLAIN = {"bilinear": resample.linear, "bicubic": resample.cubic}


def _check(found, wanted, atol):
    scale = np.abs(wanted).max()
    np.testing.assert_allclose(found / scale, wanted / scale, atol=atol, rtol=0)


def _resized(x, size, matrix):
    rows, columns = (matrix(side, count) for side, count in zip(x.shape, size, strict=True))
    return rows @ x @ columns.T


@pytest.mark.parametrize(("kernel", "size"), itertools.product(PLAIN, SIZES))
def test_sizes_equal_the_original_code(shared_goldens, kernel, size):
    """What torchvision's resize of tensors gives, by default with antialias since 0.17."""
    x = goldens.rule(shared_goldens).make_images(48, 64, 1)[0, :, :, 0] / 255.0
    with np.load(shared_goldens / "resize_variants.npz") as outputs:
        names = (f"tensor_{kernel}_aa{aa}_{size[0]}x{size[1]}" for aa in (True, False))
        antialiased, plain = (outputs[name][0] for name in names)
    _check(_resized(x, size, ANTIALIASED[kernel]), antialiased, 5e-6)
    found = _resized(x, size, lambda n, count: PLAIN[kernel](n, count, n / count))
    _check(found, plain, 5e-6)


@pytest.mark.parametrize(
    ("factor", "name"),
    [(2**-0.5, "interp_0.7071__61x83"), (2**0.5, "interp_1.4142__61x83_rows0_8")],
)
def test_a_factor_equals_the_original_code(shared_goldens, factor, name):
    """The step is the factor's inverse; positions in the original's float32 are off by 7e-6."""
    x = np.random.default_rng(14).standard_normal((1, 3, 61, 83))[0, 0]
    with np.load(shared_goldens / "cir_pooling.npz") as outputs:
        wanted = outputs[name][0, 0]
    found = _resized(x, (int(61 * factor), int(83 * factor)), _by(factor))
    assert found.shape[1] == wanted.shape[1]
    _check(found[: len(wanted)], wanted, 1e-5)
    others = _resized(x, found.shape, lambda n, count: resample.linear(n, count, n / count))
    assert np.abs(others[: len(wanted)] - wanted).max() > 0.01


def _by(factor):
    return lambda n, count: resample.linear(n, count, 1 / factor)


@pytest.mark.parametrize("factor", [0.3, 0.5, 2**-0.5, 1.0, 2**0.5, 2.0])
@pytest.mark.parametrize("kernel", PLAIN)
def test_a_factor_equals_pytorch_s(factor, kernel):
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).standard_normal((31, 44))
    wanted = torch.nn.functional.interpolate(
        torch.tensor(x)[None, None], scale_factor=factor, mode=kernel
    )[0, 0].numpy()
    found = _resized(x, wanted.shape, lambda n, count: PLAIN[kernel](n, count, 1 / factor))
    np.testing.assert_allclose(found, wanted, atol=1e-12, rtol=0)
