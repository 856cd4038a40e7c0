"""The record of what a trained model is used for: `localize.jsonl`, and its page `localize.md`."""

import json
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

from vprjax.errors import DataError
from vprjax.storage.atomic import write_atomically

FILE, PAGE = "localize.jsonl", "localize.md"
Columns = Mapping[str, Callable[[dict], Any]]  # a column's name -> its cell from the facts of a row


def keep(
    folder: pathlib.Path,
    tables: Mapping[str, tuple[str, Columns]],
    section: str,
    found: Mapping[str, dict],
) -> None:
    """Replaces rows of the record and writes its page again.

    Args:
      folder: of the record.
      tables: title and columns by section.
      section: of the rows, a key of `tables`.
      found: facts by the name of the row, JSON values.

    Raises:
      DataError: the record cannot be read.
      OSError: it cannot be written.
    """
    record = read(folder / FILE)
    record.setdefault(section, {}).update(found)
    folder.mkdir(parents=True, exist_ok=True)
    rows = (
        {"section": section, "name": name, "facts": facts}
        for section, by_name in record.items()
        for name, facts in by_name.items()
    )
    write_atomically(folder / FILE, "".join(json.dumps(row) + "\n" for row in rows))
    write_atomically(folder / PAGE, page(record, tables))


def read(path: pathlib.Path) -> dict:
    """The record by section and row; empty where there is none.

    Raises:
      DataError: it is damaged.
    """
    record: dict = {}
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    try:
        for row in map(json.loads, lines):
            record.setdefault(row["section"], {})[row["name"]] = row["facts"]
        return record
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f"{path} is damaged ({error}); restore it from git") from error


def page(record: dict, tables: Mapping[str, tuple[str, Columns]]) -> str:
    """The tables of the sections that have rows, each with its commands and machines."""
    lines = ["# Using a trained model", "", "`python experiments/localize.py` writes this page."]
    for section, (title, columns) in tables.items():
        rows = record.get(section, {})
        if not rows:
            continue
        lines += ["", f"## {title}", "", "| | " + " | ".join(columns) + " |"]
        lines.append("| --- |" + " ---: |" * len(columns))
        for name, facts in rows.items():
            cells = (str(cell(facts)) for cell in columns.values())
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
        lines.append("")
        made: dict[str, list[str]] = {}  # rows of one command share a line
        for name, facts in rows.items():
            how = f"{facts['machine']}, code {facts['code']}, `{facts['command']}`"
            made.setdefault(how, []).append(name)
        for how, names in made.items():
            several = f" and {len(names) - 1} more" if len(names) > 1 else ""
            lines.append(f"- {names[0]}{several}: {how}")
    return "\n".join(lines) + "\n"


def share(value: float, interval: tuple[float, float] | None = None) -> str:
    """A share in percent, with its interval."""
    bounds = " [{:.1f}, {:.1f}]".format(*(100 * x for x in interval)) if interval else ""
    return f"{100 * value:.1f}{bounds}"
