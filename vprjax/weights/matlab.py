"""Arrays of MatConvNet's `net` in a `.mat` file, MATLAB 5 to 7.2.

SciPy's reader crashes on some damaged files and inflates whatever a small one claims. This file therefore
also runs as a program of its own, with bounded memory and processor time, that hands the arrays over.
"""

import json
import pathlib
import resource
import subprocess
import sys
from collections.abc import Iterator

import numpy as np

SECONDS = 60  # of processor time; the original NetVLAD's file, 554 MB, takes a tenth
DEEPEST = 8  # levels of structs and cells
MOST_ITEMS = 100_000  # of all structs and cells


class TooLarge(ValueError):
    """The arrays take more memory or time than any weights do."""


def read(file: pathlib.Path, largest: int) -> dict[str, np.ndarray]:
    """Returns the numbers of `net` by dotted names, float32; axes of length 1 are dropped.

    Args:
      file: the `.mat` file.
      largest: bytes of all arrays.

    Raises:
      TooLarge: the arrays take more.
      ValueError: SciPy cannot read the file.
    """
    # -P: the modules beside this file must not shadow others.
    command = [sys.executable, "-P", __file__, str(file.absolute()), str(largest), str(SECONDS)]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as child:
        try:
            return _received(child.stdout, largest)
        except _Cut as e:
            child.kill()
            told = f"its reader crashed or took more than {SECONDS} s; download it again"
            raise TooLarge(told) from e
        except ValueError:
            child.kill()
            raise


class _Cut(Exception):
    """The reading program ended early."""


def _received(stream, largest: int) -> dict[str, np.ndarray]:
    line = stream.readline()
    if not line.endswith(b"\n"):
        raise _Cut
    told = json.loads(line)
    if isinstance(told, dict):
        raise TooLarge(told["problem"]) if told["too_large"] else ValueError(told["problem"])
    if sum(4 * int(np.prod(shape, dtype=object)) for _, shape in told) > largest:
        raise TooLarge("its reader lost count")
    found = {}
    for name, shape in told:
        array = np.empty(shape[::-1], np.float32)
        if array.size and stream.readinto(memoryview(array.reshape(-1)).cast("B")) != array.nbytes:
            raise _Cut
        found[name] = array.T  # columns first, as MATLAB stores them
    return found


def _main(file: str, largest: str, seconds: str) -> None:
    """Writes names and shapes as one line of JSON, then the arrays; or the problem as a line of JSON."""
    out = sys.stdout.buffer
    try:
        arrays = _arrays(file, int(largest), int(seconds))
        line = [[name, array.shape] for name, array in arrays.items()]
    except (MemoryError, TooLarge) as e:
        told = str(e) or f"it takes more than {2 * int(largest):,} bytes to read"
        arrays, line = {}, {"too_large": True, "problem": told}
    except Exception as e:  # a damaged file makes SciPy raise anything
        told = str(e).partition("\n")[0] or type(e).__name__
        arrays, line = {}, {"too_large": False, "problem": told}
    out.write(json.dumps(line).encode() + b"\n")
    for array in arrays.values():
        out.write(memoryview(np.ascontiguousarray(array.T)).cast("B") if array.size else b"")
    out.flush()


def _arrays(file: str, largest: int, seconds: int) -> dict[str, np.ndarray]:
    import scipy.io

    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[0])
    _bound(resource.RLIMIT_AS, pages * resource.getpagesize() + 2 * largest)
    _bound(resource.RLIMIT_CPU, seconds)
    _bound(resource.RLIMIT_CORE, 0)  # a crash leaves no file
    net = scipy.io.loadmat(
        file, variable_names=["net"], struct_as_record=False, squeeze_me=True
    ).get("net")
    if net is None:
        raise ValueError("it holds no variable net")
    found, size = {}, 0
    for number, (name, item) in enumerate(_items(net)):
        if number > MOST_ITEMS:
            raise TooLarge(f"it holds more than {MOST_ITEMS:,} items")
        if isinstance(item, int | float):  # what SciPy makes of a 1x1 array
            item = np.float64(item)
        if isinstance(item, np.ndarray | np.generic) and item.dtype.kind in "fiub":
            size += 4 * item.size
            if size > largest:
                raise TooLarge(f"its arrays claim more than {largest:,} bytes")
            found[name] = np.asarray(item, np.float32)
    return found


def _bound(kind: int, most: int) -> None:
    limits = [limit for limit in (*resource.getrlimit(kind), most) if limit >= 0]
    resource.setrlimit(kind, (min(limits), min(limits)))


def _items(net) -> Iterator[tuple[str, object]]:
    """Yields every item of nested structs and cells by its dotted name."""
    level = [("net", net)]
    for _ in range(DEEPEST):
        inner = []
        for name, item in level:
            yield name, item
            if hasattr(item, "_fieldnames"):
                inner += [(f"{name}.{field}", getattr(item, field)) for field in item._fieldnames]
            elif isinstance(item, np.ndarray) and item.dtype == object:
                inner += [(f"{name}.{i}", value) for i, value in enumerate(item.ravel("F"))]
        level = inner


if __name__ == "__main__":
    _main(*sys.argv[1:])
