"""Runs at home and abroad: rows, the table, the front and its picture."""

import sys

import forgetting as command
import pytest
import records
from analysis import fill, forgetting, pareto, record_tables
from analysis.forgetting import Row

from tests.helpers import made_up_runs
from vprjax.errors import DataError
from vprjax.storage import checksum

CELL = ("resnet50", "gem", "triplet")


def document(seed=0, home=40.0, abroad=20.0):
    """A run whose `home` and `abroad` are FCM at 25 m and at 2 frames."""
    found = made_up_runs.document(CELL, seed, home)
    figures = {
        model: {"val": {"fcm": {"2": value}, "interval": {"2": [value - 5, value + 5]}}}
        for model, value in (("off_the_shelf", 60.0), ("fine_tuned", abroad))
    }
    change = {"val": {"2": {"difference": abroad - 60.0, "interval": [abroad - 70, abroad - 50]}}}
    other = {"position_unit": "frames", "results": figures, "change": change}
    return found | {"others": {"places_csv/corridor:1.0.0": other}}


def rows(setting="plain", seed=0, **values):
    return forgetting.of_results(document(seed, **values), setting, (25.0, 2.0), 61.4)


def test_a_run_gives_a_row_per_model_and_pair_of_query_splits():
    found = rows()
    assert len(found) == 4 and {row.setting for row in found} == {"off the shelf", "plain"}
    row = found[2]
    assert row[:8] == ("plain", "resnet50-gem", "triplet", "0", "synthetic/tiny:1.1.0 test01 25 m",
                       "40.0", "39.0", "41.0")  # fmt: skip
    assert row[8:16] == ("places_csv/corridor:1.0.0 val 2 frames", "20.0", "15.0", "25.0", "-40.0",
                         "-50.0", "-30.0", "61")  # fmt: skip
    assert found[0].change == found[0].seconds == found[0].loss == ""
    with pytest.raises(DataError, match="val has no tolerance 3; it has 2"):
        forgetting.of_results(document(), "plain", (25.0, 3.0))
    nowhere = document()
    by_split = nowhere["others"]["places_csv/corridor:1.0.0"]["results"]["off_the_shelf"]
    by_split["val"] = {"fcm": {"2": None}, "interval": {"2": [None, None]}}
    with pytest.raises(
        DataError, match=r"corridor:1\.0\.0, val has no FCM, as no query has a posi"
    ):
        forgetting.of_results(nowhere, "plain", (25.0, 2.0))
    with pytest.raises(DataError, match="no other dataset"):
        forgetting.of_results(made_up_runs.document(CELL, 0, 1.0), "plain", (25.0, 2.0))


def test_a_projection_makes_another_model_before_training_too():
    projected = document()
    model = projected["provenance"]["trained_with"]["model"]
    projected["provenance"]["trained_with"]["model"] = {**model, "projection": 512}
    found = forgetting.of_results(projected, "plain", (25.0, 2.0))
    assert [row.setting for row in found[:2]] == ["off the shelf, projected"] * 2


def test_rows_survive_the_file_and_a_run_replaces_its_own(tmp_path):
    both = forgetting.merged(rows(), rows(abroad=30.0))
    assert len(both) == 4 and both[2].abroad_fcm == "30.0"
    (tmp_path / "f.csv").write_text(forgetting.text(both))
    assert forgetting.read(tmp_path / "f.csv") == both
    (tmp_path / "f.csv").write_text("setting,other\na,b\n")
    with pytest.raises(DataError, match="no runs at home and abroad"):
        forgetting.read(tmp_path / "f.csv")


def test_the_table_has_means_over_seeds_and_marks_the_front():
    every = [row for seed in range(3) for row in rows(seed=seed, home=40.0 + seed)]
    every += rows("better", home=45.0, abroad=50.0) + rows("worse", home=44.0, abroad=50.0)
    found = forgetting.table([row for row in every if " test01 " in row.home])
    by_setting = {row[0]: row[1:] for row in found.rows}
    assert set(by_setting) == {"off the shelf *", "plain", "better *", "worse"}
    plain = by_setting["plain"]
    assert plain[:5] == [
        "ResNet50 + GeM",
        "triplet",
        "tiny test01, 25 m",
        "corridor val, 2 frames",
        "3",
    ]
    assert plain[5:] == ["41.0 [38.5, 43.5]", "20.0 [15.0, 25.0]", "-40.0 [-50.0, -30.0]", "61"]


def line(setting, cell="a-b"):
    return forgetting.Line(setting, cell, "triplet", "home", "abroad")


def test_the_front_is_of_one_model_and_keeps_equals():
    points = {line("a"): (1.0, 9.0), line("b"): (5.0, 5.0), line("c"): (5.0, 4.0),
              line("d"): (0.0, 9.0), line("e"): (5.0, 5.0), line("f", "c-d"): (0.0, 0.0)}  # fmt: skip
    assert [x.setting for x in pareto.front(points)] == ["a", "b", "e", "f"]


def test_the_picture_is_the_same_each_time_and_names_every_setting(tmp_path):
    own = forgetting.lines(rows() + rows("<rate> 5e-5", home=9.0))
    points = {key: forgetting.point(found) for key, found in own.items()}
    texts = []
    for name in ("a.svg", "b.svg"):
        pareto.picture(tmp_path / name, points)
        texts.append((tmp_path / name).read_text())
    assert texts[0] == texts[1] and "off the shelf" in texts[0] and "rate" in texts[0]


def test_the_recipe_that_ships_comes_from_the_record():
    every = record_tables.home_and_abroad(fill.read(records.FOLDER))
    found = [row for row in every if row.home.startswith("places_csv/nordland:")]
    for setting in ("as shipped, keeping images", "nothing kept"):
        cell = setting, "mobilenetv2-gem", "triplet"
        mine = [r for r in found if (r.setting, r.cell, r.loss) == cell]
        assert sorted(row.seed for row in mine) == ["0", "1", "2"]
    (untrained,) = {(r.home_fcm, r.abroad_fcm) for r in found if r.setting == "off the shelf"
                    and r.cell == "mobilenetv2-gem"}  # fmt: skip
    assert [round(float(x), 1) for x in untrained] == [3.4, 75.7]
    assert not any("whitened" in row.setting for row in found)


def test_the_command_adds_an_evaluated_workdir(tmp_path, monkeypatch, capsys):
    (tmp_path / "results.json").write_text(checksum.line(document()))
    (tmp_path / "timing.jsonl").write_text(
        '{"step": 1, "seconds": 2.5}\n{"step": 2, "seconds": 3.0}\n'
    )
    folder = tmp_path / "records"
    folder.mkdir()
    for name in ("runs.csv", "configs.jsonl", "speed.csv"):
        (folder / name).write_text((records.FOLDER / name).read_text())
    monkeypatch.setattr(records, "FOLDER", folder)
    (folder / forgetting.FILE).write_text(forgetting.text([]))
    monkeypatch.setattr(records, "regenerate", lambda _: [])

    def main(*words):
        monkeypatch.setattr(sys, "argv", ["forgetting.py", *map(str, words)])
        return command.main()

    assert main("--add", tmp_path) == 2 and "name it with --setting" in capsys.readouterr().err
    assert main("--add", tmp_path, "--setting=rate 5e-5", "--home=25", "--abroad=2") == 0
    saved = forgetting.read(folder / forgetting.FILE)
    assert {row.setting for row in saved} == {"off the shelf", "rate 5e-5"}
    assert saved[2].seconds == "6" and isinstance(saved[2], Row)
    assert (folder / pareto.PICTURE).read_text().count("as shipped") > 3
