"""DELF's local features: where they lie, which are kept, and PCA."""

import numpy as np
import pytest

from configs import base
from tests.helpers.random_variables import random_variables
from vprjax import models
from vprjax.descriptors import delf_local


@pytest.fixture(scope="module")
def network():
    c = base.get_config().model
    c.update(backbone="resnet50_slim", pooling="delf")
    c.delf.hidden = 8
    module = models.build(c)
    x = np.random.default_rng(0).integers(0, 256, (96, 130, 3), np.uint8)
    return module, random_variables(module, x[None]), x


@pytest.fixture(scope="module")
def every(network):
    module, variables, x = network
    rule = delf_local.Rule(scales=(0.5, 1.0), threshold=0.0, most=10_000)
    return delf_local.describer(module, variables, rule)(x)


def test_points_are_the_maps_positions_at_every_size(network, every):
    """130 x 96 pixels have 5 x 3 positions, and half of that 3 x 2, each 64 pixels apart."""
    whole = {(32.0 * i, 32.0 * j) for i in range(5) for j in range(3)}
    half = {(64.0 * i, 64.0 * j) for i in range(3) for j in range(2)}
    points = sorted(map(tuple, every.points.tolist()))
    assert points == sorted([*whole, *half])
    assert (np.diff(every.scores) <= 0).all() and (every.scores > 0).all()
    np.testing.assert_allclose(np.linalg.norm(every.descriptors, axis=1), 1, atol=1e-5)
    module, variables, x = network
    found = np.asarray(module.apply(variables, x[None], method="features"))[0]
    row = found[1, 2] / np.linalg.norm(found[1, 2])
    same = (every.points == (64.0, 32.0)).all(axis=1)
    assert np.abs(every.descriptors[same] - row).max(axis=1).min() < 1e-5


def test_the_best_points_are_kept(network, every):
    module, variables, x = network
    rule = delf_local.Rule(scales=(0.5, 1.0), threshold=0.0, most=4)
    few = delf_local.describer(module, variables, rule)(x)
    np.testing.assert_array_equal(few.points, every.points[:4])
    middle = float(every.scores[9])
    rule = delf_local.Rule(scales=(0.5, 1.0), threshold=middle)
    strong = delf_local.describer(module, variables, rule)(x)
    assert len(strong.points) == (every.scores >= middle).sum() < len(every.points)


def test_an_image_of_one_colour_has_no_feature_above_the_threshold(network):
    module, variables, x = network
    describe = delf_local.describer(module, variables, delf_local.Rule(scales=(1.0,)))
    none = describe(np.full_like(x, 90))
    assert none.points.shape == (0, 2) and none.descriptors.shape == (0, 1024)
    with pytest.raises(ValueError, match="the images have 0 local features"):
        delf_local.fit([none, none])


def test_pca_reduces_and_normalises(every):
    pca = delf_local.fit([every], 5)
    small = delf_local.reduced(every, pca)
    assert small.descriptors.shape == (21, 5)
    np.testing.assert_allclose(np.linalg.norm(small.descriptors, axis=1), 1, atol=1e-5)
    centred = every.descriptors - every.descriptors.mean(axis=0)
    kept = np.linalg.svd(centred.astype(np.float64))[0][:, :5]
    s = np.linalg.svd(centred.astype(np.float64))[1][:5]
    wanted = kept * s
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    np.testing.assert_allclose(
        small.descriptors @ small.descriptors.T, wanted @ wanted.T, atol=1e-3
    )
    none = delf_local.Features(every.points[:0], every.descriptors[:0], every.scores[:0])
    assert delf_local.reduced(none, pca).descriptors.shape == (0, 5)
