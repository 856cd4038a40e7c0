"""Sizes of another aspect and 16-bit images, through the command line."""

import json

import cv2
import numpy as np
import pytest
import tensorflow_datasets as tfds

from tests.helpers.raw_places import command, decoded, image, records, write_raw
from tfds_builders import images, sixteen_bit
from tfds_builders.schema import PlacesConfig


def build(tmp_path, verb="build", **config) -> int:
    option = f"--config={json.dumps({'name': 'mine'} | config)}"
    return command(verb, "places_csv", tmp_path / "raw", tmp_path / "out", option)


def built(tmp_path) -> list[dict]:
    return records(tmp_path / "out/places_csv/mine/1.0.0", "train")


def metadata(tmp_path) -> dict:
    return json.loads((tmp_path / "out/places_csv/mine/1.0.0/metadata.json").read_text())


def raw_images(tmp_path, *pixels, suffix=".png"):
    raw = write_raw(tmp_path / "raw", ["train"], count=len(pixels), suffix=suffix)
    for number, one in enumerate(pixels):
        assert cv2.imwrite(str(raw / f"train/{number:03d}{suffix}"), one)


STRETCHED = (
    "train: 1 of 2 images are stretched by up to 78% to 12x16 (height x width), e.g. {} of 16x12; "
    'the config\'s "resize" may be pad, crop or shorter_side'
)


def test_a_stretch_is_warned_of(tmp_path, capsys):
    raw_images(tmp_path, image(0), image(1, 16, 12))
    for verb in ("validate", "build"):
        assert build(tmp_path, verb, height=12, width=16) == 0
        warning = STRETCHED.format(tmp_path / "raw/train/001.png")
        assert f"warning: {warning}" in capsys.readouterr().err
    assert metadata(tmp_path)["warnings"] == [warning]
    assert "resize" not in metadata(tmp_path)["config"]
    expected = cv2.resize(image(1, 16, 12), (16, 12), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(decoded(built(tmp_path)[1]), expected)
    assert build(tmp_path, height=12, width=16, resize="pad") == 2
    assert "is already built with resize 'stretch', not 'pad'" in capsys.readouterr().err


@pytest.mark.parametrize("resize", ["pad", "crop"])
def test_a_portrait_keeps_its_aspect(tmp_path, capsys, resize):
    flat = np.full((32, 24, 3), (10, 200, 90), np.uint8)
    raw_images(tmp_path, image(0), flat)
    assert build(tmp_path, height=12, width=16, resize=resize) == 0
    assert "warning" not in capsys.readouterr().err
    found = decoded(built(tmp_path)[1])
    assert found.shape == (12, 16, 3)
    if resize == "pad":  # 12 x 9 pixels, with 3 black columns on the left and 4 on the right
        assert (found[:, 3:12] == flat[0, 0]).all()
        assert not found[:, :3].any() and not found[:, 12:].any()
    else:
        assert (found == flat[0, 0]).all()


def test_a_circle_stays_one():
    """Width and height of a disc by `resize`, from a portrait to a landscape size."""
    disc = cv2.circle(np.zeros((160, 120, 3), np.uint8), (60, 80), 40, (255, 255, 255), -1)
    config = {"name": "a", "height": 60, "width": 80}
    sides = {}
    for resize in ("stretch", "pad", "crop", "shorter_side"):
        found = images.fit(disc, PlacesConfig(**config, resize=resize))[..., 0] > 127
        assert found.shape == ((80, 60) if resize == "shorter_side" else (60, 80))
        sides[resize] = np.ptp(np.flatnonzero(found.any(0))), np.ptp(np.flatnonzero(found.any(1)))
    assert abs(sides["stretch"][0] - sides["stretch"][1]) > 10
    assert all(abs(a - b) <= 1 for name, (a, b) in sides.items() if name != "stretch")


def test_shorter_side_needs_one_aspect(tmp_path, capsys):
    raw_images(tmp_path, image(0), image(1, 24, 32))
    assert build(tmp_path, height=6, width=6, resize="shorter_side") == 0
    assert [decoded(record).shape for record in built(tmp_path)] == [(6, 8, 3)] * 2
    assert cv2.imwrite(str(tmp_path / "raw/train/001.png"), image(1, 16, 12))
    for verb in ("validate", "build"):
        assert build(tmp_path, verb, name="b", height=6, width=6, resize="shorter_side") == 2
        told = capsys.readouterr().err
        assert "001.png is 8x6 (height x width) where" in told and "resize pad, crop or str" in told


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"resize": "squeeze", "height": 6, "width": 6}, "known: stretch, pad, crop, shorter_side"),
        ({"kernel": "lanczos"}, "known: opencv, bilinear, bicubic"),
        ({"resize": "pad"}, "config key 'resize' is 'pad'; give height and width too"),
        *(({"sixteen_bit": text}, f"'sixteen_bit' is {text!r}; give") for text in ("x", "9-3", "0-65536")),
    ],
)  # fmt: skip
def test_bad_choices(tmp_path, capsys, config, told):
    raw_images(tmp_path, image(0))
    assert build(tmp_path, **config) == 2
    assert told in capsys.readouterr().err


