"""The declarations of a variant: its config keys with defaults, ranges and meanings, and its name.

A loss, pooling head or backbone is one file. Its package lists it by name in one dict, which configs,
checks, tables and messages read.
"""

import dataclasses
import difflib
import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import TypeVar

INT32 = 2**31 - 1  # steps and image numbers are int32
FLOAT32 = 3.4e38  # figures are float32 on the device


@dataclasses.dataclass(frozen=True)
class Number:
    """The range of a number from `low` (or only `above` it) to `high` (or only `below` it)."""

    low: float = 0
    high: float = FLOAT32
    above: bool = False
    below: bool = False

    def allows(self, value) -> bool:
        """Whether the key may have this value; NaN is in no range."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        low = self.low < value if self.above else self.low <= value
        return low and (value < self.high if self.below else value <= self.high)

    def __str__(self) -> str:
        """Returns the range in words, as in `must be ...`."""
        low = f"above {self.low:g}" if self.above else f"{self.low:g} or more"
        return f"a number {low} and {'below' if self.below else 'at most'} {self.high:g}"


@dataclasses.dataclass(frozen=True)
class Whole:
    """The range of a whole number from `low` to `high`."""

    low: int = 0
    high: int = INT32

    def allows(self, value) -> bool:
        """Whether the key may have this value."""
        return type(value) is int and self.low <= value <= self.high

    def __str__(self) -> str:
        """The range in words."""
        return f"a whole number of {self.low} or more and at most {self.high}"


@dataclasses.dataclass(frozen=True)
class Text:
    """The range of any text without control characters; "" only where it may be `empty`."""

    empty: bool = True

    def allows(self, value) -> bool:
        """Whether the key may have this value."""
        if not isinstance(value, str) or not (value or self.empty):
            return False
        return not any(unicodedata.category(letter) in ("Cc", "Cs") for letter in value)

    def __str__(self) -> str:
        """The range in words."""
        return f"a text{'' if self.empty else ', not an empty one,'} without control characters"


@dataclasses.dataclass(frozen=True)
class SplitName:
    """The range of a split's name, which becomes part of file names; "" only where it may be `empty`."""

    empty: bool = False

    def allows(self, value) -> bool:
        """Whether the key may have this value."""
        return isinstance(value, str) and (
            re.fullmatch(r"\w[\w.-]*", value) is not None or (self.empty and not value)
        )

    def __str__(self) -> str:
        """The range in words."""
        return f"a text of letters, digits, _ . and -{', or empty' if self.empty else ''}"


class Flag:
    """The range of True and False."""

    def allows(self, value) -> bool:
        """Whether the key may have this value."""
        return isinstance(value, bool)

    def __str__(self) -> str:
        """The range in words."""
        return "True or False"


@dataclasses.dataclass(frozen=True)
class Several:
    """The range of a tuple of `least` values or more, each in the range `of`."""

    of: "Number | Whole | Text | SplitName | OneOf | Several"
    least: int = 1

    def allows(self, value) -> bool:
        """Whether the key may have this value."""
        if not isinstance(value, tuple | list) or len(value) < self.least:
            return False
        return all(self.of.allows(item) for item in value)

    def __str__(self) -> str:
        """The range in words."""
        return f"a tuple of {self.least} or more, each {self.of}"


@dataclasses.dataclass(frozen=True)
class Pairs:
    """The range of a tuple of pairs, `first` and `second`; it may be empty."""

    first: "Number | Whole"
    second: "Number | Text"

    def allows(self, value) -> bool:
        """Whether the key may have this value."""
        if not isinstance(value, tuple | list):
            return False
        return all(
            isinstance(pair, tuple | list)
            and len(pair) == 2
            and self.first.allows(pair[0])
            and self.second.allows(pair[1])
            for pair in value
        )

    def __str__(self) -> str:
        """The range in words."""
        return f"a tuple of pairs, each of {self.first} and {self.second}"


@dataclasses.dataclass(frozen=True)
class OneOf:
    """The range of one of `names`."""

    names: Iterable[str]

    def allows(self, value) -> bool:
        """Whether the key may have this value."""
        return isinstance(value, str) and value in self.names

    def __str__(self) -> str:
        """The range in words."""
        return f"one of {', '.join(map(repr, self.names))}"

    def hint(self, value) -> str:
        """Returns the nearest right name as a question, or "" where none is near."""
        near = difflib.get_close_matches(str(value), list(self.names), 1)
        return f"; did you mean {near[0]!r}?" if near else ""


@dataclasses.dataclass(frozen=True)
class NumberOr:
    """The range of a text that is one of `names` or a number in the range `of`."""

    names: tuple[str, ...]
    of: Number

    def allows(self, value) -> bool:
        """Whether the key may have this value."""
        if not isinstance(value, str):
            return False
        try:
            return value in self.names or self.of.allows(float(value))
        except ValueError:
            return False

    def __str__(self) -> str:
        """The range in words."""
        return f"{', '.join(map(repr, self.names))}, or {self.of}, as a text"


@dataclasses.dataclass(frozen=True)
class Key:
    """A config key of one variant.

    Attributes:
      default: the key's value in `configs.base`.
      allowed: the range of its values.
      meaning: one line that explains it.
      free: whether a resumed run may change it.
    """

    default: object
    allowed: Number | Whole | Text | Flag | Several | OneOf
    meaning: str
    free: bool = False


Variant = TypeVar("Variant")


def pick(key: str, name: str, variants: Mapping[str, Variant]) -> Variant:
    """Returns the variant that config key `key` names.

    Raises:
      ValueError: the name is unknown; the sentence lists the known ones.
    """
    if name not in variants:
        names = OneOf(variants)
        raise ValueError(
            f"{key}={name!r} is not known; known: {', '.join(map(repr, variants))}{names.hint(name)}"
        )
    return variants[name]


def defaults(variants: Mapping[str, Variant]) -> dict[str, dict]:
    """Returns the defaults of every variant's own keys: `{"gem": {"p": 3.0}}`."""
    return {
        name: {key: k.default for key, k in variant.keys.items()}
        for name, variant in variants.items()
        if variant.keys
    }


def own_keys(section: str, variants: Mapping[str, Variant]) -> dict[str, Key]:
    """Returns every dotted key that one variant alone uses: `{"model.gem.p": Key(...)}`."""
    return {
        f"{section}.{name}.{key}": k
        for name, variant in variants.items()
        for key, k in variant.keys.items()
    }
