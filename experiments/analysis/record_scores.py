"""The rows of `runs.csv`, chosen by set: as scores, and as lines of a model's variants."""

import collections
from collections.abc import Iterable
from typing import NamedTuple

from analysis import scores
from analysis.rows import Record, Row
from analysis.scores import OFF_THE_SHELF, PROJECTED, Key, Mean, Score, Scores
from analysis.text_table import NAMES
from vprjax.errors import DataError
from vprjax.report.published import Cell


def chosen(record: Record, sets: Iterable[str], cell: str = "", seed: str = "") -> list[Row]:
    """The rows of `sets`, of one cell and one seed where these are named, in the record's order.

    Raises:
      DataError: a set has none.
    """
    out = []
    for name in sets:
        found = [
            row
            for row in record.rows
            if row.set == name and cell in ("", row.cell) and seed in ("", row.seed)
        ]
        if not found:
            raise DataError(
                f"runs.csv has no row of set {name!r}" + f", cell {cell!r}" * bool(cell)
            )
        out += found
    return out


def unit(record: Record, rows: list[Row]) -> str:
    """Of positions and tolerances."""
    return record.configs[rows[0].config]["dataset"]["position_unit"]


def as_scores(record: Record, rows: list[Row]) -> Scores:
    """Scores by key and seed; the first row of a model and seed counts.

    An off-the-shelf row whose descriptors were whitened afterwards is another model and stays out.
    """
    values: dict[Key, dict[int, Score]] = collections.defaultdict(dict)
    oracle = {}
    for row in rows:
        cell, marks = row.parts, marks_of(record, row)
        if row.model == OFF_THE_SHELF:
            if "whitened" in marks:
                continue
            cell = cell._replace(loss=PROJECTED if "projected" in marks else OFF_THE_SHELF)
        tolerance = float(row.tolerance)
        bounds = (float(row.low), float(row.high)) if row.low else None
        score = Score(float(row.fcm), bounds)
        values[Key(cell, row.split, tolerance)].setdefault(int(row.seed), score)
        oracle[row.split, tolerance] = float(row.oracle)
    order = scores.papers_order(sorted({row.split for row in rows}))
    tolerances = sorted({float(row.tolerance) for row in rows}, reverse=True)
    ordered = {key: values[key] for key in sorted(values, key=order)}
    return Scores(rows[0].dataset, unit(record, rows), tuple(tolerances), ordered, oracle)


class Line(NamedTuple):
    """A model's variant on one query split: off the shelf or a loss, perhaps whitened or projected."""

    backbone: str
    pooling: str
    split: str
    what: str

    @property
    def model(self) -> str:
        """`VGG16 + GeM`."""
        return model_name(self.backbone, self.pooling)


def model_name(backbone: str, pooling: str) -> str:
    """As the tables write it."""
    return f"{NAMES[backbone]} + {NAMES[pooling]}"


def marks_of(record: Record, row: Row) -> list[str]:
    """What makes a row's descriptors others than the model's own."""
    evaluated, model = record.configs[row.config]["eval"], record.configs[row.trained_with]["model"]
    projected = ["projected"] if model["projection"] and row.model == OFF_THE_SHELF else []
    return projected + (["whitened"] if evaluated["pca"] and evaluated["pca_whiten"] else [])


def lines(record: Record, rows: list[Row]) -> dict[Line, dict[float, Mean]]:
    """Means over seeds of every variant by tolerance, models together, off the shelf first.

    An untrained model is in the runs of several losses; the first row of a seed counts.
    """
    found: dict = collections.defaultdict(lambda: collections.defaultdict(dict))
    for row in rows:
        cell: Cell = row.parts
        base = OFF_THE_SHELF if row.model == OFF_THE_SHELF else cell.loss
        what = ", ".join([NAMES[base], *marks_of(record, row)])
        line = Line(cell.backbone, cell.pooling, row.split, what)
        found[line][float(row.tolerance)].setdefault(row.seed, float(row.fcm))
    order = [NAMES[name] for name in (OFF_THE_SHELF, "triplet", "contrastive", "arcface")]

    def place(line: Line) -> tuple:
        base, _, mark = line.what.partition(", ")
        model = line.pooling, line.backbone != "vgg16", line.backbone  # the paper's order
        return *model, line.split, order.index(base), mark

    return {
        line: {t: _mean(by_seed) for t, by_seed in sorted(found[line].items(), reverse=True)}
        for line in sorted(found, key=place)
    }


def _mean(by_seed: dict[str, float]) -> Mean:
    values = list(by_seed.values())
    if len(set(values)) == 1:  # equal values would claim a certainty that there is not
        return Mean(values[0], None, len(values))
    return scores.mean(values)
