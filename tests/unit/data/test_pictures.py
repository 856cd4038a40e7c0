"""Pictures become what a dataset's builder makes of them, pixel for pixel; others are refused."""

import itertools
import json

import cv2
import numpy as np
import PIL.Image
import pytest

from tests.helpers import goldens
from tests.helpers.raw_places import image
from tfds_builders import images, schema, sixteen_bit
from tfds_builders.schema import PlacesConfig
from vprjax.data import pictures
from vprjax.data.pictures import Form, Pictures
from vprjax.errors import DataError

RAW = [(30, 41), (64, 20), (9, 12), (12, 16)]
ORIENTATION = 0x0112


def write(folder, name, pixels, orientation=None):
    """A picture's file; pixels are RGB."""
    exif = PIL.Image.Exif()
    if orientation:
        exif[ORIENTATION] = orientation
    PIL.Image.fromarray(pixels).save(folder / name, exif=exif)
    return folder / name


@pytest.mark.parametrize(
    ("resize", "size", "kernel"),
    [
        *itertools.product(("stretch", "pad", "crop"), [(12, 16), (17, 9), (40, 52)], ["opencv"]),
        *itertools.product(("stretch", "crop"), [(17, 9)], ["bilinear", "bicubic"]),
    ],
)
def test_pixels_are_the_builders(resize, size, kernel, tmp_path):
    config = PlacesConfig(name="x", height=size[0], width=size[1], resize=resize, kernel=kernel)
    for number, raw_size in enumerate(RAW):
        for suffix, orientation in ((".png", None), (".jpg", 6), (".jpg", None)):
            name = f"{number}{orientation}{suffix}"
            path = write(tmp_path, name, image(number, *raw_size), orientation)
            wanted = images.fit(images.decode(path.read_bytes(), "a"), config)[..., ::-1]
            found = Pictures([path], Form(*size, resize, kernel=kernel)).images([0])[0]
            assert (found == wanted).all()
            assert found.shape == (*size, 3)


def test_every_kind_of_picture_gives_the_same_pixels(tmp_path):
    path = write(tmp_path, "a.png", image(3, 30, 41))
    turned = write(tmp_path, "b.jpg", image(3, 30, 41), 8)
    kinds = [str(path), path, PIL.Image.open(path), image(3, 30, 41)]
    found = Pictures([*kinds, turned, PIL.Image.open(turned)], Form(12, 16)).images(range(6))
    assert all((one == found[0]).all() for one in found[1:4])
    assert (found[4] == found[5]).all() and (found[4] != found[0]).any()


def test_grey_and_transparent_files_are_the_builders_too(tmp_path):
    pixels = image(1, 20, 30)
    for mode in ("L", "P", "RGBA", "LA"):
        path = tmp_path / f"{mode}.png"
        PIL.Image.fromarray(pixels).convert(mode).save(path)
        wanted = images.decode(path.read_bytes(), "a")[..., ::-1]
        found = Pictures([path, PIL.Image.open(path)], Form(20, 30)).images([0, 1])
        assert (found == wanted[None]).all()


@pytest.mark.parametrize(("choice", "limits"), [("raw/256", None), ("200-4000", (200, 4000))])
def test_16_bits_become_8_as_the_dataset_did_it(choice, limits, tmp_path):
    deep = np.random.default_rng(0).integers(0, 5000, (12, 16, 3), dtype=np.uint16)
    raw = cv2.imencode(".png", deep)[1].tobytes()
    (tmp_path / "a.png").write_bytes(raw)
    metadata = {"sixteen_bit": {"conversion": choice, "range": [*(limits or (0, 65535))]}}
    form = pictures.form_of(metadata, (12, 16))
    form = Form.from_json(json.loads(json.dumps(form.to_json())))
    wanted = (
        sixteen_bit.decode(raw, "a", sixteen_bit.Range(*limits))
        if limits
        else images.decode(raw, "a")
    )
    assert (Pictures([tmp_path / "a.png"], form).images([0])[0] == wanted[..., ::-1]).all()
    with pytest.raises(DataError, match=r"a\.png has 16 bits, and the model saw none such"):
        Pictures([tmp_path / "a.png"], Form(12, 16)).images([0])


def test_the_form_is_that_of_the_datasets_builder():
    metadata = {"config": {"height": 8, "width": 10, "resize": "crop"}}
    assert pictures.form_of(metadata, (8, 10)) == Form(8, 10, "crop", None)
    assert pictures.form_of({}, (8, 10)) == Form(8, 10)
    metadata["config"]["kernel"] = "bicubic"
    assert pictures.form_of(metadata, (8, 10)) == Form(8, 10, "crop", kernel="bicubic")
    assert tuple(pictures.KERNELS) == schema.KERNELS


SIZES = [(28, 42), (20, 27), (56, 70)]


