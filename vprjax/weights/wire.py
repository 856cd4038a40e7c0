"""The wire format of protocol buffers, field by field, without a copy of what the fields hold.

A file of weights is one message of hundreds of megabytes. A library's parser copies it twice and makes an
object of every field, so that a small hostile file takes gigabytes.

Source: protobuf.dev/programming-guides/encoding.
"""

from collections.abc import Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
MOST_FIELDS = 50_000  # of one message; a network's layer has a few hundred
_LONGEST = 10  # bytes of a varint


def fields(message: memoryview) -> Iterator[tuple[int, int, int | memoryview]]:
    """Yields `(number, type, value)`: an int of a VARINT, else the bytes that the field holds.

    Raises:
      ValueError: the bytes are no message, or it has more fields than any message that is read here.
    """
    at = count = 0
    while at < len(message):
        count += 1
        if count > MOST_FIELDS:
            raise ValueError(f"a message has more than {MOST_FIELDS:,} fields")
        tag, at = varint(message, at)
        number, kind = tag >> 3, tag & 7
        if kind == VARINT:
            value, at = varint(message, at)
            yield number, kind, value
            continue
        if kind == BYTES:
            size, at = varint(message, at)
        elif kind in (FIXED64, FIXED32):
            size = 8 if kind == FIXED64 else 4
        else:
            raise ValueError(f"a field has type {kind}, which no message here uses")
        if number == 0 or size > len(message) - at:
            raise ValueError(f"a field of {size:,} bytes ends behind its message")
        yield number, kind, message[at : at + size]
        at += size


def varint(message: memoryview, at: int) -> tuple[int, int]:
    """Returns the unsigned number at `at`, and where the next byte is.

    Raises:
      ValueError: the message ends inside it.
    """
    value = 0
    for i, byte in enumerate(message[at : at + _LONGEST]):
        value |= (byte & 127) << (7 * i)
        if byte < 128:
            return value, at + i + 1
    raise ValueError("the message ends inside a number")


def text(value: int | memoryview) -> str:
    """Returns a field of text.

    Raises:
      ValueError: it is none.
    """
    if isinstance(value, int):
        raise ValueError("a field holds a number where a text is expected")
    return bytes(value[:200]).decode()


def whole(value: int | memoryview) -> int:
    """Returns a field of a whole number.

    Raises:
      ValueError: it is none.
    """
    if not isinstance(value, int):
        raise ValueError("a field holds bytes where a number is expected")
    return value
