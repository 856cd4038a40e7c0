"""The curve over the share of the fine-tuned parameters: table, rows, and what the command refuses."""

import dataclasses
import sys
import types

import blend as command
import numpy as np
import pytest
from analysis import forgetting

from configs import base
from tests.helpers.memory_places import drive
from tests.unit.evaluation.test_blend import moved, run
from vprjax.evaluation import elsewhere
from vprjax.storage.checkpoint import open_for_reading


def side(name, split):
    """A dataset of 20 images, whose queries are its references."""
    config = base.get_config()
    config.dataset.update(name=name, tolerances=(25.0, 5.0), query_splits=(split,))
    config.eval.recalls = (1,)
    places = drive(n=20, laps=1)
    places = dataclasses.replace(
        places, image_ids=np.array([f"{name}/{i}" for i in range(20)], object)
    )
    counts = {"train": 20, "reference": 20, split: 20}
    dataset = types.SimpleNamespace(
        name=name, version="1.0.0", counts=counts, metadata={}, places=lambda _: places
    )
    return elsewhere.Elsewhere(config, dataset)


class Sees:
    """A model that tells images apart at home by w - 1, which is 0 off the shelf, and abroad by 3 - w."""

    def __init__(self, *_):
        self.apply_fn = None

    def __call__(self, variables, places, indices, words):
        w = float(variables["params"]["w"][0])
        scale = w - 1 if places.image_ids[0].startswith("places_csv/home") else 3 - w
        angle = scale * np.asarray(indices) / 40
        return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)


@pytest.fixture
def main(tmp_path, monkeypatch):
    """Runs the command on a run whose w goes from 1 to 3."""
    home, abroad = side("places_csv/home", "test01"), side("places_csv/abroad", "val")
    folder = run(tmp_path / "run", moved([3.0, 2.0]))
    reader = open_for_reading(folder)
    saved = home.config.to_dict()
    for step in (0, 5):
        reader.amend(step, {"config": saved})
    reader.close()
    monkeypatch.setattr(command.source, "open_dataset", lambda _: home.dataset)
    monkeypatch.setattr(command.checks, "check_splits", lambda *_, **__: None)
    monkeypatch.setattr(command.elsewhere, "find", lambda *_: (abroad,))
    monkeypatch.setattr(command, "Extractor", Sees)
    monkeypatch.setattr(command.parallel, "replicate", lambda x: x)

    def main(*words):
        monkeypatch.setattr(sys, "argv", ["blend.py", *map(str, (folder, *words))])
        return command.main()

    return main


def test_the_curve_goes_from_the_untrained_model_to_the_fine_tuned_one(main, tmp_path, capsys):
    table, rows = tmp_path / "curve.md", tmp_path / "curve.csv"
    flags = ("--shares=0,0.5,1", f"--out={table}", f"--csv={rows}", "--home=5", "--abroad=5")
    assert main(*flags, "--setting=plain") == 0
    lines = [line.split(" | ") for line in table.read_text().splitlines() if line.startswith("| 0")
             or line.startswith("| 1")]  # fmt: skip
    figures = [(line[0].strip("| "), line[1], line[3]) for line in lines]
    assert figures == [
        ("0", "15.0 / 5.0", "100.0 / 100.0"),
        ("0.5", "100.0 / 100.0", "100.0 / 100.0"),
        ("1", "100.0 / 100.0", "15.0 / 5.0"),
    ]
    assert lines[0][2] == "" and lines[2][4].startswith("-95.0 [-")
    found = forgetting.read(rows)
    assert [row.setting for row in found] == ["off the shelf", "plain, a=0.5", "plain, a=1"]
    assert [row.home_fcm for row in found] == ["5.0", "100.0", "100.0"]
    assert [row.abroad_fcm for row in found] == ["100.0", "100.0", "5.0"]
    assert found[2].abroad == "places_csv/abroad:1.0.0 val 5 m" and found[2].change == "-95.0"


def test_queries_without_any_position_have_no_column():
    one = types.SimpleNamespace(after=50.0, difference=5.0, interval=(1.0, 9.0))
    told = {"home": ("test01", {"25": one, "5": one}), "abroad": ("val", {})}
    sides = [
        types.SimpleNamespace(
            config=side(name, split).config, changes=lambda s=split, c=changes: {s: c}
        )
        for name, (split, changes) in told.items()
    ]
    made = command.table([command.Measured(1.0, sides)])
    head = ["a", "home, test01, at 25 / 5 m", "change at the narrowest"]
    assert made.head == head and made.rows == [["1", "50.0 / 50.0", "+5.0 [+1.0, +9.0]"]]


def test_several_runs_enter_by_their_weights(main, tmp_path, capsys):
    other = run(tmp_path / "other", moved([1.0, 2.0]))
    assert main(other, "--weights=0,1", "--shares=1") == 0  # the other alone is the untrained one
    assert "| 1 | 15.0 / 5.0 | +0.0" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--shares=2"], "give numbers from 0 to 1"),
        (["--csv=rows.csv"], "--csv needs --home and --abroad"),
        ([f"--out={__file__}"], "test_blend.py is a file that this command did not write"),
        (
            [f"--csv={__file__}", "--home=5", "--abroad=5"],
            "test_blend.py is a file that this command did not write",
        ),
        (["--weights=1,2"], "must hold 1 numbers"),
        (["--set", "eval.batch=many"], "--set: "),
        (["--set", "eval.nothing=1"], "key eval.nothing is unknown"),
    ],
)
def test_flags_that_are_wrong_are_told(main, capsys, words, says):
    assert main(*words) == 2
    assert says in capsys.readouterr().err
