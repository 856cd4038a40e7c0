"""Runs at home and abroad as `forgetting.csv`: one row per run, other dataset and query split.

The table has one line per setting. What `runs.csv` has of Nordland and Corridor, the recipe that ships,
joins them.
"""

import csv
import io
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from analysis import pareto, scores
from analysis import rows as record_rows
from analysis.record_scores import chosen, marks_of, model_name, unit
from analysis.scores import Mean
from analysis.text_table import NAMES, Table
from vprjax.errors import DataError

FILE = "forgetting.csv"
UNTRAINED, SHIPPED, NOTHING_KEPT = "off the shelf", "as shipped", "nothing kept"
SIDES = ("nordland", "1"), ("corridor", "2")  # sets of `runs.csv` and their tolerances, home first
UNKEPT = "+keep.images=()+keep.weight=0.0+train.steps=1000"  # of sets whose models keep no images


class Row(NamedTuple):
    """One run on its own dataset and on another one.

    Attributes:
      setting: name of how it was trained or blended.
      cell: `backbone-pooling`.
      loss: of training; "" off the shelf.
      seed: of training.
      home: `dataset:version split tolerance unit` of the own dataset.
      home_fcm: percent.
      home_low: lower end of the 95 % interval over queries, percent, or "".
      home_high: upper end.
      abroad: as `home`, of the other dataset.
      abroad_fcm: percent.
      abroad_low: lower end.
      abroad_high: upper end.
      change: points abroad, fine-tuned minus off the shelf on the same queries.
      change_low: lower end of its paired 95 % interval.
      change_high: upper end.
      seconds: of training, or "".
      code_version: of the evaluation.
      trained_with: code version of the training, where it is known, or "".
    """

    setting: str
    cell: str
    loss: str
    seed: str
    home: str
    home_fcm: str
    home_low: str
    home_high: str
    abroad: str
    abroad_fcm: str
    abroad_low: str
    abroad_high: str
    change: str
    change_low: str
    change_high: str
    seconds: str
    code_version: str
    trained_with: str = ""


class Line(NamedTuple):
    """One line of the table: a setting of one model and loss, on one pair of datasets."""

    setting: str
    cell: str
    loss: str
    home: str
    abroad: str


def of_results(
    document: Mapping, setting: str, tolerances: tuple[float, float], seconds: float | None = None
) -> list[Row]:
    """The rows of a run's results.json: both models, on every pair of query splits at home and abroad.

    Args:
      document: what results.json holds.
      setting: name of how it was trained.
      tolerances: at home and abroad, each in its dataset's unit.
      seconds: of training, or None.

    Raises:
      DataError: it has no other dataset, or not these tolerances.
    """
    if not document.get("others"):
        raise DataError(
            "the results hold no other dataset: evaluate the run with eval.other_datasets"
        )
    provenance, (near, far) = document["provenance"], (f"{t:g}" for t in tolerances)
    trained = provenance.get("trained_with") or provenance["config"]
    cell = f"{trained['model']['backbone']}-{trained['model']['pooling']}"
    unit = provenance["config"]["dataset"]["position_unit"]
    # As in the record: a projection makes other descriptors, before training too.
    before = f"{UNTRAINED}, projected" if trained["model"].get("projection") else UNTRAINED
    found = []
    for model, by_split in document["results"].items():
        untrained = model == scores.OFF_THE_SHELF
        head = (
            before if untrained else setting,
            cell,
            "" if untrained else trained["loss"]["name"],
            str(trained["seed"]),
        )
        for split, figures in by_split.items():
            home = _side(document["dataset"], split, near, unit, figures)
            for name, other in document["others"].items():
                for there, others in other["results"][model].items():
                    abroad = _side(name, there, far, other["position_unit"], others)
                    change = _change(other, there, far, untrained)
                    spent = "" if seconds is None or untrained else f"{seconds:.0f}"
                    last = (spent, provenance.get("code_version", ""))
                    found.append(Row(*head, *home, *abroad, *change, *last))
    return found


def of_record(record: record_rows.Record) -> list[Row]:
    """What `runs.csv` has at home and abroad, `SIDES`: what ships, also unkept, and untrained models."""
    found = []
    for recipe, suffix in ((NOTHING_KEPT, UNKEPT), (SHIPPED, "")):
        sides = []
        for name, tolerance in SIDES:
            own = [r for r in chosen(record, [name + suffix]) if r.tolerance == tolerance]
            sides.append({(row.cell, row.seed, row.model): row for row in own})
        home, abroad = sides
        found += [
            _paired(record, one, abroad[key], recipe)
            for key, one in home.items()
            if key in abroad and "whitened" not in marks_of(record, one)
        ]
    return merged([], found)


