"""A function of every image of a split, on all cores and with one batch of images in memory."""

import concurrent.futures
from collections.abc import Callable, Iterator

import numpy as np

from vprjax.console import progress
from vprjax.data.source import Places
from vprjax.runtime.machine import cores


def pool() -> concurrent.futures.ThreadPoolExecutor:
    """Threads, one per core that this process may use; OpenCV and NumPy leave them to run together."""
    return concurrent.futures.ThreadPoolExecutor(cores())


def mapped(
    each: Callable[[np.ndarray], np.ndarray],
    places: Places,
    numbers: np.ndarray,
    batch: int,
    what: str,
) -> Iterator[list[np.ndarray]]:
    """Yields lists of `each(image (h, w, 3))` for the images `numbers`, in order, `batch` at a time.

    Raises:
      DataError: an image cannot be read.
    """
    with pool() as threads, progress(what, len(numbers), "images") as bar:
        for first in range(0, len(numbers), batch):
            found = list(threads.map(each, places.images(numbers[first : first + batch])))
            bar.advance(len(found))
            yield found


def spread(count: int, most: int) -> np.ndarray:
    """Numbers of at most `most` of `count` images, evenly spread, ascending."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(np.int64))
