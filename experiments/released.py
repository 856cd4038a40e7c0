"""Evaluates every released model in a folder on one dataset, each as it is, and writes one table.

    python experiments/released.py --weights=FOLDER --dataset=places_csv/mine
    python experiments/released.py --weights=FOLDER --dataset=nordland --runs=runs/grid/nordland

`--dataset` is a config of `configs/`, or a prepared dataset whose splits are train, reference and test01.
A file that holds no released model is left out, and the log says why. Every file has a process and a folder
of its own, `OUT/FILE`; the same command evaluates what is missing. `OUT/released.md`, `.csv` and `.json`
hold FCM, recall@N, dimensions, ms per image, peak memory and parameters. `--runs` adds own runs.
"""

import argparse
import json
import pathlib
import sys

from analysis import released_table
from grid import cells, files
from grid.one_file import MEASURED
from grid.runner import GridProgress, Runner, Stopped, visible_gpus

from vprjax.console import log
from vprjax.data import source
from vprjax.errors import ConfigError, VprjaxError


def parse() -> argparse.Namespace:
    """The parsed command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--weights", type=pathlib.Path, required=True, help="folder of released models' files")
    add("--dataset", required=True, help="a config's name, such as nordland, or BUILDER/CONFIG")
    add("--out", type=pathlib.Path, help="folder of the table; runs/released/DATASET by default")
    add("--runs", default="", help="comma list of own workdirs or grids, for more rows")
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="config key of all files")
    return parser.parse_args()


def evaluate(args: argparse.Namespace, out: pathlib.Path) -> list[str]:
    """Evaluates what is missing and writes the table; returns the names of the files that failed.

    Raises:
      VprjaxError: a flag, the dataset or the folder is wrong.
    """
    if not args.weights.is_dir():
        raise ConfigError(f"--weights={args.weights} is no folder")
    config = files.config_of(args.dataset, dict(map(cells.change, args.set)))
    dataset = source.open_dataset(config)
    name = f"{dataset.name}:{dataset.version}"
    own = released_table.of_runs(map(pathlib.Path, filter(None, args.runs.split(","))), name)
    jobs = files.jobs(args.weights, config, out)
    runner, progress = Runner(1, visible_gpus()), GridProgress(jobs)
    try:
        runner.run([job for job in jobs if not job.finished()], progress)
    finally:
        progress.close()
    lines = [line for job in jobs if job.results.exists() for line in _lines(job)] + own
    if lines:
        table = released_table.table(lines, name, config.dataset.position_unit)
        released_table.write(out, table, lines)
        print(table.markdown())
        log(f"table: {out / 'released.md'}")
    return [job.name for job in runner.failed]


def _lines(job: cells.Job) -> list[released_table.Line]:
    read = [json.loads(path.read_text()) for path in (job.results, job.workdir / MEASURED)]
    return released_table.of_file(job.name, *read)


def main() -> int:
    """Returns 0; 2 for a mistake that the user can mend or a failed file; 130 after a signal."""
    args = parse()
    out = args.out or pathlib.Path("runs/released") / args.dataset.replace("/", "_")
    try:
        if failed := evaluate(args, out):
            raise ConfigError(f"{len(failed)} files failed: {', '.join(failed)}")
        return 0
    except Stopped as stopped:
        print(f"released: {stopped}; the same command continues from here", file=sys.stderr)
        return 130
    except (VprjaxError, OSError) as error:
        print(f"released: error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
