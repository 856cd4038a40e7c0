"""Encoded images as stored in a dataset to pixels, in threads."""

import concurrent.futures
import functools
import io
import threading
from collections.abc import Callable, Sequence

import cv2
import numpy as np
import PIL.Image

from vprjax.errors import DataError
from vprjax.runtime.machine import cores

FORMATS = ("PNG", "JPEG", "WEBP")  # what the builders store
MOST_PIXELS = 2**27  # per image, the builders' own limit: 400 MB once decoded
PIL.Image.MAX_IMAGE_PIXELS = MOST_PIXELS  # Pillow warns beyond it, and raises beyond its double
_THREADS = cores()


@functools.cache
def _threads() -> concurrent.futures.ThreadPoolExecutor:
    return concurrent.futures.ThreadPoolExecutor(_THREADS, thread_name_prefix="decode")


def _check_size(encoded: bytes, name: str) -> None:
    """Raises DataError where the header, without decoding, gives more than `MOST_PIXELS`."""
    try:
        with PIL.Image.open(io.BytesIO(encoded), formats=FORMATS) as image:
            width, height = image.size
    except (PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning):
        width = height = MOST_PIXELS
    except Exception as error:  # a damaged header makes Pillow raise anything
        raise DataError(f"image {name} does not decode; build the dataset again") from error
    if width * height > MOST_PIXELS:
        raise DataError(
            f"image {name} has more than the {MOST_PIXELS:,} pixels that an image may have; build the "
            "dataset again, with a size"
        )


def decode(encoded: bytes, name: str) -> np.ndarray:
    """Decodes an image to uint8 `(h, w, 3)`, RGB.

    Raises:
      DataError: the image does not decode or exceeds `MOST_PIXELS`; the error names it.
    """
    _check_size(encoded, name)
    image = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR_RGB)
    if image is None:
        raise DataError(f"image {name} does not decode; build the dataset again")
    return image


def decode_all(encoded: Callable[[np.ndarray], list[bytes]], names: Sequence[str]) -> np.ndarray:
    """Decodes images of one size to uint8 `(n, h, w, 3)`, RGB.

    Each thread gets an equal run of rows, and decodes it while the next run's records are read. A task per
    image would cost more: at each end of one a thread waits for the interpreter.

    Args:
      encoded: of rows of the result, their encoded images; called in this thread.
      names: the `n` images' names, for errors.

    Raises:
      DataError: an image does not decode, or differs in size from the others; the error names it.
    """
    out, shapes, lock = [], [()] * len(names), threading.Lock()

    def fill(rows: np.ndarray, contents: list[bytes]) -> None:
        for row, content in zip(rows, contents, strict=True):
            image = decode(content, names[row])
            shapes[row] = image.shape
            with lock:
                if not out:
                    out.append(np.empty((len(names), *image.shape), np.uint8))
            if image.shape == out[0].shape[1:]:
                out[0][row] = image

    runs = np.array_split(np.arange(len(names)), _THREADS)
    tasks = [_threads().submit(fill, rows, encoded(rows)) for rows in runs if rows.size]
    for task in tasks:
        task.result()
    for name, (height, width, _) in zip(names, shapes, strict=True):
        if (height, width) != shapes[0][:2]:
            raise DataError(
                f"image {name} is {height}x{width} (height x width), but others are "
                f"{shapes[0][0]}x{shapes[0][1]}; build the dataset again with one size"
            )
    return out[0]
