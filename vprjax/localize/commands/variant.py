"""What a sub-command is. Its file imports what it needs in `run`, so that `--help` is quick."""

import argparse
import dataclasses
import re
from collections.abc import Callable

from vprjax.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class Command:
    """A sub-command.

    Attributes:
      text: what it does, in one sentence.
      example: a whole command line that works.
      arguments: adds its arguments to a parser.
      run: does the work.
    """

    text: str
    example: str
    arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], None]


def size(text: str | None) -> tuple[int, int] | None:
    """Height and width of a text such as "240x320".

    Raises:
      ConfigError: it is no such text.
    """
    if text is None:
        return None
    found = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
    if not found:
        raise ConfigError(f"--size={text}: give height x width in pixels, such as 240x320")
    return int(found[1]), int(found[2])
