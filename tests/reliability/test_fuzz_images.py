"""Images and archives that others made: the right pixels, or a sentence; never a bomb that goes off."""

import dataclasses
import io
import pathlib
import time
import tracemalloc
import zlib

import cv2
import numpy as np
import PIL.Image
import pytest

from tests.helpers import raw_cold, raw_places
from tests.helpers.memory_places import Memory, drive
from tests.reliability import fuzzing
from tfds_builders import archives, images
from tfds_builders.errors import RawDataError
from tfds_builders.schema import PlacesConfig
from vprjax.data import decoding
from vprjax.errors import DataError

RED, GREEN, BLUE = 200, 100, 50
EXIF_ORIENTATION = 0x0112
EXACT = {"JPEG": {"quality": 100}, "WEBP": {"lossless": True}}


def encoded(image: PIL.Image.Image, kind: str, **options) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def plain(mode="RGB") -> PIL.Image.Image:
    colour = np.full((24, 32, 3), (RED, GREEN, BLUE), np.uint8)
    return PIL.Image.fromarray(colour).convert(mode)


def turned(orientation: int) -> PIL.Image.Exif:
    exif = PIL.Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    return exif


VALID = {
    "JPEG": [encoded(plain(mode), "JPEG", exif=turned(6)) for mode in ("RGB", "L", "CMYK")],
    "PNG": [
        *(encoded(plain(mode), "PNG") for mode in ("RGB", "L", "P", "1", "RGBA")),
        encoded(plain(), "PNG", exif=turned(8)),
    ],
    "WebP": [encoded(plain(), "WEBP", exif=turned(3)), encoded(plain(), "WEBP", lossless=True)],
    "BMP": [encoded(plain(), "BMP"), encoded(plain("P"), "BMP")],
    "TIFF": [encoded(plain(), "TIFF"), encoded(plain("L"), "TIFF", compression="tiff_lzw")],
    "PPM": [encoded(plain(), "PPM"), encoded(plain("1"), "PPM")],
}


@pytest.mark.parametrize("kind", VALID)
def test_damaged_images(kind):
    outcomes = fuzzing.Outcomes(f"images, {kind}", RawDataError)

    @fuzzing.fuzz(raw=fuzzing.files(VALID[kind]))
    def check(raw):
        def parse():
            image = images.decode(raw, "a")
            return images.store(raw, image, PlacesConfig(name="a")), image

        if (found := outcomes.of(parse)) is None:
            return
        stored, image = found
        assert image.dtype == np.uint8 and image.shape == (stored.height, stored.width, 3)
        # What the builder stored is what training decodes.
        assert decoding.decode(stored.data, "a").shape == image.shape

    check()
    outcomes.tell()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP"])
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "CMYK", "1"])
def test_every_mode_becomes_the_colours_it_shows(kind, mode):
    try:
        raw = encoded(plain(mode), kind, **EXACT.get(kind, {}))
    except (OSError, ValueError):
        pytest.skip(f"{kind} has no {mode}")
    shown = np.asarray(plain(mode).convert("RGB"), int)
    decoded = images.decode(raw, "a")
    stored = images.store(raw, decoded, PlacesConfig(name="a"))
    assert np.abs(decoded[..., ::-1] - shown).max() <= 4
    assert np.abs(decoding.decode(stored.data, "a") - shown).max() <= 4


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
@pytest.mark.parametrize("shape", [(9, 8), (9, 8, 3)])
def test_16_bits_keep_their_upper_half(suffix, shape):
    deep = np.random.default_rng(0).integers(0, 2**16, shape, dtype=np.uint16)
    decoded = images.decode(cv2.imencode(suffix, deep)[1].tobytes(), "a")
    expected = (deep >> 8).reshape(9, 8, -1).astype(int)
    assert np.abs(decoded - expected).max() <= 1


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_are_applied_and_baked_in(kind, orientation):
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[:8, :16] = 255  # a white quarter, upper left
    raw = encoded(PIL.Image.fromarray(pixels), kind, exif=turned(orientation))
    decoded = images.decode(raw, "a")
    columns = slice(None, None, -1)
    upright = {
        1: pixels, 2: pixels[:, columns], 3: pixels[columns, columns], 4: pixels[columns],
        5: pixels.swapaxes(0, 1), 6: np.rot90(pixels, -1),
        7: pixels[columns, columns].swapaxes(0, 1), 8: np.rot90(pixels),
    }[orientation]  # fmt: skip
    assert decoded.shape == upright.shape
    assert np.abs(decoded.astype(int) - upright).mean() < 8
    stored = images.store(raw, decoded, PlacesConfig(name="a"))
    with PIL.Image.open(io.BytesIO(stored.data)) as again:  # a reader that applies no EXIF
        assert again.getexif().get(EXIF_ORIENTATION, 1) == 1
        assert np.abs(np.asarray(again.convert("RGB"), int) - upright).mean() < 8


