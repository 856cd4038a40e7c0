"""The grid's command on one smoke cell: killed in the middle, run again, run once more."""

import json
import os
import signal
import subprocess
import sys
import time

import commands

CELL = "resnet50-gem-contrastive"


def start(runs, *flags):
    return subprocess.Popen(
        [
            *(sys.executable, "experiments/paper_grid.py", "--dataset=synthetic", "--smoke"),
            *(f"--runs={runs}", f"--cells={CELL}", *flags),
        ],
        cwd=commands.ROOT,
        env={**os.environ, **commands.ENVIRONMENT, "PYTHONPATH": str(commands.ROOT)},
        stderr=subprocess.PIPE,
        text=True,
    )


def test_killed_and_run_again_it_finishes_without_redoing(tmp_path):
    workdir = tmp_path / "synthetic-smoke" / CELL / "seed0"
    killed = start(tmp_path)
    while killed.poll() is None and not (workdir / "checkpoints/2/commit_success.txt").exists():
        time.sleep(0.05)
    killed.kill()
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL and not (workdir / "results.json").exists()

    again = start(tmp_path)
    said = again.communicate()[1]
    assert again.returncode == 0, said
    assert "0 of 1 runs are finished" in said and "1 of 1 finished" in said
    assert "resume from" in (workdir / "log.txt").read_text()
    for name in ("tables.md", "tables.tex", "tables.csv", "report.html", "grid.json"):
        assert (workdir.parents[1] / name).stat().st_size > 100
    assert (workdir / "report.html").exists()
    record = json.loads((workdir.parents[1] / "grid.json").read_text())
    assert len(record["runs"]) == 1 and record["runs"][0]["provenance"]["steps"] == 4

    before = (workdir / "results.json").stat().st_mtime_ns
    more = start(tmp_path)
    said = more.communicate()[1]
    assert more.returncode == 0 and "1 of 1 runs are finished" in said
    assert (workdir / "results.json").stat().st_mtime_ns == before


def test_mistakes_end_in_one_sentence(tmp_path):
    for flags, sentence in (
        (["--seeds=a"], "--seeds=a must be a comma list of whole numbers"),
        (["--cells=resnet51-*"], "'resnet51-*' matches none of vgg16-gem-triplet"),
    ):
        grid = start(tmp_path, *flags)
        said = grid.communicate()[1].strip()
        assert grid.returncode == 2 and said.startswith("paper_grid: error:"), said
        assert sentence in said and "\n" not in said
    assert not (tmp_path / "synthetic-smoke").exists()
