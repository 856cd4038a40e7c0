"""Pictures from anywhere in the form of a prepared dataset's images, as its builder makes them.

The builders (tfds_builders/images.py) store images of one size. A model that trained on them describes
other pictures best in the same form. Both sides call OpenCV alike, so that the pixels are equal.
"""

import concurrent.futures
import dataclasses
import functools
import io
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import PIL.Image
import PIL.ImageOps

from vprjax.data.decoding import MOST_PIXELS
from vprjax.errors import DataError
from vprjax.runtime.machine import cores

FORMATS = (
    "PNG",
    "JPEG",
    "WEBP",
    "BMP",
    "TIFF",
    "PPM",
)  # by content; the file's name does not count
RESIZES = ("stretch", "pad", "crop", "shorter_side")
OPENCV = "opencv"
# Kernel -> Pillow's; all but OpenCV's widen with the step when they shrink (antialias).
KERNELS = {
    OPENCV: None,
    "bilinear": PIL.Image.Resampling.BILINEAR,
    "bicubic": PIL.Image.Resampling.BICUBIC,
}
HIGH_BYTE = "raw/256"


@dataclasses.dataclass(frozen=True)
class Form:
    """The form of a prepared dataset's images.

    Attributes:
      height: in pixels.
      width: in pixels.
      resize: how a picture of another aspect reaches the size: "stretch"; "pad" with black; "crop" its
        centre; "shorter_side", which stretches too, as only a picture of the size's aspect fits it.
      sixteen_bit: the two 16-bit values that become 0 and 255; or "raw/256"; None refuses 16 bits.
      kernel: one of `KERNELS`: "opencv" averages areas to shrink and is linear to enlarge, as the builders;
        "bilinear" and "bicubic" are Pillow's, with antialias.
    """

    height: int
    width: int
    resize: str = "stretch"
    sixteen_bit: tuple[int, int] | str | None = None
    kernel: str = OPENCV

    def to_json(self) -> dict:
        """The form as JSON values, without the kernel where it is OpenCV's.

        Earlier versions wrote no kernel, and a map's name of its model comes from these values.
        """
        values = dataclasses.asdict(self)
        return {k: v for k, v in values.items() if k != "kernel" or v != OPENCV}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Form":
        """The form that `to_json` gave, perhaps read back from JSON."""
        deep = values["sixteen_bit"]
        deep = tuple(deep) if isinstance(deep, list | tuple) else deep
        kernel = values.get("kernel", OPENCV)  # earlier versions knew no other
        return cls(values["height"], values["width"], values["resize"], deep, kernel)


def form_of(metadata: Mapping[str, Any], size: tuple[int, int]) -> Form:
    """The form of a dataset whose builder left `metadata`, and whose images have this height and width."""
    deep = metadata.get("sixteen_bit") or {}
    own = deep.get("conversion") if deep.get("conversion") == HIGH_BYTE else deep.get("range")
    config = metadata.get("config") or {}
    resize, kernel = config.get("resize", "stretch"), config.get("kernel", OPENCV)
    return Form(*size, resize, tuple(own) if isinstance(own, list) else own, kernel)


class Pictures:
    """Pictures of any kinds, each decoded when it is asked for, in one form.

    Args:
      items: paths, PIL images or uint8 arrays `(h, w, 3)`, RGB.
      form: the form of the images that `images` returns.

    Raises:
      DataError: an item is none of these, or its file is missing.
    """

    def __init__(self, items: Sequence[Any], form: Form):
        """Decodes nothing yet."""
        self._items, self._form = list(items), form
        for number, item in enumerate(self._items):
            _check(item, number)

    def __len__(self) -> int:
        return len(self._items)

    def images(self, indices) -> np.ndarray:
        """Returns the pictures at `indices` `(m,)` as uint8 `(m, h, w, 3)`, RGB.

        Raises:
          DataError: a picture cannot be read; the error names it.
        """
        chosen = [int(index) for index in np.asarray(indices).ravel()]
        # Each picture is decoded once, as a padded batch repeats some.
        once = dict.fromkeys(chosen)
        found = dict(zip(once, _readers().map(self._image, once), strict=True))
        return np.stack([found[index] for index in chosen])

    def _image(self, index: int) -> np.ndarray:
        item = self._items[index]
        if isinstance(item, np.ndarray):
            return fit(item, self._form)
        if isinstance(item, PIL.Image.Image):
            return fit(_from_pil(item, index), self._form)
        return read(pathlib.Path(item).expanduser(), self._form)


@functools.cache
def _readers() -> concurrent.futures.ThreadPoolExecutor:
    return concurrent.futures.ThreadPoolExecutor(cores(), thread_name_prefix="pictures")


