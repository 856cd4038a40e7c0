"""The grid's command on one smoke cell: killed in the middle, run again, run once more, in a notebook."""

import json
import signal
import time
from types import SimpleNamespace

import pytest
from analysis import baselines

from tests.helpers import commands, grid_command
from tests.helpers.commands import start_grid
from tests.helpers.notebooks import execute


@pytest.fixture(scope="module")
def finished_cell(tmp_path_factory):
    """`runs`, the cell's `workdir`, and what the second call `said`; the first was killed at step 2."""
    runs = tmp_path_factory.mktemp("grid")
    workdir = runs / "synthetic-smoke" / commands.CELL / "seed0"
    killed = start_grid(runs)
    while killed.poll() is None and not (workdir / "checkpoints/2").is_dir():
        time.sleep(0.05)
    killed.kill()
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL and not (workdir / "results.json").exists()
    again = start_grid(runs)
    said = again.communicate()[1]
    assert again.returncode == 0, said
    return SimpleNamespace(runs=runs, workdir=workdir, said=said)


def test_killed_and_run_again_it_goes_on(finished_cell):
    said, workdir = finished_cell.said, finished_cell.workdir
    assert "0 of 1 runs are finished" in said and "1 of 1 finished" in said
    assert "resume from" in (workdir / "log.txt").read_text()
    written = ("tables.md", "tables.tex", "tables.csv", "report.html", "grid.json")
    for name in (*written, "runs.csv", "configs.jsonl"):
        assert (workdir.parents[1] / name).stat().st_size > 100
    assert (workdir / "report.html").exists()
    record = json.loads((workdir.parents[1] / "grid.json").read_text())
    assert len(record["runs"]) == 1 and record["runs"][0]["provenance"]["steps"] == 4


def test_finished_cells_are_not_redone(finished_cell):
    results = finished_cell.workdir / "results.json"
    before = results.stat().st_mtime_ns
    more = start_grid(finished_cell.runs)
    said = more.communicate()[1]
    assert more.returncode == 0 and "1 of 1 runs are finished" in said
    assert results.stat().st_mtime_ns == before and " starts" not in said


def test_baselines_stand_above_the_cells(finished_cell, monkeypatch):
    flags = ("--dataset=synthetic", "--smoke", f"--runs={finished_cell.runs}")
    assert grid_command.run(monkeypatch, *flags, "--cells=none", "--baselines=pixels,hog") == 0
    folder = finished_cell.runs / "synthetic-smoke"
    rows = baselines.read(folder)
    assert [(row.name, row.split) for row in rows] == [
        (name, split) for name in ("pixels", "hog") for split in ("test01", "test02")
    ]
    for row in rows:
        ladder = list(row.ladder.values())
        assert ladder == sorted(ladder, reverse=True) and 0 < ladder[0] <= 100
        assert row.dataset.startswith("synthetic/tiny:") and int(row.bytes_per_image) > 0
    found = json.loads((folder / "baselines/hog/seed0/results.json").read_text())
    assert found["provenance"]["config"]["baseline"]["name"] == "hog"
    lines = (folder / "baselines.md").read_text().splitlines()
    methods = [line.split(" | ")[0] for line in lines if line.startswith("| ")]
    assert methods[2] == "| patch-normalised pixels" and methods[4] == "| HOG"
    assert methods[6] == "| ResNet50 + GeM, off the shelf"
    page = (folder / "report.html").read_text()
    assert "Dalal &amp; Triggs 2005" in page
    assert page.index("<b>HOG.</b>") < page.index('<td class="word">HOG</td>')


@pytest.mark.parametrize(
    ("flag", "sentence"),
    [
        ("--seeds=a", "--seeds=a must be a comma list of whole numbers"),
        ("--cells=resnet51-*", "'resnet51-*' matches none of vgg16-gem-triplet"),
    ],
)
def test_mistakes_end_in_one_sentence(flag, sentence, tmp_path):
    grid = start_grid(tmp_path, flag)
    said = grid.communicate()[1].strip()
    assert grid.returncode == 2 and said.startswith("paper_grid: error:"), said
    assert sentence in said and "\n" not in said
    assert not list(tmp_path.iterdir())


def test_paper_tables(finished_cell, monkeypatch):
    said = execute(
        "paper_tables",
        monkeypatch,
        RUNS=str(finished_cell.runs),
        FLAGS="--smoke --cells=resnet50-gem-contrastive",
    )
    assert "93.18*" in said and "1 of 1 runs are finished" in said
    assert "FCM (%) on synthetic/tiny" in said and "iframe srcdoc" in said
