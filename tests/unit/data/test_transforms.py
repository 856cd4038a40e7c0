"""Augmentation: off is the identity, each part does what it says, keys decide everything."""

import jax
import jax.numpy as jnp
import numpy as np

from vprjax.data import transforms

KEY = jax.random.key(0)
IMAGES = np.random.default_rng(0).integers(60, 196, (3, 16, 24, 3)).astype(np.uint8)


def test_off_is_the_identity():
    assert (np.asarray(transforms.augment(IMAGES, KEY)) == IMAGES).all()


def test_same_key_same_images_other_key_other_images():
    settings = dict(crop=0.2, mirror=True, brightness=0.1, contrast=0.2, noise=3.0)
    one = transforms.augment(IMAGES, KEY, **settings)
    assert (one == transforms.augment(IMAGES, KEY, **settings)).all()
    assert (one != transforms.augment(IMAGES, jax.random.key(1), **settings)).any()
    assert one.shape == IMAGES.shape and 0 <= one.min() and one.max() <= 255


def test_mirror_turns_all_or_none():
    turned = 0
    for number in range(20):
        out = np.asarray(transforms.augment(IMAGES, jax.random.key(number), mirror=True))
        same, mirrored = (out == IMAGES).all(), (out == IMAGES[:, :, ::-1]).all()
        assert same or mirrored
        turned += mirrored
    assert 3 < turned < 17


def test_brightness_adds_one_level_an_image_within_its_bound():
    out = np.asarray(transforms.augment(IMAGES, KEY, brightness=0.1))
    shift = (out - IMAGES).reshape(3, -1)
    assert np.allclose(shift, shift[:, :1], atol=1e-4)
    assert (np.abs(shift) <= 25.5).all() and len(np.unique(shift[:, 0].round(3))) == 3


def test_contrast_scales_about_the_mean():
    out = np.asarray(transforms.augment(IMAGES, KEY, contrast=0.3))
    for image, stretched in zip(IMAGES.astype(np.float64), out, strict=True):
        factor = stretched.std() / image.std()
        assert 0.7 <= factor <= 1.3
        assert np.allclose(stretched, (image - image.mean()) * factor + image.mean(), atol=1e-2)


def test_noise_has_its_deviation():
    flat = np.full((2, 64, 64, 3), 128, np.uint8)
    out = np.asarray(transforms.augment(flat, KEY, noise=4.0))
    assert abs(out.std() - 4.0) < 0.1


def test_crop_of_a_ramp_is_a_steeper_range_inside_the_ramp():
    ramp = jnp.broadcast_to(jnp.linspace(0, 255, 64)[None, None, :, None], (4, 32, 64, 3))
    out = np.asarray(transforms.augment(ramp, KEY, crop=0.4))
    spans = out[:, 16, -1, 0] - out[:, 16, 0, 0]
    assert (spans >= 0.6 * 255 - 8).all() and (spans < 255).all()
    assert len(np.unique(spans.round(3))) == 4
    middle = np.diff(out[:, 16, 4:-4, 0], axis=1)
    assert np.allclose(middle, middle[:, :1], atol=0.1)  # still a straight ramp
