"""Augmentation: off is the identity, each part does what it says, keys decide everything."""

import jax
import jax.numpy as jnp
import numpy as np

from vprjax.data import transforms


def augment(images, key=None, **parts):
    key = KEY if key is None else key
    return np.asarray(transforms.augment(images, key, transforms.Augmentation(**parts)))


KEY = jax.random.key(0)
IMAGES = np.random.default_rng(0).integers(60, 196, (3, 16, 24, 3)).astype(np.uint8)


def test_off_is_the_identity():
    assert (np.asarray(transforms.augment(IMAGES, KEY)) == IMAGES).all()


def test_same_key_same_images_other_key_other_images():
    a = transforms.Augmentation(0.2, True, 0.1, 9.0, 0.2, 0.1, 0.2, 0.5, 0.3, 1.5, 3.0, 0.2)
    one = transforms.augment(IMAGES, KEY, a)
    assert (one == transforms.augment(IMAGES, KEY, a)).all()
    assert (one != transforms.augment(IMAGES, jax.random.key(1), a)).any()
    assert one.shape == IMAGES.shape and 0 <= one.min() and one.max() <= 255


def test_mirror_turns_all_or_none():
    turned = 0
    for number in range(20):
        out = augment(IMAGES, jax.random.key(number), mirror=True)
        same, mirrored = (out == IMAGES).all(), (out == IMAGES[:, :, ::-1]).all()
        assert same or mirrored
        turned += mirrored
    assert 3 < turned < 17


def test_brightness_adds_one_level_an_image_within_its_bound():
    out = augment(IMAGES, brightness=0.1)
    shift = (out - IMAGES).reshape(3, -1)
    assert np.allclose(shift, shift[:, :1], atol=1e-4)
    assert (np.abs(shift) <= 25.5).all() and len(np.unique(shift[:, 0].round(3))) == 3


def test_contrast_scales_about_the_mean():
    out = augment(IMAGES, contrast=0.3)
    for image, stretched in zip(IMAGES.astype(np.float64), out, strict=True):
        factor = stretched.std() / image.std()
        assert 0.7 <= factor <= 1.3
        assert np.allclose(stretched, (image - image.mean()) * factor + image.mean(), atol=1e-2)


def test_noise_has_its_deviation():
    flat = np.full((2, 64, 64, 3), 128, np.uint8)
    out = augment(flat, noise=4.0)
    assert abs(out.std() - 4.0) < 0.1


def test_crop_of_a_ramp_is_a_steeper_range_inside_the_ramp():
    ramp = jnp.broadcast_to(jnp.linspace(0, 255, 64)[None, None, :, None], (4, 32, 64, 3))
    out = augment(ramp, crop=0.4)
    spans = out[:, 16, -1, 0] - out[:, 16, 0, 0]
    assert (spans >= 0.6 * 255 - 8).all() and (spans < 255).all()
    assert len(np.unique(spans.round(3))) == 4
    middle = np.diff(out[:, 16, 4:-4, 0], axis=1)
    assert np.allclose(middle, middle[:, :1], atol=0.1)  # still a straight ramp


def exact(images, coordinates):
    """Linear interpolation in float64, one pixel at a time; the border goes on."""
    h, w, _ = images.shape
    out = np.zeros((*coordinates.shape[:2], 3))
    for (i, j), (x, y) in zip(
        np.ndindex(coordinates.shape[:2]), coordinates.reshape(-1, 2), strict=True
    ):
        x, y = np.clip(x, 0, w - 1), np.clip(y, 0, h - 1)
        left, top = int(min(x, w - 2)), int(min(y, h - 2))
        fx, fy = x - left, y - top
        rows = images[top : top + 2, left : left + 2].astype(np.float64)
        upper, lower = rows[:, 0] * (1 - fx) + rows[:, 1] * fx
        out[i, j] = upper * (1 - fy) + lower * fy
    return out


def test_a_warp_is_the_projective_map_of_the_corners():
    rng = np.random.default_rng(0)
    h, w = IMAGES.shape[1:3]
    square = np.array([[0.0, 0.0], [w, 0], [w, h], [0, h]])
    corners = square + rng.uniform(-3, 3, (3, 4, 2))
    corners[0] = square
    found = np.asarray(transforms.warp(IMAGES.astype(np.float32), corners.astype(np.float32)))
    np.testing.assert_allclose(found[0], IMAGES[0], atol=1e-2)  # the square itself changes nothing
    for image, corner, shown in zip(IMAGES, corners, found, strict=True):
        rows, right = (
            [],
            [],
        )  # the eight equations of a homography that takes the square to the corners
        for (u, v), (x, y) in zip(square / [w, h], corner, strict=True):
            rows += [[u, v, 1, 0, 0, 0, -u * x, -v * x], [0, 0, 0, u, v, 1, -u * y, -v * y]]
            right += [x, y]
        matrix = np.append(np.linalg.solve(rows, right), 1).reshape(3, 3)
        u, v = np.meshgrid((np.arange(w) + 0.5) / w, (np.arange(h) + 0.5) / h)
        points = np.stack([u, v, np.ones_like(u)], axis=-1) @ matrix.T
        np.testing.assert_allclose(
            shown, exact(image, points[..., :2] / points[..., 2:] - 0.5), atol=0.02
        )


