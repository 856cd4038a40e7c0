"""Fills Markdown blocks between `<!-- results: NAME -->` and `<!-- end -->` with results tables."""

import functools
import pathlib
import re

from analysis import baselines, forgetting, record_tables, rows, speed
from analysis.record_tables import TABLES, Records
from vprjax.errors import DataError

BLOCK = re.compile(r"(<!-- results: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)
ROOMS = ("experiments", "vprjax", "tfds_builders", "configs", "tests")


def read(folder: pathlib.Path) -> Records:
    """The records in `folder`; raises DataError where one is unreadable."""
    abroad = forgetting.read(folder / forgetting.FILE)
    return Records(rows.read(folder), speed.read(folder), abroad, baselines.read(folder))


def documents(root: pathlib.Path) -> list[pathlib.Path]:
    """The project's Markdown files."""
    inner = (path for room in ROOMS for path in sorted((root / room).rglob("*.md")))
    return [*sorted(root.glob("*.md")), *inner]


def filled(text: str, records: Records) -> str:
    """`text` with a fresh table in every block.

    Raises:
      DataError: a block names no table, or has no end.
    """
    if text.count("<!-- results: ") != len(BLOCK.findall(text)):
        raise DataError("a block `<!-- results: NAME -->` has no `<!-- end -->`")
    body = functools.cache(lambda name: _body(name, records))
    return BLOCK.sub(lambda found: f"{found[1]}{body(found[2])}\n{found[3]}", text)


def _body(name: str, records: Records) -> str:
    if name not in record_tables.TABLES:
        raise DataError(f"no table is called {name!r}: must be one of {', '.join(TABLES)}")
    return TABLES[name](records).body()
