"""Descriptors of several sizes as cnnimageretrieval's and deep-image-retrieval's own code joins them."""

import jax
import numpy as np
import pytest
from flax import linen as nn

from vprjax.models import multi_scale
from vprjax.models.descriptor import Descriptor
from vprjax.models.heads.gem import GeM

SCALES = (1.0, 2**-0.5, 0.5, 2**0.5)
KERNEL = 0.2 * np.random.default_rng(13).standard_normal((32, 3, 5, 5))


class Small(nn.Module):
    """One convolution and a ReLU."""

    @nn.compact
    def __call__(self, x, train=False):
        """Returns the map `(b, h', w', 32)`."""
        exact = jax.lax.Precision.HIGHEST
        y = nn.Conv(32, (5, 5), 2, "VALID", use_bias=False, precision=exact, name="conv")(x)
        return nn.relu(y)


def _describe(**changes):
    module = Descriptor(Small(), GeM(3.0, False), **changes)
    variables = {
        "params": {
            "backbone": {"conv": {"kernel": KERNEL.transpose(2, 3, 1, 0).astype(np.float32)}},
            "pooling": {"p": np.float32(3)},
        },
        "preprocess": {"mean": np.zeros(3, np.float32), "std": np.ones(3, np.float32)},
    }
    x = np.random.default_rng(14).standard_normal((1, 3, 61, 83)).transpose(0, 2, 3, 1)
    return jax.jit(module.apply)(variables, x.astype(np.float32))


def _check(found, wanted):
    scale = np.abs(wanted).max()
    np.testing.assert_allclose(found / scale, wanted / scale, atol=5e-6, rtol=0)


@pytest.mark.parametrize("power", [1, 3])
def test_extraction_equals_the_original_code(shared_goldens, power):
    with np.load(shared_goldens / "cir_pooling.npz") as outputs:
        wanted = outputs[f"extract_ms__msp{power}"]
    _check(_describe(scales=SCALES, scales_power=float(power)), wanted)
    others = [_describe(), _describe(scales=SCALES, scales_power=4.0 - power)]
    assert all(np.abs(other - wanted).max() > 1e-3 * wanted.max() for other in others)


@pytest.mark.parametrize(("name", "power"), [("pool_mean", 1.0), ("pool_gem", 3.0)])
def test_signed_means_equal_the_original_code(shared_goldens, name, power):
    """The original's length is not 1 yet."""
    r = np.random.default_rng(31)
    r.standard_normal(64), r.standard_normal((64, 64)), r.uniform(1e-4, 2e-2, 64)
    r.standard_normal((5, 64))  # what the other goldens of the file draw
    parts = np.stack([r.standard_normal((3, 8)).astype(np.float32) for _ in range(3)])
    with np.load(shared_goldens / "dir_whitening.npz") as outputs:
        wanted = outputs[name].astype(np.float64)
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    assert (wanted < 0).any()
    _check(multi_scale.joined(parts, power), wanted)
