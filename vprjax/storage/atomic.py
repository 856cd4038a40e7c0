"""Writes that leave a file whole, old or new."""

import contextlib
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping

from vprjax.errors import ConfigError, naming


def write_atomically(path: pathlib.Path, text: str) -> None:
    """Writes a UTF-8 file; a reader sees the old or the new text, never a part.

    Raises:
      OSError: the file cannot be written; the old text stays.
    """
    with written_beside({path: text}):
        pass


@contextlib.contextmanager
def written_beside(files: Mapping[pathlib.Path, str | bytes]) -> Iterator[None]:
    """Writes all of `files` beside their places before the body, and puts them there in order after it.

    Raises:
      OSError: a file cannot be written; the body does not run and the old ones stay. Or a written one
        cannot be put in its place, behind those that are there already.
    """
    partials = {path: path.with_name(f".{path.name}.{os.getpid()}.partial") for path in files}
    try:
        for path, content in files.items():
            # UTF-8 in any locale: the pages declare it.
            data = content.encode() if isinstance(content, str) else content
            with naming(path):
                partials[path].write_bytes(data)
        yield
        for path, partial in partials.items():
            partial.replace(path)
    finally:
        for partial in partials.values():
            partial.unlink(missing_ok=True)


def check_own(option: str, path: pathlib.Path, start: str) -> None:
    """Checks that a command may replace the file of its `option`: its own begin with `start`, in any case.

    Raises:
      ConfigError: a folder is there, or a file that holds something else.
    """
    check_file(option, path, lambda path: begins(path, start))


def begins(path: pathlib.Path, start: str) -> bool:
    """Whether a file begins with `start`, in any case."""
    with path.open("rb") as file:
        return file.read(len(start.encode())).lower() == start.lower().encode()


def check_file(option: str, path: pathlib.Path, own: Callable[[pathlib.Path], bool]) -> None:
    """Checks that a command may replace the file of its `option`: an empty one, or one that is its `own`.

    Raises:
      ConfigError: a folder is there, or a file that holds something else.
    """
    if path.is_dir():
        raise ConfigError(f"{option}={path} is a folder; name a file")
    if path.is_file() and path.stat().st_size and not own(path):
        raise ConfigError(
            f"{option}={path} is a file that this command did not write; name another"
        )
