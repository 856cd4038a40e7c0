"""The files of one prefix that `loops` writes: whose they are, and all of them at once."""

import pathlib
import tempfile

from vprjax.localize.pair_formats import FORMATS, TABLE
from vprjax.storage.atomic import check_file


def check_own(prefix: pathlib.Path) -> None:
    """Checks that the command may replace the files of `--out`.

    Raises:
      ConfigError: one of them is a folder, or a file that the command did not write.
    """
    table = _path(prefix, TABLE)
    for ending in (TABLE, *FORMATS):  # the lists are judged by the table
        own = FORMATS[ending].own
        check_file("--out", _path(prefix, ending), lambda path, own=own: own(path, table))


def write(prefix: pathlib.Path, places, pairs) -> None:
    """Writes the files of a map's pairs beside their places, then puts them there, as they belong together.

    Raises:
      OSError: a file cannot be written; the old ones stay.
    """
    name, folder = f".{prefix.name}.", prefix.absolute().parent
    with tempfile.TemporaryDirectory(prefix=name, suffix=".partial", dir=folder) as made:
        partials = {ending: pathlib.Path(made) / f"out{ending}" for ending in FORMATS}
        for ending, output in FORMATS.items():
            output.write(partials[ending], places, pairs)
        for ending, partial in partials.items():
            partial.replace(_path(prefix, ending))


def _path(prefix: pathlib.Path, ending: str) -> pathlib.Path:
    return prefix.with_name(prefix.name + ending)