def test_one_pixel_is_an_image_and_a_wrong_extension_is_no_matter(tmp_path):
    dot = encoded(plain().crop((0, 0, 1, 1)), "PNG")
    assert images.decode(dot, "dot.jpg").tolist() == [[[BLUE, GREEN, RED]]]
    stored = images.store(dot, images.decode(dot, "a"), PlacesConfig(name="a", height=8, width=8))
    assert decoding.decode(stored.data, "a").tolist() == [[[RED, GREEN, BLUE]] * 8] * 8
    raw = raw_places.write_raw(tmp_path / "raw", ["train"], count=2, suffix=".jpg")
    (raw / "train/001.jpg").write_bytes(encoded(plain().resize((16, 12)), "PNG"))
    assert raw_places.command("build", "places_csv", raw, tmp_path / "out") == 0
    folder = raw_places.built(tmp_path, "default", builder="places_csv")
    record = raw_places.records(folder, "train")[1]
    assert raw_places.decoded(record)[0, 0].tolist() == [BLUE, GREEN, RED]


def oversized(kind, side):
    """An image whose header says `side` x `side` (WebP: at most 16383) pixels; little follows it."""
    raw = bytearray(encoded(PIL.Image.new("L", (8, 8)), kind, lossless=True))
    if kind == "PNG":
        header = b"IHDR" + side.to_bytes(4, "big") * 2 + bytes(raw[24:29])
        raw[12:33] = header + zlib.crc32(header).to_bytes(4, "big")
    elif kind == "JPEG":
        frame = raw.index(b"\xff\xc0") + 5
        raw[frame : frame + 4] = side.to_bytes(2, "big") * 2
    else:
        side = min(side, 1 << 14) - 1
        bits = raw.index(b"VP8L") + 9  # 14 bits each, behind the signature
        raw[bits : bits + 4] = (side | side << 14).to_bytes(4, "little")
    return bytes(raw)


def bombs():
    """20000 x 20000 pixels of one colour in each format that packs them into little."""
    wide = PIL.Image.new("1", (20_000, 20_000))
    yield "PNG", encoded(wide, "PNG")
    yield "TIFF", encoded(wide, "TIFF", compression="group4")
    yield "JPEG", oversized("JPEG", 20_000)
    yield "PPM", b"P6 20000 20000 255\n" + bytes(3)


@pytest.mark.parametrize(("kind", "raw"), bombs(), ids=lambda value: str(value)[:4])
def test_a_bomb_is_refused_before_it_is_decoded(kind, raw):
    assert len(raw) < 6_000_000
    tracemalloc.start()
    start = time.process_time()
    with pytest.raises(RawDataError, match="more than the 134,217,728 "):
        images.decode(raw, f"bomb.{kind}")
    assert time.process_time() - start < 1
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


@pytest.mark.parametrize("side", [12_000, 20_000])  # Pillow warns of one, raises at the other
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_bomb_in_a_record_is_refused_before_it_is_decoded(monkeypatch, kind, side):
    raw = oversized(kind, side)
    places = dataclasses.replace(drive(2, laps=1), sources=(Memory([VALID["PNG"][0], raw]),))
    monkeypatch.setattr(decoding.cv2, "imdecode", lambda *_: pytest.fail("was decoded"))
    start = time.process_time()
    with pytest.raises(DataError, match=r"^image train/1 has more than the 134,217,728 pixels"):
        places.images([1])
    assert time.process_time() - start < 1


def test_the_largest_image_of_a_record_is_the_builders_largest(monkeypatch):
    assert decoding.MOST_PIXELS == images.MOST_PIXELS
    monkeypatch.setattr(decoding, "MOST_PIXELS", 24 * 32)
    assert decoding.decode(VALID["PNG"][0], "a").shape == (24, 32, 3)
    monkeypatch.setattr(decoding, "MOST_PIXELS", 24 * 32 - 1)
    with pytest.raises(DataError, match=r"^image a has more than the 767 pixels"):
        decoding.decode(VALID["PNG"][0], "a")


def test_the_largest_image_is_the_one_that_the_sentence_tells(monkeypatch):
    monkeypatch.setattr(images, "MOST_PIXELS", 24 * 32)
    assert images.decode(VALID["PNG"][0], "a").shape == (24, 32, 3)
    monkeypatch.setattr(images, "MOST_PIXELS", 24 * 32 - 1)
    with pytest.raises(RawDataError, match=r"^a has 24 x 32 pixels .* more than the 767 that an"):
        images.decode(VALID["PNG"][0], "a")


def archive(tmp_path, suffix):
    raw_cold.write_archive(
        tmp_path / f"valid{suffix}", {f"{i}/a.txt": b"ab" * 40 for i in range(4)}
    )
    return (tmp_path / f"valid{suffix}").read_bytes()


@pytest.mark.parametrize("suffix", archives.SUFFIXES)
def test_damaged_archives(tmp_path, suffix):
    outcomes = fuzzing.Outcomes(f"archives, {suffix}", RawDataError)
    path = tmp_path / f"a{suffix}"

    @fuzzing.fuzz(raw=fuzzing.files([archive(tmp_path, suffix)]))
    def check(raw):
        path.write_bytes(raw)
        found = outcomes.of(lambda: [(name, s.read()) for name, s in archives.files(path)])
        assert found is None or sum(len(data) for _, data in found) < 1 << 20

    check()
    outcomes.tell()
    assert {p.name for p in pathlib.Path(tmp_path).iterdir()} == {path.name, f"valid{suffix}"}
