"""Released models on one dataset, beside our own runs: figures, cost, and the table."""

import csv
import dataclasses
import io
import json
import pathlib
import statistics
from collections.abc import Iterable, Mapping

from analysis import rows as record_rows
from analysis.text_table import NAMES, Table
from vprjax.console import log
from vprjax.errors import DataError
from vprjax.storage.atomic import write_atomically


@dataclasses.dataclass(frozen=True)
class Line:
    """One model on one query split; None where nothing was measured.

    Attributes:
      model: a file's name, or an own cell with its number of runs.
      split: the queries.
      fcm: percent by tolerance, the mean over runs.
      recall: recall@N, percent by N, the mean over runs.
      dimension: of the descriptors.
      ms_per_image: time to describe an image.
      peak_gib: peak memory of the process or device while it described.
      parameters: millions.
    """

    model: str
    split: str
    fcm: dict[str, float | None]
    recall: dict[str, float | None]
    dimension: int | None = None
    ms_per_image: float | None = None
    peak_gib: float | None = None
    parameters: float | None = None


def of_file(name: str, document: Mapping, measured: Mapping) -> list[Line]:
    """Returns the lines of a file `name` from its results.json and its measured cost."""
    return [
        Line(
            name,
            split,
            figures["fcm"],
            figures["recall"],
            measured["dimension"],
            round(measured["ms_per_image"], 2),
            round(measured["peak_bytes"] / 2**30, 2),
            round(measured["parameters"] / 1e6, 1),
        )
        for split, figures in document["results"]["off_the_shelf"].items()
    ]


def of_runs(paths: Iterable[pathlib.Path], dataset: str) -> list[Line]:
    """Returns the lines of own trained runs on `dataset`, workdirs or grids; seeds of a cell are averaged.

    Runs of other settings are lines of their own, which name the first folder.

    Raises:
      DataError: a path holds no results.
    """
    found: dict[tuple[str, str, str], list[Mapping]] = {}
    settings: dict[str, dict[str, str]] = {}  # by cell: digest -> folder
    for path in paths:
        files = sorted(path.glob("results.json")) or sorted(path.glob("*/seed*/results.json"))
        if not files:
            raise DataError(f"--runs: {path} holds no results.json, of a run or of a grid's runs")
        for file in files:
            document = json.loads(file.read_text(encoding="utf-8"))
            if document["dataset"] != dataset:
                log(f"left out: {file} is on {document['dataset']}, the table on {dataset}")
                continue
            config = document["provenance"]["config"]
            trained = document["provenance"].get("trained_with") or config
            cell, own = (
                _cell(trained),
                record_rows.digest([*map(record_rows.portable, (trained, config))]),
            )
            settings.setdefault(cell, {}).setdefault(own, path.name)
            for split, figures in document["results"].get("fine_tuned", {}).items():
                found.setdefault((cell, own, split), []).append(figures)
    return [
        Line(
            f"{cell}, {len(runs)} run{'s' * (len(runs) > 1)}"
            + f" ({settings[cell][own]})" * (len(settings[cell]) > 1),
            split,
            *(
                {key: _mean(run[what][key] for run in runs) for key in runs[0][what]}
                for what in ("fcm", "recall")
            ),
        )
        for (cell, own, split), runs in found.items()
    ]


def _cell(config: Mapping) -> str:
    backbone, pooling, loss = (
        config["model"]["backbone"],
        config["model"]["pooling"],
        config["loss"]["name"],
    )
    return (
        f"{NAMES.get(backbone, backbone)} + {NAMES.get(pooling, pooling)}, {NAMES.get(loss, loss)}"
    )


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None


COST = {
    "dimension": "dimensions",
    "ms_per_image": "ms per image",
    "peak_gib": "peak GiB",
    "parameters": "parameters (M)",
}


def table(lines: list[Line], dataset: str, unit: str) -> Table:
    """Returns the table of all lines."""
    tolerances, counts = list(lines[0].fcm), list(lines[0].recall)
    head = ["model", "queries", *(f"FCM {t} {unit}" for t in tolerances)]
    head += [*(f"R@{n}" for n in counts), *COST.values()]
    rows = [
        [
            line.model,
            line.split,
            *(_shown(line.fcm.get(t), 1) for t in tolerances),
            *(_shown(line.recall.get(n), 1) for n in counts),
            *(
                _shown(getattr(line, key), digits)
                for key, digits in zip(COST, (0, 1, 2, 1), strict=True)
            ),
        ]
        for line in lines
    ]
    notes = [
        "FCM and recall@N in percent of the queries; released models are evaluated as they are.",
        "Time and memory are those of describing `eval.batch` images.",
    ]
    return Table(f"Released models on {dataset}", head, rows, 2, notes)


def _shown(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def write(folder: pathlib.Path, found: Table, lines: list[Line]) -> None:
    """Writes `released.md`, `released.csv` and `released.json`."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([found.head, *found.rows])
    rows = [dataclasses.asdict(line) for line in lines]
    write_atomically(folder / "released.csv", out.getvalue())
    write_atomically(folder / "released.json", json.dumps(rows, indent=1) + "\n")
    write_atomically(folder / "released.md", found.markdown() + "\n")
