"""16-bit images become 8-bit ones by a stated conversion."""

import io
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import cv2
import numpy as np
import PIL.Image

from tfds_builders import images
from tfds_builders.encoding import in_order
from tfds_builders.errors import RawDataError
from tfds_builders.frame import Frame

DEEPEST = 2**16 - 1
SHARES = (0.1, 99.9)  # percent of the values at or below black, and at or below white
SAMPLE = 1000  # images, evenly spread, whose values give the percentiles


class Range(NamedTuple):
    """The 16-bit values that become 0 and 255; those between follow linearly."""

    low: int
    high: int


def fixed(choice: str) -> Range | None:
    """The range in a config's `LOW-HIGH`, or None for another choice."""
    match = re.fullmatch(r"(\d{1,5})-(\d{1,5})", choice, re.ASCII)
    return Range(int(match[1]), int(match[2])) if match else None


def is_deep(raw: bytes) -> bool:
    """Whether the header of an image says 16 bits."""
    if raw.startswith(images.PNG):
        return raw[24:25] == b"\x10"
    if raw[:2] in (b"II", b"MM"):
        try:
            with PIL.Image.open(io.BytesIO(raw), formats=("TIFF",)) as image:
                return max(image.tag_v2.get(images.BITS_PER_SAMPLE, (8,))) == 16
        except Exception:  # a damaged header makes Pillow raise anything
            return False
    parts = re.match(images.PLAIN_HEADER, raw[:512])
    return bool(parts) and int(parts[1]) > 255


def decode(raw: bytes, name: str, limits: Range) -> np.ndarray:
    """Decodes a 16-bit image to uint8 `(h, w, 3)` BGR; `limits` become 0 and 255.

    Raises:
      RawDataError: the file is no sound image; `name` comes first.
    """
    image = images.decode(raw, name, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    scaled = (image.astype(np.float32) - limits.low) * (255 / (limits.high - limits.low))
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)


def percentiles(
    frames: Sequence[Frame], read: Callable[[Frame], bytes], where: Callable[[Frame], str]
) -> Range | None:
    """The range between the `SHARES` percentiles of the dataset's 16-bit images, None without any.

    Raises:
      RawDataError: all their values are equal.
    """

    def counts(frame: Frame) -> np.ndarray | None:
        try:
            raw = read(frame)
            if not is_deep(raw):
                return None
            image = images.decode(raw, where(frame), cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
        except RawDataError:  # the build names it
            return None
        return np.bincount(image.ravel(), minlength=DEEPEST + 1)

    step = max(1, -(-len(frames) // SAMPLE))
    total = np.zeros(DEEPEST + 1, np.int64)
    for found in in_order(counts, frames[::step]):
        if found is not None:
            total += found
    if not total.any():
        return None
    shares = np.cumsum(total) / total.sum()
    low, high = (int(np.searchsorted(shares, share / 100)) for share in SHARES)
    if low == high:
        low, high = int(np.flatnonzero(total)[0]), int(np.flatnonzero(total)[-1])
    if low == high:
        raise RawDataError(f"all 16-bit images hold the one value {low}; replace them")
    return Range(low, high)


def levels(image: np.ndarray) -> bytes:
    """The grey levels that a uint8 image uses, one bit each: 32 bytes."""
    return np.packbits(np.bincount(image.ravel(), minlength=256) > 0).tobytes()
