"""The record of exported files: `exports.csv`, one row per backbone, head and format, and its page."""

import csv
import io
import math
import pathlib
from typing import NamedTuple

from ml_collections import ConfigDict

from vprjax.errors import DataError
from vprjax.export.check import MOST, Difference
from vprjax.models.backbones import BACKBONES
from vprjax.models.heads import HEADS
from vprjax.variants import defaults

FILE, PAGE = "exports.csv", "export.md"
JOB, ROWS = "job.json", "rows.jsonl"  # in the folder of a backbone's process
WHOLE = "whole"
TITLES = {"onnx": "ONNX in onnxruntime", "stablehlo": "StableHLO in jax"}


class Row(NamedTuple):
    """One exported file beside its model.

    Attributes:
      backbone: key of `BACKBONES`.
      head: key of `HEADS`.
      format: key of `export.FORMATS`.
      stage: where the backbone is cut, "whole" for nowhere.
      files: 1; 2 where the backbone and the head have a file each (`grid/parts_export.py`).
      sizes: heights and widths that were compared, joined by spaces.
      images: compared at each size.
      exported: largest relative difference between the file and the model; nan where it has no file.
      own: between the model's two ways to compute convolutions; 0 where `exported` is small without it.
      foreign: packages of the model that the reading process had loaded; "" for none.
      mib: size of the file.
      peak_mib: most memory of the exporting process so far.
      packages: versions, `name=value` joined by spaces.
      code_version: of the checkout.
      note: why there is no file, or no free size.
    """

    backbone: str
    head: str
    format: str
    stage: str
    files: str
    sizes: str
    images: str
    exported: str
    own: str
    foreign: str
    mib: str
    peak_mib: str
    packages: str
    code_version: str
    note: str

    @property
    def key(self) -> tuple[str, str, str]:
        """What the row is of."""
        return self[:3]

    @property
    def sound(self) -> bool:
        """Whether the file gives the model's descriptors, in a process without vprjax."""
        found = Difference(float(self.exported), float(self.own))
        return found.exported <= found.limit and not self.foreign


def cells() -> list[tuple[str, str]]:
    """Every backbone with every head that it can feed."""
    usual = ConfigDict(defaults(HEADS))
    asks = {name for name, head in HEADS.items() if head.class_token(usual.get(name))}
    return [
        (backbone, head)
        for backbone, variant in BACKBONES.items()
        for head in HEADS
        if variant.class_token or head not in asks
    ]


def read(path: pathlib.Path) -> list[Row]:
    """The rows of a file, none where it is missing.

    Raises:
      DataError: its columns are others.
    """
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        names, *rows = csv.reader(file)
    if tuple(names) != Row._fields:
        raise DataError(f"{path} has other columns than {', '.join(Row._fields)}")
    return [Row(*row) for row in rows]


def merged(old: list[Row], new: list[Row]) -> list[Row]:
    """The rows in the order of backbones, heads and formats; a new row replaces an old one of its cell.

    Two files never replace one.
    """
    found = {row.key: row for row in sorted([*old, *new], key=lambda row: row.files, reverse=True)}
    order = [(*cell, name) for cell in cells() for name in TITLES]
    return [found[key] for key in order if key in found]


def text(rows: list[Row]) -> str:
    """The rows as CSV."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([Row._fields, *rows])
    return out.getvalue()


def page(rows: list[Row], command: str) -> str:
    """The record for people."""
    parts = [_head(rows, command)]
    parts += [_table(name, [row for row in rows if row.format == name]) for name in TITLES]
    return "\n".join([*parts, _notes(rows)])


def _head(rows: list[Row], command: str) -> str:
    whole = [*dict.fromkeys(row.backbone for row in rows if row.stage == WHOLE)]
    missing = len(cells()) * len(TITLES) - len(rows)
    worst = max((float(row.exported) for row in rows), default=math.nan)
    lines = [
        "# Exported files beside their models",
        "",
        f"    {command}",
        "",
        "Each cell is the largest relative difference `|e - f| / |f|` between the descriptors of the file "
        "and of the",
        f"model in memory, over {rows[0].images if rows else 0} photographs at each size. A process that "
        "loads neither vprjax nor flax reads the file;",
        "for ONNX it loads no JAX either. Weights are random.",
        "",
        f"- {sum(row.sound for row in rows)} of {len(rows)} files are within {MOST:g}, or within four "
        "times the model's own rounding where that is",
        "  coarser (marked `*`, [the rule](../../vprjax/export/README.md)); "
        f"{missing} cells have not been run.",
        f"- The largest difference of all is {worst:.1e}. CroW counts a channel's positive values and VLAD "
        "takes the nearest word:",
        "  a value within rounding of the border moves a count or a word, and the descriptor jumps.",
        f"- Whole backbones: {', '.join(whole) or 'none'}. Others end at the stage in brackets.",
        "- Files that are compared at three sizes have a free height and width.",
        f"- {sum(row.files == '2' for row in rows)} cells in italics have two files, which the process "
        "runs one after the other:",
        "  the backbone's, images to map, and the head's, map to descriptor (`--parts`).",
    ]
    if rows:
        peak = max(float(row.peak_mib) for row in rows)
        lines.append(f"- The exporting process took {peak:,.0f} MiB at most. {rows[-1].packages}.")
    return "\n".join([*lines, ""])


def _table(name: str, rows: list[Row]) -> str:
    by_cell = {row.key[:2]: row for row in rows}
    heads = [head for head in HEADS if any(row.head == head for row in rows)]
    lines = [f"## {TITLES[name]}", "", "| | " + " | ".join(heads) + " |"]
    lines.append("| --- |" + " ---: |" * len(heads))
    for backbone in dict.fromkeys(row.backbone for row in rows):
        found = [by_cell.get((backbone, head)) for head in heads]
        stages = dict.fromkeys(row.stage for row in found if row)
        cut = "" if [*stages] == [WHOLE] else f" [{', '.join(stages)}]"
        lines.append(f"| {backbone}{cut} | " + " | ".join(map(_cell, found)) + " |")
    return "\n".join([*lines, ""])


def _cell(row: Row | None) -> str:
    if row is None:
        return ""
    value = float(row.exported)
    if not row.sound:
        return f"**{row.exported}**"
    text = f"{value:.1e}{'*' if value > MOST else ''}"
    return f"_{text}_" if row.files == "2" else text


def _notes(rows: list[Row]) -> str:
    notes = dict.fromkeys((row.head, row.note) for row in rows if row.note)
    lines = [f"- {head}: {note}" for head, note in notes]
    return "\n".join(["## Notes", "", *(lines or ["- none"]), ""])
