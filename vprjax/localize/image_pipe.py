"""Splits a stream of JPEG or PNG images, one after the other, as `ffmpeg -f image2pipe` writes it.

Neither format says its length at the start, but both are walked part by part: a JPEG by its segments (an
EXIF thumbnail is a JPEG inside one, so that no search for the end's mark would do), a PNG by its chunks.
"""

from collections.abc import Iterator
from typing import BinaryIO

from vprjax.console import log
from vprjax.errors import DataError

MOST_BYTES = 1 << 28  # of one image
PIECE = 1 << 16
JPEG, PNG = b"\xff\xd8", b"\x89PNG\r\n\x1a\n"
ALONE = {0x01, *range(0xD0, 0xD8)}  # JPEG markers without a length
END, SCAN = 0xD9, 0xDA


class _Ended(Exception):
    """The stream ends inside an image."""


class _Buffer:
    """Bytes read so far of the image at hand; reads no more of the stream than is there."""

    def __init__(self, stream: BinaryIO):
        self._read, self.data = getattr(stream, "read1", stream.read), bytearray()

    def need(self, size: int) -> None:
        """Waits for `size` bytes of the image."""
        if size > MOST_BYTES:
            raise DataError(f"an image of the stream has more than {MOST_BYTES:,} bytes")
        while len(self.data) < size:
            piece = self._read(PIECE)
            if not piece:
                raise _Ended
            self.data += piece

    def number(self, at: int, size: int) -> int:
        """The big-endian number of `size` bytes at `at`."""
        self.need(at + size)
        return int.from_bytes(self.data[at : at + size])

    def take(self, size: int) -> bytes:
        """Removes and returns the first `size` bytes."""
        taken = bytes(self.data[:size])
        del self.data[:size]
        return taken


def images(stream: BinaryIO) -> Iterator[bytes]:
    """Yields each image of a stream, encoded, as soon as its last byte is there.

    An image that the stream's end cuts short is logged and left out.

    Raises:
      DataError: the stream holds something else, or an image is too large.
    """
    buffer, number = _Buffer(stream), 0
    while True:
        try:
            buffer.need(1)
        except _Ended:
            return
        try:
            length = _length(buffer)
        except _Ended:
            log(f"the stream ends inside image {number}, which is left out")
            return
        if not length:
            raise DataError(
                f"image {number} of the stream is neither a JPEG nor a PNG; send one after the other, e.g. "
                "with ffmpeg -f image2pipe -c:v mjpeg -"
            )
        yield buffer.take(length)
        number += 1


def _length(buffer: _Buffer) -> int:
    """The length of the image that begins the buffer; 0 where it is neither JPEG nor PNG."""
    buffer.need(2)
    if buffer.data.startswith(JPEG):
        return _jpeg_length(buffer)
    if not buffer.data.startswith(PNG[:2]):
        return 0
    buffer.need(len(PNG))
    return _png_length(buffer) if buffer.data.startswith(PNG) else 0


def _png_length(buffer: _Buffer) -> int:
    at = len(PNG)
    while True:
        size, name = buffer.number(at, 4), buffer.number(at + 4, 4)
        at += 12 + size  # length, name and checksum
        buffer.need(at)
        if name == int.from_bytes(b"IEND"):
            return at


def _jpeg_length(buffer: _Buffer) -> int:
    """Walks from marker to marker; 0 where a segment does not begin with one."""
    at = len(JPEG)
    while True:
        if buffer.number(at, 1) != 0xFF:
            return 0
        while (marker := buffer.number(at + 1, 1)) == 0xFF:  # filling
            at += 1
        at += 2
        if marker == END:
            return at
        if marker not in ALONE:
            at += buffer.number(at, 2)
        if marker == SCAN:
            at = _after_scan(buffer, at)


def _after_scan(buffer: _Buffer, at: int) -> int:
    """The place of the marker that follows a scan's data, in which 0xff stands before 0 or a restart."""
    while True:
        buffer.need(at + 2)
        found = buffer.data.find(b"\xff", at)
        if found < 0 or found + 1 >= len(buffer.data):
            at = max(at, len(buffer.data) - 1)
        elif buffer.data[found + 1] == 0 or buffer.data[found + 1] in ALONE:
            at = found + 2
        else:
            return found
