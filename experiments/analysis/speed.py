"""Benchmarks as `speed.csv`, one row per measured case, and its tables."""

import csv
import io
import pathlib
import shlex
from collections.abc import Mapping
from typing import NamedTuple

from analysis.text_table import NAMES, Table
from vprjax.errors import DataError

FILE = "speed.csv"
FLAGS = ("--batch", "--size", "--dtype")  # flags of a benchmark's command that make another case
SHARED = ("--json", "--rounds")  # flags of all, which may come before the benchmark's name
NOISE = "queries x references x dimensions"
TITLES = {
    "noise-2048-k1": f"noise, 20,000 x 10,000 x 2,048 ({NOISE}), k = 1",
    "noise-2048-k20": "the same, k = 20",
    "noise-32768-k1": "noise, 2,048 x 4,096 x 32,768, k = 1",
    "nordland-gem-k1": "Nordland, MobileNetV2 + GeM, 3,576 x 3,576 x 576, k = 1",
    "nordland-gem-k20": "the same, k = 20",
    "nordland-netvlad-k1": "Nordland, MobileNetV2 + NetVLAD, 3,576 x 3,576 x 36,864, k = 1",
    "nordland-netvlad-k20": "the same, k = 20",
    "single-2048-k5": "one query at a time, 100,000 references x 2,048, k = 5",
}


class Measured(NamedTuple):
    """One case of one benchmark on one machine.

    Attributes:
      benchmark: sub-command of `benchmark.py`.
      case: name of what ran.
      flags: the command's flags that make another case.
      ours_s: median seconds.
      ours_low: least seconds.
      ours_high: most seconds.
      rival: what the case is compared with.
      rival_s: its median seconds.
      rival_low: its least seconds.
      rival_high: its most seconds.
      ratio: `rival_s / ours_s`.
      figures: further measured values, `name=value` joined by `; `.
      machine: processor or accelerator.
      code_version: of the checkout.
      packages: versions, `name=value` joined by `; `.
    """

    benchmark: str
    case: str
    flags: str
    ours_s: str
    ours_low: str
    ours_high: str
    rival: str
    rival_s: str
    rival_low: str
    rival_high: str
    ratio: str
    figures: str
    machine: str
    code_version: str
    packages: str


def of_benchmark(document: Mapping) -> list[Measured]:
    """The rows in a document of `benchmark.py --json=FILE`.

    Raises:
      DataError: the benchmark has neither a rival nor a cost model.
    """
    words = _with_values(shlex.split(document["command"]))
    names = [word for word in words[2:] if not word.startswith("-")]
    flags = " ".join(word for word in words if word.startswith(FLAGS))
    tail = (
        document["machine"],
        document.get("code_version", ""),
        _joined(document.get("packages", {})),
    )
    return [Measured(names[0], *_case(row, flags), *tail) for row in document["rows"]]


def _with_values(words: list[str]) -> list[str]:
    """A command's words, of which `--batch 8` becomes `--batch=8`."""
    out: list[str] = []
    for word in words:
        if out and out[-1] in (*FLAGS, *SHARED):
            out[-1] += f"={word}"
        else:
            out.append(word)
    return out


def _case(row: Mapping, flags: str) -> tuple[str, ...]:
    if "model_s" in row:  # search_scale: the rival is the cost model
        row = dict(row)
        ours, model = row.pop("seconds"), row.pop("model_s")
        case = f"{row.pop('references'):,} references"
        times = (ours, "", "", "cost model", model, "", "", round(model / ours, 2))
        return case, flags, *map(str, times), _joined(row)
    known = ("name", "rival", "vprjax_s", "rival_s", "ratio", "spread", "rival_spread")
    if not set(known) <= row.keys():
        raise DataError("these rows have no place in speed.csv: they have no rival")
    more = {key: value for key, value in row.items() if key not in known}
    times = (row["vprjax_s"], *row["spread"], row["rival"], row["rival_s"], *row["rival_spread"])
    return row["name"], flags, *map(str, (*times, row["ratio"])), _joined(more)


