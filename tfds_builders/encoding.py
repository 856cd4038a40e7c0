"""Encodes frames on all cores into a work folder, from which a killed build continues.

Each worker thread reads, decodes, resizes and encodes a chunk of `CHUNK` frames. It writes one file per
chunk under a temporary name and renames it. A hash of the recipe and of each frame's source, size and
time names the file. A later build thus finds a finished chunk and never a stale one. Memory holds at most
two chunks per core.
"""

import collections
import concurrent.futures
import contextlib
import hashlib
import os
import pathlib
import struct
import threading
from collections.abc import Callable, Iterator, Sequence

import cv2

from tfds_builders.errors import RawDataError
from tfds_builders.frame import Frame
from tfds_builders.images import Stored
from tfds_builders.progress import Progress

CHUNK = 32
HEADER = struct.Struct("<QIIII32s")  # bytes, height, width, raw height, raw width, grey levels


def cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


class ChunkStore:
    """The encoded chunks of frames in a work folder.

    Args:
      folder: holds the chunk files; the store makes it when missing.
      recipe: decides the stored bytes together with a frame's source.
      encode: frame to stored image; many threads call it; raises RawDataError for a bad image.
      fingerprint: frame to a string that changes when its raw bytes change.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        recipe: str,
        encode: Callable[[Frame], Stored],
        fingerprint: Callable[[Frame], str],
    ):
        """Makes the folder."""
        self._folder, self._recipe = folder, recipe
        self._encode, self._fingerprint = encode, fingerprint
        folder.mkdir(parents=True, exist_ok=True)

    def fill(self, frames: Sequence[Frame], name: str) -> "Chunks":
        """Encodes the missing chunks of `frames`; returns all chunks in order.

        Raises:
          RawDataError: names every unusable image.
        """
        problems: list[str] = []
        with Progress(len(frames), name) as progress:

            def one(chunk):
                path = self._path(chunk)
                if not path.exists():
                    self._write(path, chunk, problems, progress)
                else:
                    progress.add(len(chunk))
                return path

            chunks = (frames[i : i + CHUNK] for i in range(0, len(frames), CHUNK))
            paths = list(in_order(one, chunks))
            if problems:
                raise RawDataError(*sorted(problems))
        return Chunks(paths)

    def _path(self, chunk: Sequence[Frame]) -> pathlib.Path:
        text = "\0".join([self._recipe, *map(self._fingerprint, chunk)])
        return self._folder / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.chunk"

    def _write(self, path, chunk, problems, progress) -> None:
        images = []
        for frame in chunk:
            try:
                images.append(self._encode(frame))
            except RawDataError as error:
                problems.extend(error.problems)
            progress.add()
        if len(images) < len(chunk):
            return
        temporary = path.with_suffix(f".{threading.get_ident()}.part")
        with temporary.open("wb") as file:
            for image in images:
                size = (image.height, image.width, *image.raw_size)
                file.write(HEADER.pack(len(image.data), *size, image.levels))
                file.write(image.data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)


class Chunks:
    """The encoded images of chunk files in order."""

    def __init__(self, paths: Sequence[pathlib.Path]):
        """Keeps the paths."""
        self._paths = list(paths)

    def images(self) -> Iterator[Stored]:
        """Yields all images in order; memory holds one."""
        for path in self._paths:
            with path.open("rb") as file:
                while header := file.read(HEADER.size):
                    size, height, width, *raw_size, levels = HEADER.unpack(header)
                    yield Stored(file.read(size), height, width, tuple(raw_size), levels)

    def headers(self) -> Iterator[tuple[int, Stored]]:
        """Yields all images in order by their number of bytes, without these."""
        for path in self._paths:
            with path.open("rb") as file:
                while header := file.read(HEADER.size):
                    size, height, width, *raw_size, levels = HEADER.unpack(header)
                    yield size, Stored(b"", height, width, tuple(raw_size), levels)
                    file.seek(size, os.SEEK_CUR)


def in_order(function: Callable, items) -> Iterator:
    """Yields the results of `function` on all cores in order; at most two items per core are under way."""
    with one_opencv_thread(), concurrent.futures.ThreadPoolExecutor(cores()) as pool:
        under_way: collections.deque = collections.deque()
        try:
            for item in items:
                under_way.append(pool.submit(function, item))
                if len(under_way) >= 2 * cores():
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def one_opencv_thread():
    """Gives OpenCV one thread per call, since the calls themselves run side by side."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
