"""What a map is asked about: files, folders, globs, videos, and streams of JPEG and PNG images."""

import io
import os
import pathlib
import sys

import cv2
import numpy as np
import PIL.Image
import pytest

from tests.helpers.made_up_model import picture
from vprjax.errors import DataError
from vprjax.localize import image_pipe, inputs


class Pipe(io.RawIOBase):
    """A stream that gives a few bytes at a time and tells how many it gave."""

    def __init__(self, data, piece):
        self._data, self._piece, self.given = data, piece, 0

    def read1(self, size):
        piece = self._data[self.given : self.given + min(size, self._piece)]
        self.given += len(piece)
        return piece


def encoded(number, suffix, *options):
    return cv2.imencode(suffix, picture(number), [int(o) for o in options])[1].tobytes()


def thumbnailed(number):
    """A JPEG with another whole JPEG in its EXIF."""
    image, out = PIL.Image.fromarray(picture(number)), io.BytesIO()
    within = b"Exif\x00\x00" + encoded(7, ".jpg")
    image.save(out, "JPEG", exif=within)
    assert out.getvalue().count(b"\xff\xd9") == 2
    return out.getvalue()


def kinds():
    progressive = encoded(2, ".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    restarts = encoded(3, ".jpg", cv2.IMWRITE_JPEG_RST_INTERVAL, 1)
    return [
        encoded(0, ".jpg"),
        encoded(1, ".png"),
        progressive,
        restarts,
        thumbnailed(4),
        encoded(5, ".png"),
    ]


@pytest.mark.parametrize("piece", [1, 7, 100_000])
def test_a_stream_is_split_into_its_images(piece):
    images = kinds()
    assert [*image_pipe.images(Pipe(b"".join(images), piece))] == images


def test_an_image_is_there_as_soon_as_its_last_byte_is():
    for image in kinds():
        pipe = Pipe(image + kinds()[0], 1)
        found = image_pipe.images(pipe)
        assert next(found) == image and pipe.given == len(image)


def test_a_stream_that_ends_inside_an_image_loses_it_alone(capsys):
    images = kinds()
    for cut in (1, 30, 200):
        for last in images[:2]:
            found = [*image_pipe.images(Pipe(images[0] + last[: len(last) - cut], 50))]
            assert found == images[:1]
    assert "ends inside image 1" in capsys.readouterr().err
    assert [*image_pipe.images(Pipe(b"", 50))] == []


@pytest.mark.parametrize("strange", [b"GIF89a", b"\xff\xd8hello", b"no picture at all"])
def test_other_bytes_are_refused(strange):
    found = image_pipe.images(Pipe(kinds()[1] + strange, 50))
    next(found)
    with pytest.raises(DataError, match="image 1 of the stream is neither a JPEG nor a PNG"):
        next(found)


def test_a_claim_of_length_takes_no_memory():
    claim = image_pipe.PNG + (2**31 - 1).to_bytes(4, "big") + b"IDAT"
    with pytest.raises(DataError, match="more than 268,435,456 bytes"):
        [*image_pipe.images(Pipe(claim + bytes(1000), 100))]


def test_damaged_streams_end_in_images_or_in_one_sentence(capsys):
    rng, whole, refused = np.random.default_rng(0), b"".join(kinds()), 0
    for _ in range(300):
        damaged = bytearray(whole)
        for place in rng.integers(0, len(whole) - 60, rng.integers(1, 4)):
            if rng.random() < 0.6:
                damaged[place] = rng.integers(256)
            else:
                del damaged[place : place + rng.integers(1, 50)]
        try:
            found = [*image_pipe.images(Pipe(bytes(damaged), 5000))]
        except DataError:
            refused += 1
            continue
        assert b"".join(found) == bytes(damaged)[: sum(map(len, found))]
    assert 0 < refused < 300


def test_frames_of_standard_input_are_numbered_and_a_damaged_one_left_out(monkeypatch, capsys):
    broken = bytearray(encoded(1, ".png"))
    broken[50] ^= 0xFF
    data = encoded(0, ".png") + bytes(broken) + encoded(2, ".png")
    stdin = type("Stdin", (), {"buffer": Pipe(data, 40)})
    monkeypatch.setattr(sys, "stdin", stdin)
    assert inputs.is_live("-") and not inputs.is_live("a.jpg")
    asked = [*inputs.read("-")]
    assert [one.name for one in asked] == ["frame 0", "frame 2"]
    assert (asked[1].picture == picture(2)[..., ::-1]).all()
    assert "picture frame 1 is damaged" in capsys.readouterr().err


@pytest.fixture
def folder(tmp_path):
    for name in ("b.PNG", "a.jpg", "deep/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(encoded(1, ".png"))
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "empty").mkdir()
    return tmp_path


def test_files_folders_and_globs(folder, capsys):
    def found(text):
        return [one.name for one in inputs.read(str(text))]

    assert found(folder) == ["a.jpg", "b.PNG", "deep/c.png"]
    assert found(folder / "a.jpg") == [str(folder / "a.jpg")]
    assert found(folder / "*.[jP]*") == [str(folder / "a.jpg"), str(folder / "b.PNG")]
    assert found(folder / "**/*.png") == [str(folder / "deep/c.png")]
    (folder / "deep" / "._c.png").write_bytes(b"a Mac's notes")
    for name in ("deep/v.MP4", "d.heic"):
        (folder / name).write_bytes(b"of another kind")
    assert found(folder) == ["a.jpg", "b.PNG", "deep/c.png"]
    said = capsys.readouterr().err
    assert "1 hidden file is passed over, such as deep/._c.png" in said
    assert "2 other files are passed over, such as d.heic" in said
    one = next(inputs.read(str(folder)))
    assert one.picture == folder / "a.jpg" and one.time is None
    with pytest.raises(DataError, match="empty holds no pictures"):
        inputs.read(str(folder / "empty"))
    for nothing in ("missing.jpg", "*.gif"):
        with pytest.raises(DataError, match="is not there: give a picture, a folder"):
            inputs.read(str(folder / nothing))


def test_a_name_that_is_no_utf_8_can_be_written(tmp_path):
    path = os.fsencode(tmp_path / "caf") + b"\xe9.png"
    pathlib.Path(os.fsdecode(path)).write_bytes(encoded(1, ".png"))
    (one,) = inputs.read(str(tmp_path))
    assert one.name == "caf\N{REPLACEMENT CHARACTER}.png" and one.picture.is_file()


def filmed(path, frames, fps):
    """A video whose frame i has the grey level 5 i."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), fps, (64, 48))
    for number in range(frames):
        writer.write(np.full((48, 64, 3), 5 * number, np.uint8))
    writer.release()
    return path


@pytest.mark.parametrize(
    ("fps", "numbers"), [(1.0, [0, 10, 20, 30]), (5.0, range(0, 40, 2)), (100, range(40))]
)
def test_a_video_at_some_frames_per_second(tmp_path, fps, numbers):
    asked = [*inputs.read(str(filmed(tmp_path / "drive.avi", 40, 10)), fps)]
    levels = [float(one.picture.mean()) / 5 for one in asked]
    np.testing.assert_allclose(levels, [*numbers], atol=0.4)
    assert [one.time for one in asked] == [number / 10 for number in numbers]
    assert asked[1].name == f"drive.avi@{numbers[1] / 10:.3f}"
    assert asked[0].picture.shape == (48, 64, 3)


def test_colours_of_a_video_are_rgb(tmp_path):
    path = tmp_path / "red.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    writer.write(np.full((48, 64, 3), (0, 0, 250), np.uint8))
    writer.release()
    red, green, blue = next(inputs.read(str(path))).picture.reshape(-1, 3).mean(axis=0)
    assert red > 200 and green < 50 and blue < 50


def test_what_is_no_video_is_named(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_text("hello")
    with pytest.raises(DataError, match=r"a\.mp4 is no video that OpenCV opens"):
        [*inputs.read(str(path))]
