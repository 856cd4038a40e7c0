"""Writes the paper's Tables III and IV and their comparisons as Markdown, LaTeX and CSV.

    python experiments/tables.py --runs=runs/grid/robotcar --out=tables
    python experiments/tables.py

The first command reads every run below `--runs` and writes `tables.md`, `tables.tex` and `tables.csv`. The
second prints the paper's own tables and checks its claims on them. `experiments/paper_grid.py` writes the
same files beside its runs.
"""

import argparse
import pathlib
import sys

from analysis import scores, study

from vprjax.errors import DataError, VprjaxError
from vprjax.report import published


def main() -> int:
    """Writes or prints; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--runs", type=pathlib.Path, help="folder with runs of one dataset below it"
    )
    parser.add_argument("--out", type=pathlib.Path, help="folder to write; by default --runs")
    args = parser.parse_args()
    try:
        if args.runs is None:
            for paper in published.studies():
                print(
                    "\n\n".join(table.markdown() for table in study.all_tables(None, paper)),
                    end="\n\n",
                )
            return 0
        if not args.runs.is_dir():
            raise DataError(f"--runs={args.runs} is no folder; name a folder with runs")
        ours = scores.read(sorted(args.runs.rglob("results.json")))
        study.write(args.out or args.runs, ours, published.study(ours.dataset.partition(":")[0]))
        print((args.out or args.runs) / "tables.md")
        return 0
    except VprjaxError as error:
        print(f"tables: error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.stdout.reconfigure(errors="replace")  # letters that the terminal's encoding lacks
    sys.exit(main())