def counts(number: int) -> np.ndarray:
    """14-bit counts of a heat camera: 7,000 to 8,200."""
    small = np.random.default_rng(number).integers(7000, 8200, (48, 64), dtype=np.uint16)
    small[0, :2] = 7000, 8200
    return small


DEEP = "000.png and 2 further images have 16 bits and keep {} of 256 grey levels by {}"


def test_six_grey_levels_are_refused(tmp_path, capsys):
    raw_images(tmp_path, *map(counts, range(3)))
    for verb in ("validate", "build"):
        assert build(tmp_path, verb) == 2
        told = capsys.readouterr().err
        assert (
            DEEP.format(6, "raw/256") in told
            and "set the config's \"sixteen_bit\" to 'perc" in told
        )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("choice", "least", "limits"),
    [("percentiles", 250, (7001, 8198)), ("7000-8200", 256, (7000, 8200)), ("raw/256", 6, None)],
)
def test_a_stated_conversion(tmp_path, capsys, choice, least, limits):
    raw_images(tmp_path, *map(counts, range(3)))
    assert build(tmp_path, "validate", sixteen_bit=choice) == 0
    assert build(tmp_path, sixteen_bit=choice) == 0
    notes = metadata(tmp_path)["sixteen_bit"]
    assert notes["conversion"] == choice and notes["images"] == 3 and notes["levels"] >= least
    how = f"{notes['range'][0]} to {notes['range'][1]}" if limits else "raw/256"
    assert capsys.readouterr().err.count(DEEP.format(notes["levels"], how)) == 2
    if limits is None:
        expected = counts(0) >> 8
    else:
        np.testing.assert_allclose(notes["range"], limits, atol=3)
        low, high = notes["range"]
        expected = np.clip(np.rint((counts(0) - float(low)) * 255 / (high - low)), 0, 255)
    found = decoded(built(tmp_path)[0])
    assert np.abs(found.astype(int) - expected[..., None]).max() <= 1


def test_the_record_is_8_bit_rgb_at_raw_size(tmp_path):
    """TFDS's own reader gives the pixels of a 16-bit PNG, a grey one, and a grey JPEG."""
    deep = np.arange(48 * 64, dtype=np.uint16).reshape(48, 64) * 21
    raw = write_raw(tmp_path / "raw", ["train"], count=3)
    cv2.imwrite(str(raw / "train/000.png"), deep)
    cv2.imwrite(str(raw / "train/001.png"), image(1, 48, 64)[..., 0])
    jpeg = cv2.imencode(".jpg", image(2, 48, 64)[..., 0])[1].tobytes()
    (raw / "train/002.png").write_bytes(jpeg)
    assert build(tmp_path) == 0
    grey = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_GRAYSCALE)
    builder = tfds.builder_from_directory(tmp_path / "out/places_csv/mine/1.0.0")
    source = builder.as_data_source(split="train")
    for record, expected in zip(source, (deep >> 8, image(1, 48, 64)[..., 0], grey), strict=True):
        assert record["image"].dtype == np.uint8
        assert np.abs(record["image"].astype(int) - expected[..., None]).max() <= 1
    for record in built(tmp_path):
        assert record["image"][:4] == b"\x89PNG" and record["image"][24:26] == b"\x08\x02"


@pytest.mark.parametrize("suffix", [".png", ".tiff", ".ppm", ".pgm"])
def test_16_bits_are_seen_in_the_header(suffix):
    deep = counts(0) if suffix == ".pgm" else np.dstack([counts(0)] * 3)
    shallow = (deep >> 8).astype(np.uint8)
    for pixels, expected in ((deep, True), (shallow, False)):
        raw = cv2.imencode(suffix, pixels)[1].tobytes()
        assert sixteen_bit.is_deep(raw) is expected
    assert not sixteen_bit.is_deep(b"") and not sixteen_bit.is_deep(b"P5 3")
