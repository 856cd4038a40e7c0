"""Files that a reader sees whole or not at all."""

import os
import pathlib

from vprjax.errors import naming


def write_atomically(path: pathlib.Path, text: str) -> None:
    """Writes a UTF-8 file so that a reader sees the old or the new text, never a part."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with naming(path):
            partial.write_text(text, encoding="utf-8")  # whatever the locale: pages say so
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
