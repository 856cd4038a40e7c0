"""Writes the study's tables of a dataset, ours beside the paper's, as Markdown, LaTeX and CSV."""

import csv
import io
import pathlib
from collections.abc import Sequence

from analysis import scores
from analysis.conclusions import claim_table, comparison_table
from analysis.scores import UNTRAINED, Key, Scores
from analysis.text_table import NAMES, Table, shown, signed
from vprjax.report.published import Cell, Study
from vprjax.storage.atomic import write_atomically


def main_table(ours: Scores | None, study: Study | None) -> Table:
    """One row per model and query split in the paper's order: ours, paper's, difference; ceilings last.

    A side without figures has no columns. A column holds the number of seeds where it differs between
    rows of ours.
    """
    source = ours or scores.of_study(study)
    columns = [name for name, there in (("ours", ours), ("paper", study)) if there]
    columns += ["diff."] if len(columns) == 2 else []
    head = ["loss", "queries", "pooling", "backbone"]
    mixed = ours is not None and len(ours.seed_counts) > 1
    head += ["seeds"] if mixed else []
    head += [_column(t, source.unit, c, columns) for t in source.tolerances for c in columns]
    rows = []
    for cell, test in _rows(ours, study):
        row = [NAMES[cell.loss], test, NAMES[cell.pooling], NAMES[cell.backbone]]
        row += [_seeds(ours, cell, test)] if mixed else []
        for tolerance in source.tolerances:
            row += _figures(ours, study, Key(cell, test, tolerance), columns)
        rows.append(row)
    for test in source.tests if ours else ():
        row = ["oracle (ceiling)", test, "", ""] + [""] * mixed
        for tolerance in source.tolerances:
            row += [f"{ours.oracle[test, tolerance]:.2f}"] + [""] * (len(columns) - 1)
        rows.append(row)
    counted = f", protocol {ours.protocol}" if ours and ours.protocol else ""
    title = f"FCM (%) on {ours.dataset}{counted}" if ours else f"FCM (%), {study.title}"
    return Table(title, head, rows, 4, _notes(ours, study))


def _seeds(ours: Scores, cell: Cell, test: str) -> str:
    """The number of seeds behind a row; empty where the row is the paper's alone."""
    return str(len(ours.values.get(Key(cell, test, ours.tolerances[0]), ())) or "")


def _column(tolerance: float, unit: str, name: str, names: list[str]) -> str:
    return f"{tolerance:g} {unit}" + (f" {name}" if len(names) > 1 else "")


def _rows(ours: Scores | None, study: Study | None) -> list[tuple[Cell, str]]:
    """Models and query splits with a figure on either side, in the paper's order."""
    own = [(key.cell, key.test) for key in ours.values] if ours else []
    paper = [(value.cell, value.test) for value in study.values] if study else []
    first = [row for row in own if row[0].loss in UNTRAINED]
    return list(dict.fromkeys([*first, *paper, *own]))


def _figures(ours, study: Study | None, key: Key, columns: list[str]) -> list[str]:
    own = ours.mean(key) if ours else None
    paper = study.ladder(key.cell, key.test).get(key.tolerance) if study else None
    texts = {
        "ours": shown(own),
        "paper": "" if paper is None else f"{paper:.2f}" + "*" * _misprinted(study, key),
        "diff.": "" if own is None or paper is None else signed(own.mean - paper),
    }
    return [texts[name] for name in columns]


def _misprinted(study: Study, key: Key) -> bool:
    return any(key == Key(v.cell, v.test, v.tolerance) for two in study.misprints() for v in two)


def _notes(ours: Scores | None, study: Study | None) -> list[str]:
    notes = []
    if ours:
        seeds = sorted({seed for by_seed in ours.values.values() for seed in by_seed})
        if max(ours.seed_counts) > 1:
            notes.append(f"Ours: mean over seeds {seeds} with the 95 % interval (Student's t).")
        if 1 in ours.seed_counts:
            notes.append("One seed: the interval, where given, is over its queries (bootstrap).")
        elif any(len({s.fcm for s in v.values()}) == 1 for v in ours.values.values()):
            notes.append(
                "Where the seed changes nothing, the interval is over queries (bootstrap)."
            )
        notes.append("Oracle: share of queries that have any reference within the tolerance.")
    for wide, narrow in study.misprints() if study else ():
        cell = wide.cell
        notes.append(
            f"* As printed, and impossible: {NAMES[cell.backbone]} + {NAMES[cell.pooling]}, "
            f"{cell.loss}, {wide.test} has {wide.fcm:.2f} at {wide.tolerance} m but {narrow.fcm:.2f} at "
            f"{narrow.tolerance} m; FCM cannot fall as the tolerance grows."
        )
    return notes


def all_tables(ours: Scores | None, study: Study | None) -> list[Table]:
    """The main table, the comparisons of ours and of the paper, and the paper's claim checked."""
    tables = [main_table(ours, study)]
    own = comparison_table(ours, f"our runs on {ours.dataset}") if ours else None
    if own and own.rows:
        tables.append(own)
    if study:
        tables.append(comparison_table(scores.of_study(study), f"recomputed from {study.title}"))
        tables.append(claim_table(study))
    return tables


def csv_text(ours: Scores | None, study: Study | None) -> str:
    """The main table with one row per figure and nothing rounded."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(
        "loss,test,pooling,backbone,tau,ours,ours_low,ours_high,seeds,paper,difference,oracle".split(
            ","
        )
    )
    tolerances = (ours or study).tolerances
    for cell, test in _rows(ours, study):
        for tolerance in tolerances:
            own = ours.mean(Key(cell, test, tolerance)) if ours else None
            paper = study.ladder(cell, test).get(tolerance) if study else None
            row = [cell.loss, test, cell.pooling, cell.backbone, f"{tolerance:g}"]
            row += [own.mean, *(own.interval or ("", "")), own.n] if own else [""] * 4
            row += ["" if paper is None else f"{paper:.2f}"]
            row += [own.mean - paper if own and paper is not None else ""]
            row += [ours.oracle.get((test, tolerance), "") if ours else ""]
            writer.writerow(row)
    return out.getvalue()


def write(
    folder: pathlib.Path, ours: Scores | None, study: Study | None, more: Sequence[Table] = ()
) -> list[Table]:
    """Writes `tables.md`, `tables.tex` and `tables.csv` into `folder`; returns the tables, `more` last."""
    tables = [*all_tables(ours, study), *more]
    folder.mkdir(parents=True, exist_ok=True)
    text = "# The study's tables\n\n" + "\n\n".join(table.markdown() for table in tables) + "\n"
    write_atomically(folder / "tables.md", text)
    write_atomically(folder / "tables.tex", "\n\n".join(t.latex() for t in tables) + "\n")
    write_atomically(folder / "tables.csv", csv_text(ours, study))
    return tables
