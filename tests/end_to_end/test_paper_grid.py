"""The grid's command on one smoke cell: killed in the middle, run again, run once more."""

import json

import pytest
from commands import start_grid


def test_killed_and_run_again_it_goes_on(finished_cell):
    said, workdir = finished_cell.said, finished_cell.workdir
    assert "0 of 1 runs are finished" in said and "1 of 1 finished" in said
    assert "resume from" in (workdir / "log.txt").read_text()
    for name in ("tables.md", "tables.tex", "tables.csv", "report.html", "grid.json"):
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
