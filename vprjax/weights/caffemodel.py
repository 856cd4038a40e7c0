"""Caffe's `.caffemodel`: the arrays of a NetParameter's layers, of today's format and the one before.

The numbers of the fields are those of Caffe's caffe.proto.
"""

import math
import mmap
import pathlib
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from vprjax.models.backbones.caffe import ORDER
from vprjax.weights import wire

_LAYER, _OLD_LAYER = 100, 2  # of NetParameter
# The name and the arrays of a layer: LayerParameter, V1LayerParameter.
_FIELDS = {_LAYER: (1, 7), _OLD_LAYER: (4, 6)}
_SIDES, _DATA, _SHAPE, _DOUBLES = (1, 2, 3, 4), 5, 7, 8  # of BlobProto
_DIMENSIONS = 1  # of BlobShape
MOST_LAYERS, MOST_AXES = 10_000, 32
_LEAVES = ("weight", "bias")


def read(file: pathlib.Path, check_sizes: Callable[[Iterable[int]], None]) -> dict[str, np.ndarray]:
    """Returns the arrays by `LAYER.weight`, `LAYER.bias`, `LAYER.2`, ..., in Caffe's own layout.

    A kernel is `(d, c / groups, h, w)`, a fully connected layer `(d, c)`. Of the older format the leading
    axes of length 1 are dropped. `meta.order.LAYER` holds the number of a layer in the file.

    Args:
      file: the file.
      check_sizes: raises where arrays of these bytes are too large; it is asked before they are copied.

    Raises:
      ValueError: the file is cut, no `.caffemodel`, or holds an array that is not of its shape.
    """
    with file.open("rb") as f:
        # Not closed: a view that an error keeps would not allow it. It ends with the last of them.
        raw = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
    found = list(_layers(memoryview(raw)))
    blobs = {f"{name}.{_leaf(i)}": b for name, own in found for i, b in enumerate(own)}
    if len(blobs) != sum(len(own) for _, own in found):
        raise ValueError("two of its layers have the same name")
    check_sizes([4 * numbers.size for _, numbers in blobs.values()])
    with np.errstate(over="ignore", invalid="ignore"):
        arrays = {
            name: numbers.astype(np.float32).reshape(shape)
            for name, (shape, numbers) in blobs.items()
        }
    order = {ORDER + name: np.array(i) for i, (name, _) in enumerate(found)}
    if not arrays:
        raise ValueError("none of its layers holds numbers")
    return {**arrays, **order}


def _leaf(i: int) -> str:
    return _LEAVES[i] if i < len(_LEAVES) else str(i)


Blob = tuple[tuple[int, ...], np.ndarray]


def _layers(message: memoryview) -> Iterator[tuple[str, list[Blob]]]:
    """Yields every layer's name and arrays, in the file's order."""
    count = 0
    for number, kind, value in wire.fields(message):
        if number not in _FIELDS or kind != wire.BYTES:
            continue
        count += 1
        if count > MOST_LAYERS:
            raise ValueError(f"it has more than {MOST_LAYERS:,} layers")
        name_field, blob_field = _FIELDS[number]
        name, blobs = "", []
        for inner, inner_kind, held in wire.fields(value):
            if inner == name_field:
                name = wire.text(held)
            elif inner == blob_field and inner_kind == wire.BYTES:
                blobs.append(held)
        yield name, [_blob(f"{name}.{_leaf(i)}", blob) for i, blob in enumerate(blobs)]


def _blob(name: str, message: memoryview) -> Blob:
    """Returns the shape and the numbers of a BlobProto; the numbers are a view of the file."""
    sides, shape, found = {}, None, []
    for number, kind, value in wire.fields(message):
        if number in _SIDES:
            sides[number] = wire.whole(value)
        elif number == _SHAPE and kind == wire.BYTES:
            shape = _dimensions(value)
        elif number in (_DATA, _DOUBLES):
            if kind != wire.BYTES:
                raise ValueError(
                    f"{name} holds its numbers one by one; save it with a Caffe of today"
                )
            size = 4 if number == _DATA else 8
            if len(value) % size:
                raise ValueError(f"{name} ends inside a number")
            if len(value):
                found.append(np.frombuffer(value, f"<f{size}"))
    if shape is None:
        shape = tuple(sides.get(side, 1) for side in _SIDES)
        first = next((i for i, n in enumerate(shape) if n != 1), len(shape) - 1)
        shape = shape[first:]
    numbers = found[0] if len(found) == 1 else np.concatenate(found) if found else np.empty(0)
    if math.prod(shape) != len(numbers):
        raise ValueError(f"{name} has {len(numbers):,} numbers, but its shape is {shape}")
    return shape, numbers


def _dimensions(message: memoryview) -> tuple[int, ...]:
    found = []
    for number, kind, value in wire.fields(message):
        if number == _DIMENSIONS and kind == wire.VARINT:
            found.append(value)
        elif number == _DIMENSIONS and kind == wire.BYTES:
            at = 0
            while at < len(value) and len(found) <= MOST_AXES:
                one, at = wire.varint(value, at)
                found.append(one)
    if len(found) > MOST_AXES:
        raise ValueError(f"an array has more than {MOST_AXES} axes")
    return tuple(found)
