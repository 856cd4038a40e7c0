"""Runs the paper's study as one command: 12 cells x seeds on a dataset, then tables and page.

    python experiments/paper_grid.py --dataset=synthetic --smoke
    python experiments/paper_grid.py --dataset=robotcar --weights=FOLDER --seeds=0,1,2
    python experiments/paper_grid.py --dataset=corridor --images=REAL --weights=REAL/weights

Every run has a folder of its own, `RUNS/DATASET/BACKBONE-POOLING-LOSS/seedN`. The same command runs what
is missing and resumes cut runs. Every run also measures the model off the shelf. Corridor evaluates the
models trained on Nordland and trains those that are missing. The grid's folder gets tables, a page and the
rows that `experiments/records.py --add FOLDER` takes. `--baselines` adds methods without a network, and
models off the shelf, above the grid's; `--cells=none` runs them alone:

    python experiments/paper_grid.py --dataset=corridor --images=REAL --baselines --cells=none

One run at a time uses all devices of the host; `--jobs` runs several. Where the host has several GPUs, each
job gets one, and the default is one job per GPU. Without a GPU each job gets its share of the cores.
Several hosts share a grid on common storage with `--cells`. Where the dataset is not built yet, start one
host and wait for its build. The same command without `--cells` then makes the tables of all:

    host1$ python experiments/paper_grid.py --dataset=robotcar --cells='vgg16-*' ...
    host2$ python experiments/paper_grid.py --dataset=robotcar --cells='resnet50-*' ...

`--others=places_csv/corridor,synthetic/default` measures every run on these datasets too, before and after
training; the grid's table shows home and abroad. A finished run is evaluated again, and not trained again.

`--study=heads` trains the heads of CosPlace, MixVPR and SALAD, and the flat map, on MobileNetV2's real
weights instead, with multi-similarity and with triplet.

`--set KEY=VALUE` changes a config key of all runs, which then lie in a folder of their own;
`experiments/compare.py` sets two such grids side by side.
"""

import argparse
import dataclasses
import fnmatch
import json
import pathlib
import platform
import shlex
import sys
import time

from analysis import abroad_table, rows, scores, study
from grid import baselines, cells, datasets, page
from grid.cells import Job, Settings
from grid.runner import GridProgress, Runner, Stopped, visible_gpus

from vprjax.console import log
from vprjax.errors import ConfigError, VprjaxError
from vprjax.report import published, training_page
from vprjax.runtime.machine import cpu
from vprjax.storage.atomic import write_atomically


def choose(jobs: list[Job], patterns: str) -> list[Job]:
    """The jobs whose cell matches one of the comma list `patterns`, e.g. `vgg16-*,*-arcface`.

    Raises:
      ConfigError: a pattern matches nothing.
    """
    names = list(dict.fromkeys(job.name for job in jobs))
    for pattern in patterns.split(","):
        if not fnmatch.filter(names, pattern):
            raise ConfigError(f"--cells: {pattern!r} matches none of {', '.join(names)}")
    wanted = {name for p in patterns.split(",") for name in fnmatch.filter(names, p)}
    return [job for job in jobs if job.name in wanted]


def run(
    settings: Settings, patterns: str, others: list[Job], slots: int, devices: list[str]
) -> list[Job]:
    """Runs the missing jobs, the baselines `others` first; returns the failed ones."""
    trained = choose(cells.training_jobs(settings), patterns) if patterns != "none" else []
    corridor = settings.dataset == "corridor"
    evaluated = cells.corridor_jobs(settings, trained) if corridor else []
    jobs = [*others, *trained, *evaluated]
    if not all([job.finished() for job in jobs]):  # a list, since each job may refuse its folder
        datasets.prepare(settings)
    runner, progress = Runner(slots, devices), GridProgress(jobs)
    try:
        runner.run([job for job in (*others, *trained) if not job.finished()], progress)
        ready = [of for job, of in zip(trained, evaluated, strict=False) if job.finished()]
        runner.run([job for job in ready if not job.finished()], progress)
    finally:
        progress.close()
    return runner.failed