@pytest.mark.parametrize(("kernel", "size"), itertools.product(("bilinear", "bicubic"), SIZES))
def test_pillows_kernels_give_the_pixels_of_released_models_code(shared_goldens, kernel, size):
    picture = goldens.rule(shared_goldens).make_images(48, 64, 1)[0]
    name = f"{kernel}_{size[0]}x{size[1]}"
    with np.load(shared_goldens / "resize_variants.npz") as outputs:
        wanted = outputs[f"pil_{name}"]
        tensors = [
            outputs[f"tensor_{kernel}_aa{aa}_{size[0]}x{size[1]}"][0] for aa in (True, False)
        ]
        whole = outputs[f"uint8tensor_{kernel}_aaTrue_{size[0]}x{size[1]}"][0]
    found = pictures.fit(picture, Form(*size, kernel=kernel))
    assert np.abs(found[..., 0].astype(int) - whole).max() <= 1  # torchvision's own of bytes
    np.testing.assert_array_equal(found[..., :2], wanted)
    apart = [np.abs(found[..., 0] - np.clip(255 * t, 0, 255)).max() for t in tensors]
    assert apart[0] < 1.01  # a level: Pillow rounds between its two directions
    if size < picture.shape:
        assert apart[1] > 10  # without antialias
    assert (pictures.fit(picture, Form(*size)) != found).any()


@pytest.mark.parametrize("kernel", ["bilinear", "bicubic"])
def test_a_kernel_that_shrinks_sees_every_pixel(kernel):
    stripes = np.zeros((16, 64, 3), np.uint8)
    stripes[:, ::4] = 255  # of 5 pixels a step, a plain kernel would miss most
    inner = pictures.fit(stripes, Form(16, 13, kernel=kernel))[:, 1:-1]
    assert inner.min() > 30 and inner.max() < 110
    padded = pictures.fit(stripes, Form(13, 13, "pad", kernel=kernel))
    assert (padded[0] == 0).all() and padded[6].any()


def test_a_form_of_an_earlier_version_is_read_and_written_as_it_was():
    old = {"height": 8, "width": 10, "resize": "pad", "sixteen_bit": None}
    assert Form.from_json(old) == Form(8, 10, "pad")
    assert Form(8, 10, "pad").to_json() == old
    new = Form(8, 10, kernel="bicubic")
    assert Form.from_json(json.loads(json.dumps(new.to_json()))) == new


def test_a_picture_that_repeats_is_decoded_once(monkeypatch, tmp_path):
    path, read = write(tmp_path, "a.png", image(0)), []
    decode = pictures.decode
    monkeypatch.setattr(pictures, "decode", lambda *words: (read.append(1), decode(*words))[1])
    assert Pictures([path], Form(8, 8)).images([0, 0, 0]).shape == (3, 8, 8, 3)
    assert len(read) == 1


def cut(suffix):
    raw = cv2.imencode(suffix, image(0, 200, 300))[1].tobytes()
    return raw[: len(raw) // 2]


def flipped():
    raw = bytearray(cv2.imencode(".png", image(0, 40, 50))[1].tobytes())
    raw[len(raw) // 2] ^= 4
    return bytes(raw)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "is empty"),
        (b"The church is on the left.\n", "is damaged, or not an image of a format that is read"),
        (cut(".jpg"), "is damaged or cut short"),
        (cut(".png"), "is damaged or cut short"),
        (cut(".webp"), "is damaged, or not an image"),
        (flipped(), "is damaged or cut short"),
    ],
)
def test_what_is_no_sound_picture_is_named(raw, reason, tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(raw)
    with pytest.raises(DataError, match=rf"^picture \S*a\.jpg {reason}.*; replace the file"):
        Pictures([path], Form(8, 8)).images([0])


def test_too_many_pixels_are_refused_before_they_are_decoded(monkeypatch, tmp_path):
    path = write(tmp_path, "a.png", image(0, 40, 50))
    monkeypatch.setattr(pictures, "MOST_PIXELS", 1999)
    monkeypatch.setattr(pictures.cv2, "imdecode", None)
    with pytest.raises(DataError, match=r"a\.png has more than the 1,999 pixels"):
        Pictures([path], Form(8, 8)).images([0])


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ("nowhere.jpg", "picture nowhere.jpg is not there; check the path"),
        (
            np.zeros((8, 8, 3), np.float32),
            r"picture 1 is an array of float32 \(8, 8, 3\); give uint8",
        ),
        (np.zeros((8, 8), np.uint8), r"picture 1 is an array of uint8 \(8, 8\); give uint8"),
        (np.zeros((8, 0, 3), np.uint8), r"picture 1 is an array of uint8 \(8, 0, 3\)"),
        (7, "picture 1 is a int; give a path, a PIL image or a uint8 array"),
    ],
)
def test_items_of_other_kinds_are_refused_at_once(item, words):
    with pytest.raises(DataError, match=words):
        Pictures([np.zeros((8, 8, 3), np.uint8), item], Form(8, 8))


def test_a_deep_pil_image_is_refused():
    deep = PIL.Image.fromarray(np.zeros((8, 8), np.uint16))
    with pytest.raises(DataError, match="picture 0 is a PIL image of mode I;16; give 8 bits"):
        Pictures([deep], Form(8, 8)).images([0])
