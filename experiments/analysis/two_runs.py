"""Two runs side by side on the same queries: paired differences per tolerance, and what changed."""

import csv
import dataclasses
import math
import pathlib

import numpy as np

from analysis import scores
from analysis.scores import Mean
from analysis.text_table import Table, difference
from vprjax.errors import DataError
from vprjax.evaluation import bootstrap, change

SHOWN = 20  # changed queries on the console


@dataclasses.dataclass(frozen=True)
class Run:
    """The results of one run.

    Attributes:
      name: of the table's column.
      folder: of results.json and `matches/`.
      document: what results.json holds.
    """

    name: str
    folder: pathlib.Path
    document: dict

    def matches(self, model: str, split: str) -> tuple[list[str], np.ndarray, list[str]]:
        """Ids of the queries with a position in time order, errors `(q,)` and ids of their matches.

        Raises:
          DataError: the table is missing or damaged, or is not of the figures in results.json.
        """
        path = self.folder / "matches" / f"{model}_{split}.csv"
        try:
            with path.open(encoding="utf-8", newline="") as f:
                rows = [
                    (row["query"], float(row["error"]), row["match"])
                    for row in csv.DictReader(f)
                    if row["error"]
                ]
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{path} is not a run's matches ({type(error).__name__}: {error}), which pairs are made "
                "of; run that run's command again"
            ) from error
        figures = self.document["results"][model][split]
        errors = np.array([error for _, error, _ in rows])
        for text, percent in figures["fcm"].items():
            found = 100 * np.mean(errors <= float(text)) if rows else math.nan
            if not abs(found - percent) < 1e-3:
                raise DataError(
                    f"{path} gives FCM {found:.2f} within {text}, results.json beside it {percent:.2f}: "
                    "they are of two evaluations; run that run's command again"
                )
        return [query for query, _, _ in rows], errors, [match for *_, match in rows]


def results_file(path: pathlib.Path) -> pathlib.Path | None:
    """The results.json that a path names, itself or in a workdir; None for a grid's folder."""
    inside = path / "results.json"
    return path if path.is_file() else inside if inside.is_file() else None


def read(path: pathlib.Path) -> Run:
    """The run of a workdir or of its results.json.

    Raises:
      DataError: the results are missing or damaged.
    """
    file = results_file(path) or path / "results.json"
    return Run(str(path), file.parent, scores.read_document(file))


def compare(first: Run, second: Run) -> tuple[Table, Table]:
    """A table of figures, first minus second, and a table of the queries that changed.

    Raises:
      DataError: the runs have no dataset, model, query split or tolerance in common, or other queries.
    """
    one, two = first.document, second.document
    if one["dataset"] != two["dataset"]:
        raise DataError(f"{first.name} is of {one['dataset']}, {second.name} of {two['dataset']}")
    degrees = [d["provenance"]["config"]["eval"].get("heading_degrees", 0.0) for d in (one, two)]
    if degrees[0] != degrees[1]:
        raise DataError(
            f"{first.name} has eval.heading_degrees={degrees[0]:g}, {second.name} {degrees[1]:g}: evaluate "
            "both with one value"
        )
    rows, changed = [], []
    tolerances = [t for t in one["tolerances_m"] if t in two["tolerances_m"]]
    unit = one["provenance"]["config"]["dataset"]["position_unit"]
    for models in _models(one["results"], two["results"]):
        splits = [s for s in one["results"][models[0]] if s in two["results"][models[1]]]
        splits = [s for s in splits if None not in one["results"][models[0]][s]["fcm"].values()]
        for split in splits:
            more, moved = _paired(first, second, models, split, tolerances)
            rows += [
                [split, " / ".join(dict.fromkeys(models)), f"{t:g} {unit}", *x] for t, x in more
            ]
            changed += moved
    if not rows:
        raise DataError(
            f"{first.name} and {second.name} have no query split and tolerance in common"
        )
    names = _names(first, second)
    head = ["queries", "model", "within", "count", *names, "difference", "p"]
    head += [f"only {name}" for name in names]
    notes = [
        *scores.other_protocols(*map(scores.protocol, (one, two)), names),
        "FCM (%); the difference is the first minus the second on the same queries, in brackets its 95 % "
        "block bootstrap interval, no narrower than an exact one (and p no smaller) where fewer than "
        f"{bootstrap.FEW} queries changed. The last columns count the queries that one run alone has "
        "right.",
    ]
    figures = Table(f"{names[0]} against {names[1]} on {one['dataset']}", head, rows, 3, notes)
    head = [
        "queries",
        "model",
        "query",
        *(f"{x} of {name}" for name in names for x in ("match", "error")),
    ]
    order = sorted(changed, key=lambda row: row[0])
    title = f"{len(changed)} queries changed between right and wrong at some tolerance"
    return figures, Table(title, head, [row for _, row in order], 4, [])


def first_rows(table: Table) -> Table:
    """The table cut to what a console shows, with a note on the rest."""
    if len(table.rows) <= SHOWN:
        return table
    note = f"The first {SHOWN} of {len(table.rows)}; --out gets all."
    return dataclasses.replace(table, rows=table.rows[:SHOWN], notes=[*table.notes, note])


def _models(one: dict, two: dict) -> list[tuple[str, str]]:
    """The models that both runs evaluated; else the last of each."""
    return [(m, m) for m in one if m in two] or [(list(one)[-1], list(two)[-1])]


def _names(first: Run, second: Run) -> tuple[str, str]:
    """The columns' names: the last parts of the folders that differ."""
    pair = [run.folder.resolve().name for run in (first, second)]
    return tuple(pair) if pair[0] != pair[1] else (first.name, second.name)


def _paired(first: Run, second: Run, models: tuple[str, str], split: str, tolerances: list[float]):
    """Per tolerance the texts of a row; per changed query its place in the list and its texts."""
    ids, one, matched = first.matches(models[0], split)
    others, two, matched_too = second.matches(models[1], split)
    if ids != others:
        if sorted(ids) != sorted(others) or len(set(ids)) < len(ids):
            raise DataError(
                f"{first.name} and {second.name} have other queries in {split}: evaluate both on one "
                "dataset"
            )
        where = {query: i for i, query in enumerate(others)}
        order = [where[query] for query in ids]
        two, matched_too = two[order], [matched_too[i] for i in order]
    rows, moved = [], np.zeros(len(ids), bool)
    for tolerance in tolerances:
        a, b = one <= tolerance, two <= tolerance
        found = change.change(b, a)
        shown = difference(Mean(found.difference, found.interval, found.queries))
        means = [f"{share:.2f}" for share in (found.after, found.before)]
        counts = [str(found.gained), str(found.lost)]
        rows.append((tolerance, [str(found.queries), *means, shown, f"{found.p:.3f}", *counts]))
        moved |= a != b
    label = " / ".join(dict.fromkeys(models))
    changed = [
        (
            -_moved_by(one[i], two[i]),
            [split, label, ids[i], matched[i], f"{one[i]:.2f}", matched_too[i], f"{two[i]:.2f}"],
        )
        for i in np.flatnonzero(moved)
    ]
    return rows, changed


def _moved_by(one: float, two: float) -> float:
    """How far two errors lie apart; infinite where one of them is."""
    return abs(one - two) if math.isfinite(one) and math.isfinite(two) else math.inf
