"""What a PyTorch file's pickle may hold beside tensors: NumPy's arrays and scikit-learn's PCA.

A pickle names what its reader calls. Some released models lie beside such objects; PyTorch's reader calls
inert classes of this file instead, which keep what they are given and do nothing.
"""

import pickletools
import re
from typing import Any

import numpy as np

# Bytes of a state dict's pickle without its tensors, and of a text in it; ResNet50 takes 38,217 and 41.
LARGEST_PICKLE, LONGEST_TEXT = 1 << 20, 200
LARGEST_INSIDE = (
    1 << 28
)  # with NumPy's arrays, which lie in it: a PCA of 2048 dimensions takes 50 MB
_ALONE = "save the state dict alone"


class Unfit(ValueError):
    """A file is sound, but holds no weights that may be read."""


class Kind:
    """A NumPy dtype: its code, such as "f8", and the order of its bytes."""

    def __init__(self, code: str = "", *_):
        """Keeps the code."""
        self.code, self.order = code, "|"

    def __setstate__(self, state: tuple):
        """Keeps the order of bytes."""
        self.order = state[1]


class Array:
    """A NumPy array, or one number of NumPy."""

    def __init__(self, *given):
        """Takes what `_reconstruct` (class, shape, code) or `scalar` (dtype, bytes) is called with."""
        one = len(given) == 2
        self.kind, self.raw = given if one else (Kind(), b"")
        self.shape, self.order = (), "C"

    def __setstate__(self, state: tuple):
        """Takes an array's shape, dtype, order of axes and bytes."""
        _, self.shape, self.kind, by_columns, self.raw = state
        self.order = "F" if by_columns else "C"

    def numbers(self) -> np.ndarray | None:
        """Returns the array, or None where it holds no plain numbers."""
        kind = f"{self.kind.order}{self.kind.code}"
        if not re.fullmatch(r"[<>|=](f[248]|[iu][1248])", kind):
            return None
        return np.frombuffer(self.raw, kind).reshape(self.shape, order=self.order)


class Fields(dict):
    """An object's attributes by name."""

    def __setstate__(self, state: dict):
        """Keeps the attributes."""
        self.update(state)


# Stand-ins with the names that they answer to, as PyTorch takes them.
GLOBALS = [
    (Kind, "numpy.dtype"),
    (Array, "numpy.ndarray"),
    *(
        (Array, f"numpy.{core}.multiarray.{function}")
        for core in ("core", "_core")
        for function in ("_reconstruct", "scalar")
    ),
    (Fields, "sklearn.decomposition.pca.PCA"),
    (Fields, "sklearn.decomposition._pca.PCA"),
]


def numbers(name: Any, value: Any) -> Any:
    """Returns a stand-in's array, that of a `mean` or `std` of three numbers, or the value as it is."""
    if isinstance(value, Array):
        return value.numbers()
    if name in ("mean", "std") and isinstance(value, list | tuple) and len(value) == 3:
        if all(type(number) in (int, float) for number in value):
            return np.array(value, np.float64)
    return value


def check(stream, count: int) -> None:
    """Reads the operations of `count` pickles and calls nothing.

    PyTorch takes ten minutes to refuse a class whose name has 200,000 letters. The bytes of NumPy's arrays
    are long texts too; Latin-1 alone may encode them, as other codecs take as long.

    Raises:
      Unfit: the pickles take too many bytes, or one holds a long text that is no array's bytes.
    """
    spent = before = 0
    free = False  # whether the last operation was an array's bytes
    for _ in range(count):
        texts = _Texts()
        for operation, argument, at in pickletools.genops(stream):
            spent += 0 if free else at - before
            before, free = at, texts.is_array(operation.name, argument)
            if spent > LARGEST_PICKLE or at > LARGEST_INSIDE:
                raise Unfit(f"its pickle takes more than {LARGEST_PICKLE:,} bytes; {_ALONE}")


class _Texts:
    """Follows a pickle's texts: which are arrays' bytes, on the stack or stored under a number."""

    def __init__(self):
        self._arrays, self._codecs = set(), set()  # numbers that texts are stored under
        self._last = None  # the kind of the text that the last operation gave
        self._waits = False  # whether an array's bytes wait for their codec

    def is_array(self, name: str, argument: Any) -> bool:
        """Whether this operation is an array's bytes; raises Unfit where a long text is not."""
        if name in ("BINPUT", "LONG_BINPUT"):
            for kind, stored in (("array", self._arrays), ("codec", self._codecs)):
                (stored.add if self._last == kind else stored.discard)(argument)
            return False
        long = len(argument if isinstance(argument, str | bytes) else str(argument)) > LONGEST_TEXT
        gets = name in ("BINGET", "LONG_BINGET")
        codec = argument in self._codecs if gets else (name, argument) == ("BINUNICODE", "latin1")
        again = gets and argument in self._arrays
        if (self._waits and not codec) or again or (long and name != "BINUNICODE"):
            raise Unfit(f"its pickle holds a text of more than {LONGEST_TEXT} characters; {_ALONE}")
        self._waits = long
        self._last = "array" if long else "codec" if codec else None
        return long
