"""Turns raw image bytes into stored ones: decode, resize once, encode. OpenCV releases the GIL."""

import io
import re
import struct
import zlib
from typing import NamedTuple

import cv2
import numpy as np
import PIL.ExifTags
import PIL.Image
import PIL.TiffImagePlugin

from tfds_builders.errors import RawDataError
from tfds_builders.schema import PlacesConfig

PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
FORMATS = (
    "PNG",
    "JPEG",
    "WEBP",
    "BMP",
    "TIFF",
    "PPM",
)  # by content; the file's name does not count
PLAIN_HEADER = rb"P[2356]\s+(?:#.*\s+)*\d+\s+\d+\s+(\d+)\s"  # of PGM and PPM; white is the last
BITS_PER_SAMPLE = 258  # a TIFF tag
MOST_PIXELS = 2**27  # 16384 x 8192, the largest street-view panorama: 400 MB of pixels
PIL.Image.MAX_IMAGE_PIXELS = MOST_PIXELS  # Pillow warns beyond it and raises beyond twice that


class Stored(NamedTuple):
    """An encoded image and its size in pixels.

    Attributes:
      data: its bytes.
      height: of the stored image.
      width: of the stored image.
      raw_size: height and width before it was resized.
      levels: the grey levels that a 16-bit image uses as 8 bits, one bit each; no bit for other images.
    """

    data: bytes
    height: int
    width: int
    raw_size: tuple[int, int] = (0, 0)
    levels: bytes = b""


def decode(raw: bytes, name: str, flags: int = cv2.IMREAD_COLOR) -> np.ndarray:
    """Decodes to uint8 `(h, w, 3)` BGR, or as OpenCV's `flags` ask.

    Raises:
      RawDataError: the file is empty, truncated, damaged, too large or no image; `name` comes first.
    """
    reason = damage(raw) or _oversize(raw)
    if reason is None:
        try:
            image = cv2.imdecode(np.frombuffer(raw, np.uint8), flags)
        except cv2.error:
            image = None
        if image is not None:
            return _full_range(image, raw)
        reason = "is not an image that OpenCV decodes"
    if _is_wide(raw):
        raise RawDataError(
            f"{name} holds values of 32 bits or more; write it with 8 or 16 bits, with one range for all "
            "images"
        )
    raise RawDataError(f"{name} {reason}; replace the file or leave it out")


def _full_range(image: np.ndarray, raw: bytes) -> np.ndarray:
    """Stretches a PGM's or PPM's bytes to 255 where the header names another white; OpenCV does not."""
    header = re.match(PLAIN_HEADER, raw[:512])
    white = int(header[1]) if header else 255
    if not 0 < white < 255 or raw[:2] not in (b"P5", b"P6"):
        return image
    return np.clip(np.rint(image * 255.0 / white), 0, 255).astype(np.uint8)


def _is_wide(raw: bytes) -> bool:
    """Whether a file is a TIFF with more than 16 bits per value, floating-point or not."""
    if raw[:2] not in (b"II", b"MM"):
        return False
    try:  # the tags alone: Pillow has no mode for some of these
        tags = PIL.TiffImagePlugin.ImageFileDirectory_v2(raw[:8])
        stream = io.BytesIO(raw)
        stream.seek(tags.next)
        tags.load(stream)
        return max(tags.get(BITS_PER_SAMPLE, (8,))) > 16
    except Exception:  # a damaged header makes Pillow raise anything
        return False


def damage(raw: bytes) -> str | None:
    """The container's fault or None; some decoders fill the rest of a cut file with grey."""
    if not raw:
        return "is empty"
    if raw.startswith(PNG):
        return _png_damage(raw)
    if raw.startswith(JPEG) and raw.find(b"\xff\xd9", _jpeg_scan(raw)) < 0:
        return f"is a truncated JPEG ({len(raw)} bytes, no end marker)"
    if raw[:4] == b"RIFF" and len(raw) < 8 + struct.unpack("<I", raw[4:8].ljust(4, b"\0"))[0]:
        return f"is a truncated WebP ({len(raw)} bytes)"
    return None


def _jpeg_scan(raw: bytes) -> int:
    """Offset of a JPEG's first scan, or its length without one.

    An end marker before the scan is a thumbnail's. After the last marker telephones append films.
    """
    at = 2
    while at + 4 <= len(raw) and raw[at] == 0xFF:
        if raw[at + 1] == 0xDA:
            return at
        at += 2 + int.from_bytes(raw[at + 2 : at + 4], "big")
    return len(raw)


def _oversize(raw: bytes) -> str | None:
    """The fault of the header's size or format, or None; decodes nothing."""
    try:
        with PIL.Image.open(io.BytesIO(raw), formats=FORMATS) as image:
            width, height = image.size
    except (PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning):
        return f"has more than the {MOST_PIXELS:,} pixels that an image may have"
    except Exception:  # a damaged header makes Pillow raise anything
        return f"is not an image of a format that is read ({', '.join(FORMATS)})"
    if width * height > MOST_PIXELS:
        return (
            f"has {height} x {width} pixels (height x width), more than the {MOST_PIXELS:,} that an "
            "image may have"
        )
    return None


