"""Keeps the record of models at home and abroad, its table and its picture.

    python experiments/forgetting.py --add runs/mine --setting='rate 5e-5' --home=1 --abroad=2
    python experiments/forgetting.py --add curve.csv
    python experiments/forgetting.py

`--add` takes a workdir that was evaluated with `eval.other_datasets`, or a file of
`experiments/blend.py --csv`. Its rows join `experiments/records/forgetting.csv` and replace those of the
same setting, model, seed and datasets. The command then draws `records/forgetting.svg` and regenerates the
table in `records/forgetting.md`, as `experiments/records.py` does.
"""

import argparse
import pathlib
import sys

import records
from analysis import fill, forgetting, pareto, record_tables, scores

from vprjax.errors import ConfigError, VprjaxError
from vprjax.storage.atomic import write_atomically
from vprjax.storage.json_lines import read_rows


def added(args: argparse.Namespace) -> list[forgetting.Row]:
    """The rows of `--add`.

    Raises:
      VprjaxError: it is neither, or a flag is missing.
    """
    if args.add.is_file():
        return forgetting.read(args.add)
    if not args.setting or args.home is None or args.abroad is None:
        raise ConfigError(
            f"--add={args.add} is a workdir: name it with --setting, and its tolerances with --home and "
            "--abroad"
        )
    document = scores.read_document(args.add / "results.json")
    times = [row["seconds"] for row in read_rows((args.timing or args.add) / "timing.jsonl")]
    seconds = sum(times) if times else None
    return forgetting.of_results(document, args.setting, (args.home, args.abroad), seconds)


def main() -> int:
    """Adds, draws and regenerates; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--add", type=pathlib.Path, help="an evaluated workdir, or a file of rows")
    add("--setting", default="", help="name of how the run was trained or blended")
    add("--home", type=float, help="tolerance at home, position units")
    add("--abroad", type=float, help="tolerance abroad, position units")
    add(
        "--timing", type=pathlib.Path, help="the run's workdir, where --add is another evaluation's"
    )
    args = parser.parse_args()
    path = records.FOLDER / forgetting.FILE
    try:
        rows = forgetting.read(path) if path.exists() else []
        if args.add:
            rows = forgetting.merged(rows, added(args))
        write_atomically(path, forgetting.text(rows))
        every = fill.read(records.FOLDER)
        lines = forgetting.lines(record_tables.home_and_abroad(every))
        points = {line: forgetting.point(own) for line, own in lines.items()}
        pareto.picture(records.FOLDER / pareto.PICTURE, points)
        for changed in records.regenerate(every):
            print(changed)
        return 0
    except (VprjaxError, OSError) as error:
        print(f"forgetting: error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
