"""Checks that every run of a grid stayed sound: one row per cell, from the logs of its runs.

    python experiments/grid_health.py runs/grid/synthetic --out=FILE.md

A sound run is finished, all its logged values are finite, and its loss moved. Its descriptors did not
collapse, by the bounds of `vprjax.evaluation.collapse`, which also make a run warn. The exit status is 1
where a run is not sound.
"""

import argparse
import math
import pathlib
import sys

from analysis.text_table import NAMES, Table, check_out
from grid import cells

from vprjax.errors import DataError, VprjaxError
from vprjax.evaluation import collapse
from vprjax.storage.json_lines import read_rows

TITLE = "Health of "
LOGGED = ("loss", "grad_norm", "variance", "effective_rank")


def sound(rows: list[dict]) -> bool:
    """Whether a run that logged `rows` trained: finite, moving, not collapsed."""
    finite = all(math.isfinite(row[name]) for row in rows for name in LOGGED)
    return finite and collapse.moved(rows) and all(map(collapse.apart, rows))


def summary(runs: list[list[dict]], finished: bool) -> list[str]:
    """A cell's figures: runs, steps, first and last mean loss, least variance and rank, sound."""
    if not all(runs):  # a run ended before its first logged step
        return [str(len(runs)), "0", "", "", "", "", "NO"]
    first, last = (sum(rows[i]["loss"] for rows in runs) / len(runs) for i in (0, -1))
    least = [
        min(row[name] for rows in runs for row in rows) for name in ("variance", "effective_rank")
    ]
    good = finished and all(map(sound, runs))
    steps = min(rows[-1]["step"] for rows in runs)
    figures = [f"{first:.3g}", f"{last:.3g}", f"{least[0]:.3f}", f"{least[1]:.1f}"]
    return [str(len(runs)), f"{steps:,}", *figures, "yes" if good else "NO"]


def table(grid: pathlib.Path) -> Table:
    """One row per cell that has runs, in the paper's order.

    Raises:
      DataError: no run has logged a step.
    """
    rows, logged = [], False
    for cell in dict.fromkeys(cells.of_dataset("synthetic") + cells.of_dataset("nordland")):
        folders = sorted(grid.glob(f"{cells.name_of(cell)}/seed*"))
        runs = [read_rows(at / "metrics.jsonl") for at in folders]
        logged |= any(runs)
        if runs:
            done = all((at / "results.json").exists() for at in folders)
            words = [NAMES[cell.loss], NAMES[cell.pooling], NAMES[cell.backbone]]
            rows.append([*words, *summary(runs, done)])
    if not logged:
        raise DataError(f"{grid} has no run that logged a step (CELL/seedN/metrics.jsonl)")
    head = ["loss", "pooling", "backbone", "seeds", "steps", "first loss", "last loss"]
    head += ["least variance", "least effective rank", "sound"]
    return Table(f"{TITLE}{grid.name}", head, rows, 3, [])


def main() -> int:
    """Prints the table; returns 0, 1 where a run is not sound, 2 for a bad grid."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("grid", type=pathlib.Path, help="a grid's folder, RUNS/DATASET")
    parser.add_argument("--out", type=pathlib.Path, help="Markdown file for the table")
    args = parser.parse_args()
    try:
        check_out("--out", args.out, f"## {TITLE}")
        found = table(args.grid)
    except VprjaxError as error:
        print(f"grid_health: error: {error}", file=sys.stderr)
        return 2
    found.show(args.out)
    return int(any(row[-1] == "NO" for row in found.rows))


if __name__ == "__main__":
    sys.exit(main())
