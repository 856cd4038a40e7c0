"""The rows of `runs.csv`, chosen by set: as scores, and as lines of a model's variants."""

import collections
from collections.abc import Iterable
from typing import NamedTuple

from analysis import scores
from analysis.rows import Record, Row
from analysis.scores import OFF_THE_SHELF, PROJECTED, Key, Mean, Score, Scores
from analysis.text_table import NAMES
from vprjax.errors import DataError
from vprjax.losses import LOSSES
from vprjax.report.published import Cell

KEEPING = "keeping images"


def chosen(record: Record, sets: Iterable[str], cell: str = "", seed: str = "") -> list[Row]:
    """The rows of `sets` in the record's order, of `cell` and `seed` where given.

    Raises:
      DataError: a set has no such row.
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
    """The unit of positions and tolerances."""
    return record.configs[rows[0].config]["dataset"]["position_unit"]


def as_scores(record: Record, rows: list[Row]) -> Scores:
    """Scores by key and seed; the first row of a model and seed counts.

    Off-the-shelf rows with whitened descriptors are of another model and stay out.
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
    """One variant of a model on one query split: off the shelf or a loss, whitened or projected."""

    backbone: str
    pooling: str
    split: str
    what: str

    @property
    def model(self) -> str:
        """`VGG16 + GeM`."""
        return model_name(self.backbone, self.pooling)


def model_name(backbone: str, pooling: str) -> str:
    """The model's name in the tables."""
    return f"{NAMES[backbone]} + {NAMES[pooling]}"


def marks_of(record: Record, row: Row) -> list[str]:
    """Marks of descriptors that are not the model's own: projected, whitened; and of kept images."""
    evaluated, trained = record.configs[row.config]["eval"], record.configs[row.trained_with]
    untrained = row.model == OFF_THE_SHELF
    marks = {
        "projected": untrained and trained["model"]["projection"],
        "whitened": evaluated["pca"] and evaluated["pca_whiten"],
        KEEPING: not untrained and trained["keep"]["weight"],
    }
    return [mark for mark, there in marks.items() if there]


def lines(record: Record, rows: list[Row]) -> dict[Line, dict[float, Mean]]:
    """Means over seeds of every variant by tolerance, grouped by model, off the shelf first.

    Runs of several losses hold the same untrained model; the first row of a seed counts.
    """
    found: dict = collections.defaultdict(lambda: collections.defaultdict(dict))
    for row in rows:
        cell: Cell = row.parts
        base = OFF_THE_SHELF if row.model == OFF_THE_SHELF else cell.loss
        what = ", ".join([NAMES[base], *marks_of(record, row)])
        line = Line(cell.backbone, cell.pooling, row.split, what)
        found[line][float(row.tolerance)].setdefault(row.seed, float(row.fcm))
    paper = OFF_THE_SHELF, "triplet", "contrastive", "arcface"
    order = list(dict.fromkeys(NAMES[name] for name in (*paper, *LOSSES)))

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
    if len(set(values)) == 1:  # equal values would claim a false certainty
        return Mean(values[0], None, len(values))
    return scores.mean(values)
