"""Descriptors of an image at several sizes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from vprjax import models
from vprjax.models import multi_scale
from vprjax.models.heads.vectors import l2_normalize
from vprjax.training import assemble


def build(**changes):
    c = base.get_config().model
    c.update({"backbone": "mobilenetv2", "stage": "Conv1"} | changes)
    return models.build(c)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (2, 34, 44, 3), np.uint8)


@pytest.fixture(scope="module")
def variables(images):
    return build(projection=6).init(jax.random.key(0), images)


def halved(x):
    """Means of 2 x 2 pixels: what bilinear positions of half the size see."""
    b, h, w, c = x.shape
    return x.reshape(b, h // 2, 2, w // 2, 2, c).mean(axis=(2, 4))


def test_half_the_size_is_the_mean_of_four_pixels(images):
    found = multi_scale.resized(images.astype(np.float32), 0.5)
    np.testing.assert_allclose(found, halved(images), atol=1e-4)
    assert multi_scale.resized(images, 1.0) is images
    assert multi_scale.resized(images, 2**-0.5).shape == (2, 24, 31, 3)


def test_descriptors_of_both_sizes_are_averaged(images, variables):
    one = build(projection=6)
    parts = [one.apply(variables, x) for x in (images, halved(images).astype(np.float32))]
    found = build(projection=6, scales=(1.0, 0.5)).apply(variables, images)
    wanted = np.mean(parts, axis=0)
    assert (wanted < 0).any() and np.abs(parts[0] - parts[1]).max() > 0.01
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_a_power_keeps_the_sign():
    rows = np.array([[[3.0, -4.0, 0.0, 1.0]], [[3.0, -2.0, 0.0, -1.0]]], np.float32)
    mean = np.array([27.0, -36.0, 0.0, 0.0])
    wanted = np.sign(mean) * np.abs(mean) ** (1 / 3)
    found = multi_scale.joined(jnp.asarray(rows), 3.0)[0]
    np.testing.assert_allclose(found, wanted / np.linalg.norm(wanted), atol=1e-6)
    gradient = jax.grad(lambda x: multi_scale.joined(x, 3.0).sum())(jnp.asarray(rows))
    assert np.isfinite(gradient).all()


def test_a_training_step_and_one_size_see_the_images_as_they_are(images, variables):
    one, several = build(projection=6), build(projection=6, scales=(1.0, 0.5), scales_power=2.0)
    np.testing.assert_array_equal(
        several.apply(variables, images, train=True), one.apply(variables, images, train=True)
    )
    alone = build(projection=6, scales=(1,), scales_power=3.0).apply(variables, images)
    np.testing.assert_array_equal(alone, one.apply(variables, images))
    half = build(projection=6, scales=(0.5,)).apply(variables, images)
    wanted = l2_normalize(one.apply(variables, halved(images).astype(np.float32)))
    np.testing.assert_allclose(half, wanted, atol=1e-5)


@pytest.mark.parametrize("batch_norm", ["frozen", "train"])
def test_a_compiled_step_takes_the_images_own_size(images, variables, batch_norm, monkeypatch):
    taken = []
    monkeypatch.setattr(assemble, "make_train_step", lambda apply, *rest: taken.append(apply))
    monkeypatch.setattr(assemble.state, "optimiser", lambda *rest: None)
    monkeypatch.setattr(assemble.parallel, "map_over_devices", lambda *rest, **more: None)
    config = base.get_config()
    config.model.batch_norm = batch_norm
    assemble.train_step(config, build(projection=6, scales=(1.0, 0.5)), None)
    wanted = build(projection=6).apply(variables, images)
    np.testing.assert_array_equal(taken[0](variables, images), wanted)


@pytest.mark.parametrize("head", ["flatten", "mixvpr"])
@pytest.mark.parametrize("scales", [(1.0, 0.5), (0.5,)])
def test_a_head_of_one_size_is_told(head, scales):
    """A projection behind it, and a training step at the image's own size, would fail in their midst."""
    with pytest.raises(
        ValueError, match=f"model.pooling='{head}' takes one size: set model.scales"
    ):
        build(pooling=head, projection=6, scales=scales)
    build(pooling=head, scales=(1,))


def test_a_size_without_pixels_is_told(images):
    with pytest.raises(ValueError, match=r"34 x 44 pixels have none at model.scales=0.01"):
        multi_scale.resized(images, 0.01)
    small = {"backbone": "vgg16", "stage": "conv4"}
    start = jax.eval_shape(build(**small).init, jax.random.key(0), images)
    with pytest.raises(ValueError, match="3 x 4 pixels are too small for this backbone"):
        jax.eval_shape(build(**small, scales=(0.1,)).apply, start, images)
