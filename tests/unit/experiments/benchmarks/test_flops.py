"""FLOPs counted from a model, against counts by hand and XLA's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from benchmarks import flops
from benchmarks.models import Pair

from configs import base
from vprjax import models


def convolve(x, kernel, stride=1, padding="SAME", groups=1):
    numbers = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), padding, None, None, numbers, groups
    )


def test_a_product_is_two_flops_a_multiply_add_also_within_another_function():
    a, b = jnp.ones((2, 3, 4)), jnp.ones((2, 4, 5))
    nested = jax.jit(lambda a, b: jnp.sin(jnp.einsum("nij,njk->nik", a, b)))
    assert flops.products(nested, a, b) == [2 * 2 * 3 * 4 * 5]


def test_taps_in_the_padding_do_not_count():
    x, kernel = jnp.ones((2, 5, 4, 3)), jnp.ones((3, 3, 3, 7))
    assert flops.products(convolve, x, kernel) == [2 * 2 * 3 * 7 * (5 * 3 - 2) * (4 * 3 - 2)]


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("padding", ["SAME", "VALID", ((3, 0), (1, 2))])
def test_a_convolution_counts_as_in_xla(stride, padding):
    x, kernel = jnp.ones((2, 9, 8, 6)), jnp.ones((3, 5, 6, 4))
    run = lambda x, kernel: convolve(x, kernel, stride, padding)  # noqa: E731
    xla = jax.jit(run).lower(x, kernel).cost_analysis()["flops"]
    assert flops.products(run, x, kernel) == [xla]


@pytest.mark.parametrize(("backbone", "pooling"), [("vgg16", "gem"), ("resnet50", "netvlad")])
def test_whole_models_agree_with_xla(backbone, pooling, capsys):
    config = base.get_config()
    config.model.update(backbone=backbone, pooling=pooling)
    images = np.zeros((2, 64, 64, 3), np.uint8)
    shapes = jax.eval_shape(models.build(config.model).init, jax.random.key(0), images)
    pair = Pair(config, shapes, None, jax.ShapeDtypeStruct(images.shape, images.dtype))
    forward, step = flops.of_extraction(pair), flops.of_step(pair)
    assert 2.8 * forward < step < 3 * forward
    said = capsys.readouterr().out
    assert said.count("ratio") == 2 and "WARNING" not in said


def test_counts_that_differ_are_told(capsys):
    flops.agree("step", 1e9, 1.09e9)
    assert "WARNING" not in capsys.readouterr().out
    flops.agree("step", 1e9, 1.2e9)
    assert capsys.readouterr().out.startswith("WARNING step: 1.00 GFLOP in the model, 1.20 by XLA")


def test_the_share_is_of_the_median():
    found = flops.share(1e9, [0.1, 0.5, 9.0], peak=10e9)
    assert found == {"share_of_peak": 0.2, "peak_gflops": 10.0}


def test_where_xla_does_not_count_that_is_told(capsys):
    """As on a GPU."""
    flops.agree("step", 1e9, None)
    assert "1.00 GFLOP in the model, not checked" in capsys.readouterr().out