def _check(item: Any, number: int) -> None:
    """Raises DataError where an item is no picture, before any is decoded."""
    if isinstance(item, str | os.PathLike):
        if not pathlib.Path(item).expanduser().is_file():
            raise DataError(f"picture {item} is not there; check the path")
    elif isinstance(item, np.ndarray):
        if item.dtype != np.uint8 or item.ndim != 3 or item.shape[2] != 3 or not item.size:
            raise DataError(
                f"picture {number} is an array of {item.dtype} {item.shape}; give uint8 (height, width, "
                "3), RGB from 0 to 255"
            )
    elif not isinstance(item, PIL.Image.Image):
        raise DataError(
            f"picture {number} is a {type(item).__name__}; give a path, a PIL image or a uint8 array "
            "(height, width, 3)"
        )


def _from_pil(image: PIL.Image.Image, number: int) -> np.ndarray:
    if image.mode in ("F", "I") or image.mode.startswith("I;"):
        raise DataError(
            f"picture {number} is a PIL image of mode {image.mode}; give 8 bits, as RGB"
        )
    try:
        return np.asarray(PIL.ImageOps.exif_transpose(image).convert("RGB"))
    except (OSError, ValueError) as error:  # PIL decodes late, and not after close()
        raise DataError(f"picture {number} cannot be decoded ({error}); replace it") from error


def read(path: pathlib.Path, form: Form) -> np.ndarray:
    """Reads a picture to uint8 `(h, w, 3)`, RGB, in this form.

    Raises:
      DataError: the file is unreadable, no sound image, too large or of 16 bits; the error names it.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(f"picture {path} cannot be read ({error.strerror}); check it") from error
    return fit(decode(raw, str(path), form.sixteen_bit), form)


def decode(raw: bytes, name: str, sixteen_bit: tuple[int, int] | str | None = None) -> np.ndarray:
    """Decodes an image of `FORMATS` to uint8 `(h, w, 3)`, RGB, turned as its EXIF says.

    Args:
      raw: the encoded image.
      name: comes first in errors.
      sixteen_bit: as in `Form`.

    Raises:
      DataError: it is no sound image, too large, or of 16 bits that no rule converts.
    """
    if reason := _fault(raw):
        raise DataError(f"picture {name} {reason}; replace the file or leave it out")
    data = np.frombuffer(raw, np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    if image is not None and image.dtype == np.uint16:
        if sixteen_bit is None:
            raise DataError(
                f"picture {name} has 16 bits, and the model saw none such: convert it to 8 bits"
            )
        if sixteen_bit == HIGH_BYTE:
            image = cv2.imdecode(data, cv2.IMREAD_COLOR)
        else:
            low, high = sixteen_bit
            scaled = (image.astype(np.float32) - low) * (255 / (high - low))
            image = np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
    if image is None or image.dtype != np.uint8:
        raise DataError(
            f"picture {name} is not an image of 8 or 16 bits; convert it to PNG or JPEG"
        )
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def _fault(raw: bytes) -> str:
    """What is wrong with an encoded image, or ""; OpenCV fills the rest of a cut file with grey."""
    if not raw:
        return "is empty"
    try:
        with PIL.Image.open(io.BytesIO(raw), formats=FORMATS) as image:
            if image.width * image.height > MOST_PIXELS:
                raise PIL.Image.DecompressionBombError
            return _damage(image)
    except (PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning):
        return f"has more than the {MOST_PIXELS:,} pixels that an image may have"
    except Exception:  # a damaged header makes Pillow raise anything
        return f"is damaged, or not an image of a format that is read ({', '.join(FORMATS)})"


def _damage(image: PIL.Image.Image) -> str:
    try:
        if image.format == "PNG":
            image.verify()  # compares the checksums and decodes nothing
        else:
            image.draft("RGB", (1, 1))  # a JPEG at an eighth of its size
            image.load()
    except Exception as error:  # a damaged file makes Pillow raise anything
        return f"is damaged or cut short ({error})"
    return ""


def fit(image: np.ndarray, form: Form) -> np.ndarray:
    """Brings an image `(h, w, 3)` to the form's size, as its `resize` asks."""
    final = np.array([form.height, form.width])
    if form.resize in ("stretch", "shorter_side") or image.shape[:2] == (form.height, form.width):
        return _resize(image, *final.tolist(), form.kernel)
    size = np.array(image.shape[:2])
    ratios = final / size
    inner = np.rint(size * (ratios.min() if form.resize == "pad" else ratios.max())).astype(int)
    bound = np.minimum if form.resize == "pad" else np.maximum
    image = _resize(image, *np.maximum(1, bound(inner, final)).tolist(), form.kernel)
    top, left = (np.abs(final - image.shape[:2]) // 2).tolist()
    if form.resize == "crop":
        return np.ascontiguousarray(image[top : top + form.height, left : left + form.width])
    padded = np.zeros((form.height, form.width, 3), image.dtype)
    padded[top : top + image.shape[0], left : left + image.shape[1]] = image
    return padded


def _resize(image: np.ndarray, height: int, width: int, kernel: str) -> np.ndarray:
    """Resizes to `(height, width)` by one of `KERNELS`."""
    if image.shape[:2] == (height, width):
        return image
    if kernel != OPENCV:
        found = PIL.Image.fromarray(image).resize((width, height), KERNELS[kernel])
        return np.asarray(found)
    shrinks = height * width < image.shape[0] * image.shape[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(image, (width, height), interpolation=how)
