"""What `tfds_builders` alone reads: it runs as a process of its own and leaves JSON."""

import contextlib
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator

from vprjax.errors import DataError


@contextlib.contextmanager
def written(what: str, *words: str) -> Iterator[pathlib.Path]:
    """The file that `python -m tfds_builders` writes with these words.

    Raises:
      DataError: it writes none; the sentence begins with `what`, and ends with the reason.
    """
    with tempfile.TemporaryDirectory() as made:
        file = pathlib.Path(made) / "found.json"
        command = [sys.executable, "-m", "tfds_builders", *words, f"--out={file}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            said = done.stderr.strip().removeprefix("error: ") or f"status {done.returncode}"
            raise DataError(f"{what} cannot be read: {said}")
        yield file
