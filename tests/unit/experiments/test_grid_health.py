"""Which runs of a grid count as sound, and the table's rows."""

import sys

import grid_health
import pytest

from vprjax.errors import DataError
from vprjax.storage import checksum


def row(step, **changes):
    sound = {"loss": 1 / step, "variance": 0.5, "effective_rank": 6.0, "grad_norm": 1.0}
    return {"step": step, **sound, **changes}


def write(grid, cell, seed, rows, finished=True):
    folder = grid / cell / f"seed{seed}"
    folder.mkdir(parents=True)
    (folder / "metrics.jsonl").write_text("".join(checksum.line(r) + "\n" for r in rows))
    if finished:
        (folder / "results.json").write_text("{}")


@pytest.mark.parametrize(
    ("changes", "sound"),
    [
        ({}, True),
        ({"grad_norm": float("nan")}, False),
        ({"loss": float("inf")}, False),
        ({"effective_rank": 1.2}, False),
        ({"variance": 2e-5}, False),  # in one point, whose rounding errors have a rank of 5
        ({"loss": 0.2}, False),  # as at step 5: nothing moves
    ],
)
def test_sound(changes, sound):
    assert grid_health.sound([row(5), row(10, **changes)]) is sound


def test_a_collapse_that_ended_counts():
    assert not grid_health.sound([row(5), row(10, effective_rank=0.0), row(15)])


def test_a_row_a_cell_in_the_papers_order(tmp_path):
    write(tmp_path, "resnet50-gem-arcface", 0, [row(10), row(1000, effective_rank=3.0)])
    write(tmp_path, "vgg16-netvlad-contrastive", 0, [row(10), row(50)], finished=False)
    write(tmp_path, "vgg16-gem-triplet", 0, [row(10, loss=3.0), row(20, loss=1.0, variance=0.25)])
    write(tmp_path, "vgg16-gem-triplet", 1, [row(10, loss=1.0, effective_rank=2.0), row(15)])
    found = {tuple(r[:3]): r[3:] for r in grid_health.table(tmp_path).rows}
    assert list(found) == [
        ("triplet", "GeM", "VGG16"),
        ("contrastive", "NetVLAD", "VGG16"),
        ("ArcFace", "GeM", "ResNet50"),
    ]
    assert found["triplet", "GeM", "VGG16"] == ["2", "15", "2", "0.533", "0.250", "2.0", "yes"]
    assert found["contrastive", "NetVLAD", "VGG16"][-1] == "NO"
    assert found["ArcFace", "GeM", "ResNet50"] == [
        "1",
        "1,000",
        "0.1",
        "0.001",
        "0.500",
        "3.0",
        "yes",
    ]


def test_a_run_that_logged_nothing_is_not_sound(tmp_path):
    write(tmp_path, "vgg16-gem-triplet", 0, [row(10), row(20)])
    write(tmp_path, "vgg16-gem-arcface", 0, [], finished=False)
    write(tmp_path, "vgg16-gem-triplet", 1, [])
    found = grid_health.table(tmp_path).rows
    assert [(r[0], r[3], r[4], r[-1]) for r in found] == [
        ("triplet", "2", "0", "NO"),
        ("ArcFace", "1", "0", "NO"),
    ]


def test_the_command(tmp_path, monkeypatch, capsys):
    write(tmp_path, "vgg16-gem-triplet", 0, [row(10), row(20)])
    out = tmp_path / "health.md"
    monkeypatch.setattr(sys, "argv", ["grid_health", str(tmp_path), f"--out={out}"])
    assert grid_health.main() == 0
    assert out.read_text() == capsys.readouterr().out
    write(tmp_path, "vgg16-gem-arcface", 0, [row(10), row(20, loss=float("nan"))])
    assert grid_health.main() == 1  # its own file is replaced
    for text, words in (("# My notes\n", "did not write"), ("## My notes\n", "did not write")):
        out.write_text(text)
        assert grid_health.main() == 2 and words in capsys.readouterr().err
        assert out.read_text() == text


def test_a_folder_without_runs_is_refused(tmp_path):
    with pytest.raises(DataError, match="no run that logged a step"):
        grid_health.table(tmp_path)