def _png_damage(raw: bytes) -> str | None:
    at = len(PNG)
    while at + 12 <= len(raw):
        (size,) = struct.unpack(">I", raw[at : at + 4])
        end = at + 12 + size
        if end > len(raw):
            break
        (crc,) = struct.unpack(">I", raw[end - 4 : end])
        if zlib.crc32(memoryview(raw)[at + 4 : end - 4]) != crc:
            return f"is a damaged PNG (checksum error near byte {at})"
        if raw[at + 4 : at + 8] == b"IEND":
            return None
        at = end
    return f"is a truncated PNG ({len(raw)} bytes, no end marker)"


def store(raw: bytes, image: np.ndarray, config: PlacesConfig) -> Stored:
    """Resizes a decoded image to the config's size and encodes it.

    `raw` stays as it is where size and format agree, EXIF turns nothing, and it holds 8-bit RGB. What holds
    another kind of pixels, and has no format of its own by the config, becomes PNG.
    """
    own = "jpeg" if raw.startswith(JPEG) else "webp" if raw[8:12] == b"WEBP" else "png"
    unfit = _unfit(raw)
    image_format = config.image_format or (own if unfit != "other pixels" else "png")
    same_format = image_format == own and (own != "png" or raw.startswith(PNG))
    fitted = fit(image, config)
    if fitted is image and same_format and not unfit:
        return Stored(raw, *image.shape[:2])
    return Stored(encode(fitted, image_format, config.quality), *fitted.shape[:2])


def _unfit(raw: bytes) -> str:
    """Why the bytes cannot be stored as they are, or "".

    Some readers ignore that EXIF turns or mirrors the pixels. The record's are 8-bit RGB.
    """
    if raw.startswith(PNG) and raw[24:26] != b"\x08\x02":  # bits and colour type
        return "other pixels"
    try:
        with PIL.Image.open(io.BytesIO(raw), formats=FORMATS) as image:
            if image.mode != "RGB" or "transparency" in image.info:
                return "other pixels"
            turned = image.getexif().get(PIL.ExifTags.Base.Orientation, 1) != 1
    except Exception:  # a damaged header makes Pillow raise anything
        return "turned"
    return "turned" if turned else ""


def fitted_size(size: tuple[int, int], config: PlacesConfig) -> tuple[int, int]:
    """Height and width that an image of `size` has in the record."""
    if config.height == 0:
        return size
    if config.resize != "shorter_side":
        return config.height, config.width
    ratio = min(config.height, config.width) / min(size)
    return max(1, round(size[0] * ratio)), max(1, round(size[1] * ratio))


def fit(image: np.ndarray, config: PlacesConfig) -> np.ndarray:
    """The image at the config's size, as its `resize` asks; the same array where nothing changes."""
    size, wanted = np.array(image.shape[:2]), np.array([config.height, config.width])
    final = fitted_size(image.shape[:2], config)
    if config.resize in ("stretch", "shorter_side") or image.shape[:2] == final:
        return resize(image, *final, config.kernel)
    ratios = wanted / size
    inner = np.rint(size * (ratios.min() if config.resize == "pad" else ratios.max())).astype(int)
    bound = np.minimum if config.resize == "pad" else np.maximum
    image = resize(image, *np.maximum(1, bound(inner, wanted)).tolist(), config.kernel)
    top, left = (np.abs(wanted - image.shape[:2]) // 2).tolist()
    if config.resize == "crop":
        return np.ascontiguousarray(image[top : top + config.height, left : left + config.width])
    padded = np.zeros((config.height, config.width, 3), image.dtype)
    padded[top : top + image.shape[0], left : left + image.shape[1]] = image
    return padded


# Kernel of a config -> Pillow's.
PILLOW = {"bilinear": PIL.Image.Resampling.BILINEAR, "bicubic": PIL.Image.Resampling.BICUBIC}


def resize(image: np.ndarray, height: int, width: int, kernel: str = "opencv") -> np.ndarray:
    """Resizes to `(height, width)`; OpenCV's averages areas to shrink and is linear to enlarge."""
    if image.shape[:2] == (height, width):
        return image
    if kernel in PILLOW:
        return np.asarray(PIL.Image.fromarray(image).resize((width, height), PILLOW[kernel]))
    shrinks = height * width < image.shape[0] * image.shape[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(image, (width, height), interpolation=how)


def encode(image: np.ndarray, image_format: str, quality: int) -> bytes:
    """Encodes uint8 BGR as "png", "jpeg" or "webp"."""
    flags = {
        "png": [],
        "jpeg": [cv2.IMWRITE_JPEG_QUALITY, quality],
        "webp": [cv2.IMWRITE_WEBP_QUALITY, quality],
    }[image_format]
    return cv2.imencode(f".{image_format}", image, flags)[1].tobytes()
