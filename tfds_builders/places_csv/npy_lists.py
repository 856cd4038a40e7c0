"""Lists of whole numbers from `.npy` files of objects, which NumPy reads only by running a pickle.

A pickle may call anything. Here it can only build stand-ins that keep their arguments, so that no function
of the file's choice runs; afterwards they must be arrays, lists and whole numbers.
"""

import io
import pathlib
import pickle
import pickletools

import numpy as np
from numpy.lib import format as npy

from tfds_builders.errors import RawDataError

MODULES = ("numpy.core.multiarray", "numpy._core.multiarray")
MOST = 10**7  # numbers in a file, all lists together
LONGEST = 2**25  # bytes of a file


class _Array:
    """Stands in for an array of the pickle: shape, data type and items or bytes."""

    def __init__(self, *_):
        self.state = None

    def __setstate__(self, state):
        self.state = state


class _Type(_Array):
    """Stands in for a data type."""

    def __init__(self, name="", *_):
        self.name = name
        self.state = None


class _Scalar(_Array):
    """Stands in for one number of a NumPy type."""

    def __init__(self, kind=None, data=b"", *_):
        self.kind, self.data = kind, data


class _Text(_Array):
    """Stands in for bytes, which old pickles keep as text of Latin-1."""

    def __init__(self, text="", *_):
        self.text = text


class _Reader(pickle.Unpickler):
    """A pickle reader that knows no other names than those of arrays."""

    def find_class(self, module, name):
        known = {("numpy", "ndarray"): _Array, ("numpy", "dtype"): _Type}
        known["_codecs", "encode"] = _Text
        for own in MODULES:
            known |= {(own, "_reconstruct"): _Array, (own, "scalar"): _Scalar}
        if (module, name) not in known:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return known[module, name]


def read(path: pathlib.Path) -> list[list[list[int]]]:
    """The rows of an array, each a list of its cells, each the whole numbers that the cell holds.

    Raises:
      RawDataError: the file holds anything else than whole numbers in lists and arrays.
    """
    try:
        data = path.read_bytes()
        if len(data) > LONGEST:
            raise ValueError(f"it has more than {LONGEST:,} bytes")
        rows = _rows(io.BytesIO(data))
        if sum(len(cell) for row in rows for cell in row) > MOST:
            raise ValueError(f"it holds more than {MOST:,} numbers")
        return rows
    except RecursionError as error:
        raise RawDataError(f"{path} cannot be read: its lists are too deep") from error
    except Exception as error:  # hostile bytes make the reader of pickles raise anything
        raise RawDataError(
            f"{path} is no table of whole numbers ({str(error)[:200]}); use the dataset's own file"
        ) from error


def _rows(file: io.BytesIO) -> list[list[list[int]]]:
    version = npy.read_magic(file)
    header = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    shape, fortran, kind = header[version](file)
    if len(shape) not in (1, 2) or fortran:
        raise ValueError(f"it holds an array of the shape {shape}")
    columns = shape[1] if len(shape) == 2 else 1
    if kind.hasobject:
        cells = _unpickled(file)
    else:
        file.seek(0)
        cells = np.load(file, allow_pickle=False).ravel().tolist()
    if not isinstance(cells, list) or len(cells) != shape[0] * columns:
        raise ValueError(f"it holds {shape} cells by its header, and others")
    return [
        [_numbers(cell) for cell in cells[row * columns : (row + 1) * columns]]
        for row in range(shape[0])
    ]


def _unpickled(file: io.BytesIO):
    """The items of the pickled array, with stand-ins for what NumPy would build."""
    start, size = file.tell(), len(file.getbuffer())
    for operation, argument, _ in pickletools.genops(file):  # also finds lengths beyond the end
        if operation.name.endswith("PUT") and int(argument) > size:
            raise ValueError(
                "it numbers an object beyond its size"
            )  # the reader would make room for all
    file.seek(start)
    found = _Reader(file, encoding="latin1").load()
    if type(found) is not _Array:
        raise ValueError(f"it holds no array but {type(found).__name__}")
    return found.state[4]


def _numbers(value) -> list[int]:
    """The whole numbers of a cell: one number, a list or an array of one axis."""
    if isinstance(value, list | tuple):
        return [number for item in value for number in _numbers(item)]
    if isinstance(value, _Scalar):
        return np.frombuffer(_bytes(value.data), _kind(value.kind), 1).tolist()
    if isinstance(value, _Type) or not isinstance(value, _Array):
        return _whole(value)
    _, shape, kind, _, items = value.state
    if isinstance(items, list):
        return _numbers(items)
    numbers = np.frombuffer(_bytes(items), _kind(kind))
    if len(shape) > 1 and max(shape) < numbers.size:
        raise ValueError(f"a cell holds a table of {shape}")
    return numbers.tolist()


def _whole(value) -> list[int]:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
        raise ValueError(f"a cell holds {value!r:.40}")
    return [int(value)]


def _bytes(data) -> bytes:
    """Bytes, which old pickles and Python 2 keep as text."""
    data = data.text if isinstance(data, _Text) else data
    return data.encode("latin1") if isinstance(data, str) else data


def _kind(value) -> np.dtype:
    """The data type of a stand-in; whole numbers only."""
    order = value.state[1] if value.state else "="
    name = value.name
    if not isinstance(name, str) or name[:1] not in "iu" or name[1:] not in ("1", "2", "4", "8"):
        raise ValueError(f"numbers are of the type {name!r:.40}")
    return np.dtype({">": ">", "<": "<"}.get(order, "=") + name)
