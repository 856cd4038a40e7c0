"""Damaged files are told apart from whole ones; what nothing changes is kept byte for byte."""

import cv2
import numpy as np
import pytest

from tests.helpers.raw_places import image
from tfds_builders import images
from tfds_builders.errors import RawDataError
from tfds_builders.schema import PlacesConfig

SUFFIXES = [".png", ".jpg", ".webp"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_whole_files_decode(suffix):
    raw = cv2.imencode(suffix, image(0, 40, 50))[1].tobytes()
    assert images.damage(raw) is None
    assert images.decode(raw, "a").shape == (40, 50, 3)


@pytest.mark.parametrize("white", [100, 255])
@pytest.mark.parametrize(("kind", "channels"), [("P5", 1), ("P6", 3)])
def test_the_white_of_a_pgm_and_ppm_is_255(kind, channels, white):
    raw = f"{kind}\n# a comment\n2 1\n{white}\n".encode() + bytes(channels * [white // 2])
    pixels = images.decode(raw + bytes(channels * [white]), "a.pgm")
    assert pixels[0, :, 0].tolist() == [round(white // 2 * 255 / white), 255]


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int32])
@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 3)])
def test_wide_values_are_told_with_what_to_write(kind, shape):
    raw = cv2.imencode(".tif", np.ones(shape, kind))[1].tobytes()
    with pytest.raises(
        RawDataError, match="holds values of 32 bits or more; write it with 8 or 16"
    ):
        images.decode(raw, "a.tif")


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("left", [0.2, 0.5, 0.99])
def test_cut_files_are_refused(suffix, left):
    raw = cv2.imencode(suffix, image(0, 200, 300))[1].tobytes()
    with pytest.raises(
        RawDataError, match=r"a\.x is a truncated (PNG|JPEG|WebP).*replace the file"
    ):
        images.decode(raw[: int(left * len(raw))], "a.x")


def test_a_jpeg_may_have_a_film_after_its_end_and_an_end_in_its_thumbnail():
    raw = cv2.imencode(".jpg", image(0, 200, 300))[1].tobytes()
    assert images.damage(raw + bytes(10_000)) is None
    thumbnail = b"\xff\xe1\x00\x06\xff\xd9\x00\x00"  # a segment that holds an end marker
    assert images.damage(raw[:2] + thumbnail + raw[2:]) is None
    assert "truncated" in images.damage(raw[:2] + thumbnail + raw[2 : len(raw) // 2])
    assert "truncated" in images.damage(raw[:2] + thumbnail)


def test_flipped_bits_of_a_png_are_refused():
    raw = bytearray(cv2.imencode(".png", image(0, 40, 50))[1].tobytes())
    raw[len(raw) // 2] ^= 4
    with pytest.raises(RawDataError, match="is a damaged PNG"):
        images.decode(bytes(raw), "a.png")


@pytest.mark.parametrize("raw", [b"", b"hello", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xd9"])
def test_what_is_no_image_is_refused(raw):
    with pytest.raises(RawDataError, match=r"^a\.png is "):
        images.decode(raw, "a.png")


def test_grey_alpha_and_16_bit_become_bgr():
    grey = image(0)[..., 0]
    for raw, expected in (
        (grey, np.repeat(grey[..., None], 3, 2)),
        (np.dstack([image(0), grey]), image(0)),
        (image(0).astype(np.uint16) * 256, image(0)),
    ):
        decoded = images.decode(cv2.imencode(".png", raw)[1].tobytes(), "a")
        np.testing.assert_array_equal(decoded, expected)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_same_size_and_format_keep_the_bytes(suffix):
    raw = cv2.imencode(suffix, image(0))[1].tobytes()
    decoded = images.decode(raw, "a")
    assert images.store(raw, decoded, PlacesConfig(name="a")) == images.Stored(raw, 12, 16)
    assert images.store(raw, decoded, PlacesConfig(name="a", height=12, width=16)).data == raw
    other = "png" if suffix == ".jpg" else "jpeg"
    assert images.store(raw, decoded, PlacesConfig(name="a", image_format=other)).data != raw


def test_other_formats_become_png():
    raw = cv2.imencode(".bmp", image(0))[1].tobytes()
    stored = images.store(raw, images.decode(raw, "a"), PlacesConfig(name="a"))
    assert stored.data.startswith(images.PNG)
    np.testing.assert_array_equal(images.decode(stored.data, "a"), image(0))


def test_an_exif_rotation_is_baked_in():
    raw = cv2.imencode(".jpg", image(0, 20, 30), [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes()
    tiff = b"II*\0\x08\0\0\0" + b"\x01\0" + b"\x12\x01\x03\0\x01\0\0\0\x06\0\0\0" + b"\0\0\0\0"
    body = b"Exif\0\0" + tiff
    rotated = raw[:2] + b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body + raw[2:]
    decoded = images.decode(rotated, "a")
    assert decoded.shape == (30, 20, 3)
    stored = images.store(rotated, decoded, PlacesConfig(name="a"))
    assert (stored.height, stored.width) == (30, 20) and b"Exif" not in stored.data
