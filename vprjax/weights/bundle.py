"""TensorFlow's checkpoints: `NAME.index` and `NAME.data-00000-of-00001`, as in a SavedModel's variables.

The index is a sorted table of LevelDB's format: blocks of keys that share their beginnings, an index block
and a footer. Its values are protocol buffers that say where a variable lies in the data.

Source: table_format.md of LevelDB; tensor_bundle.proto and types.proto of TensorFlow.
"""

import math
import mmap
import pathlib
import struct
from collections.abc import Callable, Iterable, Iterator

import ml_dtypes
import numpy as np

from vprjax.weights import wire

SUFFIX = ".index"
MAGIC, FOOTER, TRAILER = 0xDB4775248B80FB57, 48, 5
LARGEST_INDEX = 16 << 20  # DELF's takes 20 kB
MOST_ENTRIES = 100_000
# The types that weights have, by their number; others, such as texts, are no weights and are left out.
_TYPES = {1: "<f4", 2: "<f8", 3: "<i4", 9: "<i8", 14: ml_dtypes.bfloat16, 19: "<f2"}
_SHARDS, _ORDER = 1, 2  # of BundleHeaderProto
_TYPE, _SHAPE, _SHARD, _OFFSET, _SIZE, _SLICES = 1, 2, 3, 4, 5, 7  # of BundleEntryProto
_DIMENSION, _LENGTH = 2, 1  # of TensorShapeProto


def parts(index: pathlib.Path) -> list[pathlib.Path]:
    """Returns the index and its data beside it, in order."""
    stem = index.name[: -len(SUFFIX)]  # perhaps in capitals
    return [index, *sorted(index.parent.glob(f"{stem}.data-?????-of-?????"))]


def read(
    index: pathlib.Path, check_sizes: Callable[[Iterable[int]], None]
) -> dict[str, np.ndarray]:
    """Returns the numeric variables by name, in TensorFlow's own layout.

    Args:
      index: the path of the index.
      check_sizes: raises where arrays of these bytes are too large; it is asked before they are copied.

    Raises:
      ValueError: a file is cut, missing or no such checkpoint, or a variable is not of its shape.
    """
    if index.stat().st_size > LARGEST_INDEX:
        raise ValueError(f"its index takes more than {LARGEST_INDEX:,} bytes")
    table = dict(_table(memoryview(index.read_bytes())))
    header = {number: value for number, _, value in wire.fields(table.pop(b"", memoryview(b"")))}
    shards = wire.whole(header.get(_SHARDS, 0))
    if not 0 < shards < 1000 or wire.whole(header.get(_ORDER, 0)):
        raise ValueError("its index has no header of a little-endian checkpoint")
    entries = {key.decode(): _entry(key.decode(), value) for key, value in table.items()}
    entries = {name: entry for name, entry in entries.items() if entry[0] in _TYPES}
    check_sizes([size for _, _, _, _, size in entries.values()])
    data = [_shard(index, number, shards) for number in range(shards)]
    return {name: _array(name, entry, data) for name, entry in entries.items()}


def _shard(index: pathlib.Path, number: int, count: int) -> memoryview:
    stem = index.name[: -len(SUFFIX)]  # perhaps in capitals
    file = index.with_name(f"{stem}.data-{number:05d}-of-{count:05d}")
    if not file.is_file():
        raise ValueError(f"{file.name} is not beside it, which holds its numbers")
    if not file.stat().st_size:
        return memoryview(b"")
    with file.open("rb") as f:
        return memoryview(mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ))


Entry = tuple[int, tuple[int, ...], int, int, int]  # type, shape, shard, offset, size


def _entry(name: str, message: memoryview) -> Entry:
    found, shape = {_TYPE: 0, _SHARD: 0, _OFFSET: 0, _SIZE: 0}, []
    for number, kind, value in wire.fields(message):
        if number == _SLICES:
            raise ValueError(f"{name} is cut into slices; save the model on one machine")
        if number == _SHAPE and kind == wire.BYTES:
            for inner, _, dimension in wire.fields(value):
                if inner == _DIMENSION and not isinstance(dimension, int):
                    sides = {n: v for n, _, v in wire.fields(dimension)}
                    shape.append(wire.whole(sides.get(_LENGTH, 0)))
        elif number in found:
            found[number] = wire.whole(value)
    return found[_TYPE], tuple(shape), found[_SHARD], found[_OFFSET], found[_SIZE]


def _array(name: str, entry: Entry, data: list[memoryview]) -> np.ndarray:
    kind, shape, shard, offset, size = entry
    dtype = np.dtype(_TYPES[kind])
    if size != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{name} has {size:,} bytes, but its shape is {shape} of {dtype}")
    if shard >= len(data) or offset + size > len(data[shard]):
        raise ValueError(f"the data end before {name}: they are cut")
    raw = data[shard][offset : offset + size]
    with np.errstate(over="ignore", invalid="ignore"):
        numbers = np.frombuffer(raw, dtype) if size else np.empty(0, dtype)
        return numbers.astype(np.float32).reshape(shape)


def _table(raw: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Yields the keys and values of a sorted table."""
    if len(raw) < FOOTER or struct.unpack("<Q", raw[-8:])[0] != MAGIC:
        raise ValueError("it does not end as the index of a checkpoint")
    footer, at = raw[-FOOTER:-8], 0
    handle = []
    for _ in range(4):  # offset and size of the meta index, then of the index
        number, at = wire.varint(footer, at)
        handle.append(number)
    count = 0
    for _, value in _block(raw, *handle[2:]):
        offset, at = wire.varint(value, 0)
        size, _ = wire.varint(value, at)
        for entry in _block(raw, offset, size):
            count += 1
            if count > MOST_ENTRIES:
                raise ValueError(f"its index has more than {MOST_ENTRIES:,} entries")
            yield entry


def _block(raw: memoryview, offset: int, size: int) -> Iterator[tuple[bytes, memoryview]]:
    """Yields the keys and values of a block; a key shares its beginning with the one before."""
    if offset + size + TRAILER > len(raw) or size < 4:
        raise ValueError("a block of its index ends behind it")
    if raw[offset + size]:
        raise ValueError("its index is compressed, which TensorFlow's is not")
    block = raw[offset : offset + size]
    restarts = struct.unpack("<I", block[-4:])[0]
    end, at, key = size - 4 - 4 * restarts, 0, b""
    if end < 0:
        raise ValueError("a block of its index is damaged")
    while at < end:
        shared, at = wire.varint(block, at)
        rest, at = wire.varint(block, at)
        length, at = wire.varint(block, at)
        if shared > len(key) or at + rest + length > end:
            raise ValueError("a block of its index is damaged")
        key = key[:shared] + bytes(block[at : at + rest])
        yield key, block[at + rest : at + rest + length]
        at += rest + length
