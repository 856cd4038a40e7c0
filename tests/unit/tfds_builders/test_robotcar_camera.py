"""Demosaicing against known colour images, undistortion against the table's definition."""

import cv2
import numpy as np
import pytest

from tests.helpers.raw_robotcar import colour, mosaic
from tfds_builders.errors import RawDataError
from tfds_builders.robotcar.camera import (
    BAYER,
    CAMERAS,
    camera,
    demosaic,
    read_lut,
    undistort,
)  # fmt: skip


@pytest.mark.parametrize("pattern", BAYER)
def test_demosaic_gives_the_known_colours(pattern):
    truth = colour(7)
    found = demosaic(mosaic(truth, pattern), pattern, "a.png")
    inside = (slice(2, -2), slice(2, -2))
    assert np.abs(found[inside].astype(int) - truth[inside]).max() <= 1
    # Any other pattern is plainly wrong, so the test tells them apart.
    for other in set(BAYER) - {pattern}:
        wrong = demosaic(mosaic(truth, other), pattern, "a.png")
        assert np.abs(wrong[inside].astype(int) - truth[inside]).mean() > 15


def test_cameras_have_the_sdks_patterns():
    patterns = {name: entry.pattern for name, entry in CAMERAS.items()}
    assert patterns == {
        "mono_left": "rggb", "mono_right": "rggb", "mono_rear": "rggb",
        "stereo_left": "gbrg", "stereo_centre": "gbrg", "stereo_right": "gbrg",
    }  # fmt: skip
    with pytest.raises(RawDataError, match="'camera' is 'mono_front'; known: mono_left, "):
        camera("mono_front")


def test_colour_images_are_refused():
    with pytest.raises(RawDataError, match=r"a\.png is no 8-bit one-channel Bayer image"):
        demosaic(colour(0), "rggb", "a.png")


def write_lut(path, u, v):
    np.stack([u.ravel(), v.ravel()]).astype(np.float64).tofile(path)


def test_undistortion_follows_the_table(tmp_path):
    image = colour(0, 8, 10)
    v, u = np.mgrid[:8, :10].astype(np.float64)
    u, v = u + 1.5, v - 2  # from one and a half columns to the right, two rows up
    write_lut(tmp_path / "lut.bin", u, v)
    lut = read_lut(str(tmp_path / "lut.bin"), 8, 10)
    found = undistort(image, lut).astype(np.float64)
    expected = np.zeros((8, 10, 3))
    expected[2:, :8] = (image[:6, 1:9].astype(float) + image[:6, 2:]) / 2
    np.testing.assert_allclose(found[:, :8], expected[:, :8], atol=1)
    assert (found[:, 9] == 0).all() and (found[:2] == 0).all()


def test_undistortion_gives_the_same_pixels_in_every_opencv():
    """Whole numbers alone: places in 1/32 of a pixel, weights in 1/1024; OpenCV 5's float maps differ."""
    image = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    y, x = np.mgrid[:60, :80].astype(np.float32)
    lut = np.stack([x * 1.03 - 1.7 + 3 * np.sin(y / 9), y * 0.98 + 2 * np.cos(x / 7)])
    lut = lut.astype(np.float32)
    (c, r), (right, below) = np.divmod(np.rint(lut.astype(np.float64) * 32).astype(int), 32)
    framed = np.pad(image.astype(int), ((9, 9), (9, 9), (0, 0)))  # black around it
    total = 0
    for down, across, weight in (
        (0, 0, (32 - below) * (32 - right)),
        (0, 1, (32 - below) * right),
        (1, 0, below * (32 - right)),
        (1, 1, below * right),
    ):
        total = total + weight[..., None] * framed[r + 9 + down, c + 9 + across]
    np.testing.assert_array_equal(undistort(image, lut), (total + 512) >> 10)


def test_a_table_of_another_size_is_refused(tmp_path):
    np.zeros(100).tofile(tmp_path / "lut.bin")
    with pytest.raises(RawDataError, match=r"holds 100 values where images of 8x10 .* need 160"):
        read_lut(str(tmp_path / "lut.bin"), 8, 10)
    with pytest.raises(RawDataError, match="cannot be read"):
        read_lut(str(tmp_path / "none.bin"), 8, 10)


def test_mosaic_is_the_sensors_view():
    """The test's own writer: a pure red image lights only the red pixels of the pattern."""
    red = np.zeros((4, 4, 3), np.uint8)
    red[..., 2] = 9
    np.testing.assert_array_equal(mosaic(red, "gbrg")[:2, :2], [[0, 0], [9, 0]])
    assert cv2.COLOR_BayerBG2BGR == BAYER["rggb"]