def test_a_half_turn_shows_the_image_upside_down():
    h, w = IMAGES.shape[1:3]
    corners = np.array([[[w, h], [0, h], [0, 0], [w, 0]]] * 3, np.float32)
    found = np.asarray(transforms.warp(IMAGES.astype(np.float32), corners))
    np.testing.assert_allclose(found, IMAGES[:, ::-1, ::-1], atol=1e-2)


def test_rotation_and_perspective_stay_within_their_bounds():
    dot = np.zeros((8, 41, 41, 3), np.uint8)
    dot[:, 20, 35] = 255  # 15 pixels right of the middle
    shown = augment(dot, rotate=20.0)[..., 0]
    grid = np.indices((41, 41)) - 20
    where = [(grid * x).sum(axis=(1, 2)) / x.sum() for x in shown]
    angles = np.degrees([np.arctan2(y, x) for y, x in where])
    assert (np.abs(angles) <= 20.5).all() and len({*angles.round(1)}) > 6 and np.ptp(angles) > 10
    assert np.allclose([np.hypot(*w) for w in where], 15, atol=0.3)
    ramp = np.broadcast_to(np.linspace(0, 255, 40)[None, None, :, None], (16, 30, 40, 3))
    moved = np.abs(augment(ramp, perspective=0.1) - ramp) / 255
    assert 0.03 < moved.max() < 0.13  # a corner moves by a tenth of the side at most
    assert not (augment(ramp, perspective=0.1)[0] == augment(ramp, perspective=0.1)[1]).all()


def test_hue_turns_about_the_grey_axis():
    x = IMAGES.astype(np.float64)
    angle = np.array([0.0, 2 * np.pi / 3, 0.4]).reshape(3, 1, 1, 1)
    found = np.asarray(transforms.turn_hue(IMAGES.astype(np.float32), angle.astype(np.float32)))
    np.testing.assert_allclose(found[0], x[0], atol=1e-3)
    np.testing.assert_allclose(found[1], np.roll(x[1], 1, axis=-1), atol=1e-2)  # red becomes green
    k = np.ones(3) / np.sqrt(3)
    cross = np.cross(k, x[2])
    wanted = (
        x[2] * np.cos(0.4) + cross * np.sin(0.4) + (x[2] @ k)[..., None] * k * (1 - np.cos(0.4))
    )
    np.testing.assert_allclose(found[2], wanted, atol=1e-2)
    jittered = augment(IMAGES, hue=0.05)
    assert jittered.min() >= 0 and jittered.max() <= 255 and (jittered != IMAGES).any()
    np.testing.assert_allclose(jittered.mean(-1), IMAGES.mean(-1), atol=3)  # clipping aside


def test_saturation_and_grey_follow_luma():
    x = IMAGES.astype(np.float64)
    luma = (x @ [0.299, 0.587, 0.114])[..., None]
    np.testing.assert_allclose(augment(IMAGES, grey=1.0), luma.repeat(3, -1), atol=1e-2)
    found, colours = augment(IMAGES, saturation=0.2), x - luma
    factors = ((found - luma) * colours).sum((1, 2, 3)) / (colours**2).sum((1, 2, 3))
    np.testing.assert_allclose(found, luma + factors.reshape(3, 1, 1, 1) * colours, atol=1e-2)
    assert (np.abs(factors - 1) <= 0.2).all() and len({*factors.round(3)}) == 3
    flat = np.broadcast_to(np.array([200, 50, 90], np.uint8), (400, 2, 2, 3))
    grey = (np.ptp(augment(flat, grey=0.3), axis=-1) < 1).all(axis=(1, 2))
    assert 0.2 < grey.mean() < 0.4


def test_blur_is_a_gaussian_of_each_images_own_width():
    sigma = np.array([0.0, 0.7, 2.0], np.float32)
    found = np.asarray(transforms.blur(IMAGES.astype(np.float32), sigma, 2.0))
    np.testing.assert_allclose(found[0], IMAGES[0], atol=1e-4)
    for number in (1, 2):
        offsets = np.arange(-6, 7)
        weights = np.exp(-(offsets**2) / (2 * float(sigma[number]) ** 2))
        weights /= weights.sum()
        wanted = IMAGES[number].astype(np.float64)
        for axis in (0, 1):
            pad = [(6, 6) if i == axis else (0, 0) for i in range(3)]
            wide = np.pad(wanted, pad, mode="edge")
            wanted = sum(
                weight * np.take(wide, range(k, k + wanted.shape[axis]), axis=axis)
                for k, weight in enumerate(weights)
            )
        np.testing.assert_allclose(found[number], wanted, atol=1e-3)
    spreads = augment(IMAGES, blur=3.0).std(axis=(1, 2, 3))
    assert (spreads <= IMAGES.std(axis=(1, 2, 3))).all() and len({*spreads.round(3)}) == 3


def test_a_rectangle_of_the_mean_colour_covers_its_share():
    x = IMAGES.astype(np.float32)
    start, size = np.array([[0.25, 0.5]] * 3, np.float32), np.array([[0.5, 0.25]] * 3, np.float32)
    found, wanted = np.asarray(transforms.erase(x, start, size)), x.copy()
    wanted[:, 4:12, 12:18] = x.mean(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(found, wanted, atol=1e-2)
    many = np.tile(IMAGES, (30, 1, 1, 1))
    changed = (np.abs(augment(many, erase=0.3) - many).sum(-1) > 0.1).mean(axis=(1, 2))
    assert changed.max() < 0.4 and 0.1 < changed.mean() < 0.2 and len({*changed}) > 20
