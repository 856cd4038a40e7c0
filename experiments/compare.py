"""Compares two grids cell by cell: the mean over seeds of each, and their paired difference.

    python experiments/compare.py runs/grid/nordland runs/grid/nordland+tuples.mining=random --out=FILE.md

It pairs the seeds that both grids have and leaves out cells that one lacks. `--out` also gets the table.
"""

import argparse
import pathlib
import sys

from analysis import scores
from analysis.scores import Scores
from analysis.side_by_side import compare

from vprjax.errors import VprjaxError


def read(grid: pathlib.Path) -> Scores:
    """The finished runs of a grid's folder.

    Raises:
      DataError: there is none, or two do not fit one table.
    """
    return scores.read(sorted(grid.glob("*/seed*/results.json")))


def main() -> int:
    """Prints the comparison; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("grids", type=pathlib.Path, nargs=2, help="folders of paper_grid.py")
    parser.add_argument("--out", type=pathlib.Path, help="file for the table")
    args = parser.parse_args()
    try:
        table = compare(*map(read, args.grids), tuple(grid.name for grid in args.grids))
    except VprjaxError as error:
        print(f"compare: error: {error}", file=sys.stderr)
        return 2
    table.show(args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