def _joined(values: Mapping) -> str:
    return "; ".join(f"{key}={value}" for key, value in values.items())


def replaced(before: list[Measured], added: list[Measured]) -> list[Measured]:
    """`before` with `added`, which replace rows of the same case, flags, machine and code version."""

    def key(row: Measured) -> tuple:
        return row.benchmark, row.case, row.flags, row.machine, row.code_version

    new = {key(row) for row in added}
    return [*(row for row in before if key(row) not in new), *added]


def read(folder: pathlib.Path) -> list[Measured]:
    """The rows of `speed.csv` in `folder`.

    Raises:
      DataError: the file is missing or damaged.
    """
    try:
        text = (folder / FILE).read_text(encoding="utf-8")
        return [Measured(**row) for row in csv.DictReader(io.StringIO(text))]
    except (OSError, TypeError, csv.Error) as error:
        raise DataError(f"{folder} holds no {FILE} ({type(error).__name__}: {error})") from error


def text(rows: list[Measured]) -> str:
    """The content of `speed.csv`."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([Measured._fields, *rows])
    return out.getvalue()


def of(rows: list[Measured], benchmark: str) -> list[Measured]:
    """The rows of one benchmark."""
    return [row for row in rows if row.benchmark == benchmark]


def rivals(rows: list[Measured], benchmark: str) -> Table:
    """One row per case; per machine "ours s / rival's s / ratio", of the last code version.

    Of several ways to run a case, `NAME (WAY)`, the program's own choice comes first and counts.
    """
    own = of(rows, benchmark)
    found: dict[tuple[str, str], dict[str, Measured]] = {}
    for row in own:
        by_machine = found.setdefault((row.case.partition(" (")[0], _rival(row)), {})
        before = by_machine.get(_column(row))
        if before is None or before.code_version != row.code_version:
            by_machine[_column(row)] = row
    columns = list(dict.fromkeys(map(_column, own)))
    lines = [
        [_title(name), rival, *(_cell(by_machine.get(column)) for column in columns)]
        for (name, rival), by_machine in found.items()
    ]
    note = "Seconds of ours / of the rival / the rival's by ours: above 1 ours is faster."
    return Table("", ["", "rival", *columns], lines, 2, [note])


def _title(case: str) -> str:
    """`VGG16 + GeM, triplet` of `vgg16-gem-triplet`; other cases by `TITLES` or their own name."""
    backbone, _, rest = case.partition("-")
    if backbone not in NAMES:
        return TITLES.get(case, case)
    pooling, *more = rest.split("-")
    words = (NAMES.get(word, word) for word in more)
    return ", ".join([f"{NAMES[backbone]} + {NAMES[pooling]}", *words])


def _rival(row: Measured) -> str:
    return "PyTorch" if row.rival.startswith("torch") else row.rival


def _column(row: Measured) -> str:
    machine = row.machine.partition(" beside ")[0]
    return ", ".join(text for text in (machine, row.flags) if text)


def _cell(row: Measured | None) -> str:
    if row is None:
        return ""
    return f"{float(row.ours_s):.3g} / {float(row.rival_s):.3g} / {float(row.ratio):.2f}"


def figures(rows: list[Measured], benchmark: str) -> Table:
    """One row per case with all measured values."""
    own = of(rows, benchmark)
    more = [dict(part.split("=", 1) for part in row.figures.split("; ")) for row in own]
    names = list(dict.fromkeys(name for found in more for name in found))
    lines = [
        [row.case, row.ours_s, f"{row.rival}: {row.rival_s}", *(found.get(n, "") for n in names)]
        for row, found in zip(own, more, strict=True)
    ]
    return Table("", ["", "seconds", "rival", *names], lines, 1, [])
