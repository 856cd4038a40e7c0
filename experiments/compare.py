"""Compares two runs query by query, or two grids cell by cell.

    python experiments/compare.py runs/mine runs/other --out=FILE.md
    python experiments/compare.py runs/grid/nordland runs/grid/nordland+tuples.mining=random --out=FILE.md

Of two workdirs, or two results.json, it pairs the queries: FCM per tolerance, the difference with its
interval, and the queries that changed between right and wrong. Of two grids, folders of `paper_grid.py`, it
pairs the seeds that both have and leaves out cells that one lacks. `--out` also gets all tables.
"""

import argparse
import pathlib
import sys

from analysis import scores, two_runs
from analysis.scores import Scores
from analysis.side_by_side import compare
from analysis.text_table import Table, check_out

from vprjax.errors import DataError, VprjaxError
from vprjax.storage.atomic import write_atomically

MARK = "<!-- python experiments/compare.py -->"  # how a file of --out begins


def read(grid: pathlib.Path) -> Scores:
    """The finished runs of a grid's folder.

    Raises:
      DataError: there is none, or two do not fit one table.
    """
    return scores.read(sorted(grid.glob("*/seed*/results.json")))


def tables(paths: list[pathlib.Path]) -> list[Table]:
    """The tables of two runs or of two grids.

    Raises:
      DataError: they do not fit each other, or one is a run and the other a grid.
    """
    runs = [two_runs.results_file(path) is not None for path in paths]
    if all(runs):
        return list(two_runs.compare(*map(two_runs.read, paths)))
    for path, run in zip(paths, runs, strict=True):
        if not run and not any(path.glob("*/seed*/results.json")):
            raise DataError(
                f"{path} holds no results.json, of a run or of a grid's runs; name a finished workdir"
            )
    if any(runs):
        raise DataError(f"{paths[0]} and {paths[1]} are a run and a grid; name two of one kind")
    return [compare(*map(read, paths), tuple(path.name for path in paths))]


def main() -> int:
    """Prints the comparison; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "runs", type=pathlib.Path, nargs=2, help="workdirs, results.json files or grids' folders"
    )
    parser.add_argument("--out", type=pathlib.Path, help="file for all tables")
    args = parser.parse_args()
    try:
        check_out("--out", args.out, MARK)
        found = tables(args.runs)
    except VprjaxError as error:
        print(f"compare: error: {error}", file=sys.stderr)
        return 2
    for table in (found[0], *map(two_runs.first_rows, found[1:])):
        table.show(None)
    if args.out:
        texts = "\n\n".join(table.markdown() for table in found)
        write_atomically(args.out, f"{MARK}\n\n{texts}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