def _paired(
    record: record_rows.Record, home: record_rows.Row, abroad: record_rows.Row, recipe: str
) -> Row:
    untrained = home.model == scores.OFF_THE_SHELF
    backbone, pooling, loss = home.cell.split("-")
    setting = ", ".join([UNTRAINED if untrained else recipe, *marks_of(record, home)])
    sides = [
        (
            f"{row.dataset} {row.split} {row.tolerance} {unit(record, [row])}",
            row.fcm,
            row.low,
            row.high,
        )
        for row in (home, abroad)
    ]
    head = setting, f"{backbone}-{pooling}", "" if untrained else loss, home.seed
    return Row(*head, *sides[0], *sides[1], "", "", "", "", abroad.code_version)


def _side(dataset: str, split: str, tolerance: str, unit: str, figures: Mapping) -> tuple:
    """Name, FCM and interval of one query split; raises DataError where it has no such FCM."""
    if tolerance not in figures["fcm"]:
        raise DataError(
            f"{dataset}, {split} has no tolerance {tolerance}; it has {', '.join(figures['fcm'])}"
        )
    if figures["fcm"][tolerance] is None:
        raise DataError(f"{dataset}, {split} has no FCM, as no query has a position: leave it out")
    bounds = figures["interval"].get(tolerance) or ("", "")
    return (
        f"{dataset} {split} {tolerance} {unit}",
        *map(str, (figures["fcm"][tolerance], *bounds)),
    )


def _change(other: Mapping, split: str, tolerance: str, untrained: bool) -> tuple[str, str, str]:
    found = other.get("change", {}).get(split, {}).get(tolerance)
    if untrained or found is None:
        return "", "", ""
    return tuple(map(str, (found["difference"], *found["interval"])))


def merged(before: Iterable[Row], added: Iterable[Row]) -> list[Row]:
    """`before` with `added`, which replaces rows of the same setting, model, seed and datasets."""

    def run(row: Row) -> tuple:
        return row.setting, row.cell, row.loss, row.seed, row.home, row.abroad

    out = {run(row): row for row in before}
    return [*(out | {run(row): row for row in added}).values()]


def read(path: pathlib.Path) -> list[Row]:
    """The rows of a file; raises DataError where it is missing or damaged."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [Row(**row) for row in csv.DictReader(file)]
    except (OSError, TypeError, ValueError) as error:
        raise DataError(f"{path} holds no runs at home and abroad ({error})") from error


def text(rows: Iterable[Row]) -> str:
    """The file's content."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([Row._fields, *rows])
    return out.getvalue()


def lines(rows: Iterable[Row]) -> dict[Line, list[Row]]:
    """The rows of every line, in order of appearance."""
    out: dict[Line, list[Row]] = {}
    for row in rows:
        key = Line(row.setting, row.cell, row.loss, row.home, row.abroad)
        out.setdefault(key, []).append(row)
    return out


def table(rows: Sequence[Row]) -> Table:
    """One row per setting: home and abroad as means over seeds with intervals, change, training time."""
    found = lines(rows)
    best = pareto.front({line: point(own) for line, own in found.items()})
    out = []
    for line, own in found.items():
        changes = [float(row.change) for row in own if row.change]
        bounds = _interval([row[12:15] for row in own if row.change])
        seconds = [float(row.seconds) for row in own if row.seconds]
        out.append(
            [
                line.setting + (" *" if line in best else ""),
                model_name(*line.cell.split("-")),
                NAMES[line.loss] if line.loss else "",
                pareto.named(line.home),
                pareto.named(line.abroad),
                str(len({row.seed for row in own})),
                _shown(_mean([row[5:8] for row in own])),
                _shown(_mean([row[9:12] for row in own])),
                _shown(Mean(scores.mean(changes).mean, bounds, len(changes))) if changes else "",
                f"{sum(seconds) / len(seconds):.0f}" if seconds else "",
            ]
        )
    head = ["setting", "model", "loss", "home", "abroad", "seeds", "at home", "abroad, FCM"]
    notes = [
        "FCM (%), mean over seeds with Student's 95 % interval; of equal values, that over the queries. "
        "Change: fine-tuned minus off the shelf abroad, in points. * marks the front: no other setting of "
        "the model is as good in both."
    ]
    return Table("", [*head, "change abroad", "training (s)"], out, 5, notes)


def _mean(values: Sequence[tuple[str, str, str]]) -> Mean:
    """The mean over seeds of `(value, low, high)`; equal values keep the interval over queries."""
    numbers = [float(value) for value, *_ in values]
    return Mean(scores.mean(numbers).mean, _interval(values), len(numbers))


def _interval(values: Sequence[tuple[str, str, str]]) -> tuple[float, float] | None:
    numbers = [float(value) for value, *_ in values]
    if len(set(numbers)) > 1:
        return scores.mean(numbers).interval
    _, low, high = values[0] if values else ("", "", "")
    return (float(low), float(high)) if low and high else None


def _shown(found: Mean) -> str:
    bounds = " [{:.1f}, {:.1f}]".format(*found.interval) if found.interval else ""
    return f"{found.mean:.1f}{bounds}"


def point(own: Sequence[Row]) -> tuple[float, float]:
    """Mean FCM at home and abroad."""
    return tuple(_mean([row[i : i + 3] for row in own]).mean for i in (5, 9))