def write(settings: Settings, began: float) -> None:
    """Writes tables, page and record of the finished runs."""
    folder = settings.folder
    order = [cells.name_of(cell) for cell in cells.of_dataset(settings.dataset, settings.study)]
    paths = [path for name in order for path in sorted(folder.glob(f"{name}/seed*/results.json"))]
    found = scores.read(paths) if paths else None
    field = baselines.write(folder, found)
    if found is None:
        return
    paper = published.study(found.dataset.partition(":")[0])
    facts = {
        "command": shlex.join(["python", "experiments/paper_grid.py", *sys.argv[1:]]),
        "machine": f"{cpu()}, Python {platform.python_version()}",
        "last call": training_page.duration(time.monotonic() - began),
        "finished": f"{len(paths)} runs",
    }
    if settings.smoke:
        facts["smoke"] = "tiny runs: they show that everything works and measure nothing"
    results = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    made = study.write(folder, found, paper, list(filter(None, [abroad_table.table(results)])))
    page.write(folder, found, paper, made, paths, list(facts.items()), field)
    record = {**facts, "runs": results}
    write_atomically(folder / "grid.json", json.dumps(record, indent=1) + "\n")
    rows.write(folder, rows.renewed(rows.merged(rows.of_results(r, folder.name) for r in results)))
    log(f"page: {folder / page.FILE}, tables: {folder / 'tables.md'}")


def parse() -> argparse.Namespace:
    """The parsed command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--dataset", choices=cells.DATASETS, required=True)
    add("--study", choices=cells.STUDIES, default="paper", help="heads: released models' heads")
    add("--seeds", default="0", help="comma list of training seeds")
    add("--smoke", action="store_true", help="tiny runs: shows that it works, measures nothing")
    add("--runs", type=pathlib.Path, default=pathlib.Path("runs/grid"), help="folder of all grids")
    add("--weights", type=pathlib.Path, help="folder of pretrained weights")
    add("--images", type=pathlib.Path, help="folder of nordland/ and corridor/ images")
    add("--cells", default="*", help="patterns of cells, e.g. 'vgg16-*'; or none")
    add(
        "--baselines",
        nargs="?",
        const="all",
        help="comma list of patterns of baselines and models off the shelf; without a value all",
    )
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="config key of all runs")
    add(
        "--others",
        default="",
        help="comma list of prepared datasets that all runs are measured on too",
    )
    add("--jobs", type=int, help="runs at a time; by default one per GPU, else one")
    return parser.parse_args()


def main() -> int:
    """Runs the grid; returns 0 when every chosen run is finished, 130 after a signal, else 2."""
    args, began = parse(), time.monotonic()
    try:
        if not all(seed.isdigit() for seed in args.seeds.split(",")):
            raise ConfigError(f"--seeds={args.seeds} must be a comma list of whole numbers")
        if args.jobs is not None and args.jobs < 1:
            raise ConfigError(f"--jobs={args.jobs} must be 1 or more")
        seeds = tuple(dict.fromkeys(map(int, args.seeds.split(","))))
        settings = Settings(
            args.dataset,
            args.runs,
            seeds,
            args.smoke,
            args.weights,
            args.images,
            tuple(map(cells.change, args.set)),
            tuple(filter(None, args.others.split(","))),
            args.study,
        )
        devices = visible_gpus()
        others = [] if args.baselines is None else baselines.jobs(settings, args.baselines)
        slots = args.jobs or max(1, len(devices))
        failed = run(settings, args.cells, others, slots, devices)
        if args.dataset == "corridor":
            write(
                dataclasses.replace(settings, dataset="nordland"), began
            )  # the models that it evaluates
        write(settings, began)
        if failed:
            names = ", ".join(f"{job.name} seed {job.seed}" for job in failed)
            raise ConfigError(f"{len(failed)} runs failed: {names}")
        return 0
    except Stopped as stopped:
        print(f"paper_grid: {stopped}; the same command continues from here", file=sys.stderr)
        return 130
    except (VprjaxError, OSError) as error:
        print(f"paper_grid: error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
