"""Seconds until a command answers: `--help`, and the first step of a first and a second start.

    python experiments/benchmark.py --rounds=3 --json=FILE startup

The second start has the same config and a workdir with nothing but the first one's compiled programs.
"""

import argparse
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

ROOT = pathlib.Path(__file__).resolve().parents[2]
MAIN = [sys.executable, "-m", "vprjax.main"]
LIMIT = 3.0  # seconds that --help may take


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of this sub-command."""
    parser.add_argument("--cell", default="resnet50,gem,triplet", help="of configs/synthetic.py")


def help_seconds() -> float:
    """Seconds of `--help`, as the shell sees it."""
    start = time.perf_counter()
    subprocess.run([*MAIN, "--help"], cwd=ROOT, stdout=subprocess.DEVNULL, check=False)
    return time.perf_counter() - start


def first_step_seconds(cell: str, workdir: pathlib.Path, data: pathlib.Path) -> float:
    """Seconds from the command to the first row of `metrics.jsonl`; then kills the run."""
    flags = [f"--config=configs/synthetic.py:{cell}", f"--workdir={workdir}"]
    flags += ["--config.dataset.name=synthetic/tiny", f"--config.dataset.data_dir={data}"]
    flags += ["--config.tuples.positive_radius=10.0", "--config.tuples.negative_radius=25.0"]
    flags += ["--config.tuples.other_visit_seconds=0.0", "--config.train.log_every=1"]
    metrics = workdir / "metrics.jsonl"
    start = time.perf_counter()
    with subprocess.Popen([*MAIN, *flags], cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        while not (metrics.exists() and metrics.read_text()):
            if process.poll() is not None:
                raise SystemExit(f"the run ended before a step: {process.stderr.read()[-500:]}")
            time.sleep(0.02)
        seconds = time.perf_counter() - start
        process.kill()
    return seconds


def measure(args, interleaved: Callable, row: Callable) -> list[dict]:
    """The table's rows."""
    del interleaved  # a second start needs its first
    first, second = [], []
    helped = [help_seconds() for _ in range(args.rounds)]
    with tempfile.TemporaryDirectory() as folder:
        data = pathlib.Path(folder) / "data"
        build = ["-m", "tfds_builders", "build", "synthetic", "--config=tiny", f"--data_dir={data}"]
        subprocess.run([sys.executable, *build], cwd=ROOT, check=True, capture_output=True)
        for number in range(args.rounds):
            workdir = pathlib.Path(folder) / f"run{number}"
            first.append(first_step_seconds(args.cell, workdir, data))
            for path in workdir.iterdir():
                if path.name != "compiled":
                    shutil.rmtree(path) if path.is_dir() else os.remove(path)
            second.append(first_step_seconds(args.cell, workdir, data))
    rows = [row("help", f"{LIMIT} s", helped, [LIMIT], 0.0)]
    rows.append(row(f"second start, {args.cell}", "first start", second, first, 0.0))
    return rows
