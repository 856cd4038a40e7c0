"""The record of what a model is used for, and the measurements that fill it."""

import json
import types

import localize
import numpy as np
import pytest
from analysis import localize_record
from benchmarks import confidence, neighbours, thresholds

from tests.helpers import made_up_model
from vprjax.errors import DataError

TABLES = {"a": ("First", {"x": lambda f: f["x"]}), "b": ("Second", {"y": lambda f: f["y"]})}
MACHINE = {"machine": "a machine", "code": "1", "command": "python it.py"}


def test_a_row_is_replaced_and_the_page_has_every_section(tmp_path):
    for section, name, facts in (
        ("b", "row", {"y": 1}),
        ("a", "one", {"x": 2}),
        ("a", "two", {"x": 3}),
        ("a", "one", {"x": 4}),
    ):
        localize_record.keep(tmp_path, TABLES, section, {name: facts | MACHINE})
    page = (tmp_path / localize_record.PAGE).read_text()
    assert "## First\n\n| | x |\n| --- | ---: |\n| one | 4 |\n| two | 3 |\n" in page
    assert page.index("## First") < page.index("## Second") and "| row | 1 |" in page
    assert "- one and 1 more: a machine, code 1, `python it.py`" in page
    (tmp_path / localize_record.FILE).write_text("{")
    with pytest.raises(DataError, match=r"localize\.jsonl is damaged"):
        localize_record.keep(tmp_path, TABLES, "a", {"one": MACHINE})


def test_the_record_names_no_folder_of_this_machine():
    words = [
        "experiments/localize.py",
        "map",
        "--records=/a/b",
        "--run=/data/runs/mine",
        "--k=a/b:c",
    ]
    assert localize.shown(words) == "python experiments/localize.py map --run=mine --k=a/b:c"


@pytest.fixture
def model(monkeypatch):
    found = made_up_model.model()
    for module in (confidence, neighbours, thresholds):
        monkeypatch.setattr(module.vprjax, "load", lambda _: found)
    return found


def test_a_calibration_is_measured_on_other_queries(tmp_path, model):
    """Every second query is of a place that the map lacks, and so are all pictures of elsewhere."""
    drive = made_up_model.drive
    args = types.SimpleNamespace(
        run="run",
        reference=drive(tmp_path / "map", range(40)),
        queries=str(drive(tmp_path / "queries", [*range(20), *range(100, 120)])),
        test=str(drive(tmp_path / "test", [*range(30), *range(200, 210)])),
        elsewhere=[str(drive(tmp_path / "far", range(300, 330)))],
        precision=99.0,
        radius=25.0,
        plain=False,
        data_dir=None,
    )
    for plain, rule in ((False, "ratio"), (True, "distance")):
        args.plain = plain
        name, facts = confidence.measure(args)
        assert rule in name and facts["rule"] == rule
        assert facts["queries"] == 40 and 0.75 <= facts["right"] < 0.8  # one by chance
        assert (facts["precision"], facts["answered"]) == (1.0, 0.75)
        (far,) = facts["elsewhere"].values()
        assert far["refused"] == 1.0 and far["pictures"] == 30 and far["interval"][0] > 0.8
        cells = [str(cell(facts)) for cell in confidence.COLUMNS.values()]
        assert cells[3] == f"{100 * facts['right']:.1f}" and "100.0 [" in cells[6]
        assert cells[5] == "100.0, 50.0"
    args.queries = ""
    with pytest.raises(SystemExit, match="has no calibration: name --queries=SOURCE"):
        confidence.measure(args)


def test_rules_are_compared_on_the_same_answers(tmp_path, model):
    drive, folder = made_up_model.drive, tmp_path
    args = types.SimpleNamespace(
        run="run",
        known=[str(drive(folder / "a", range(20))), str(drive(folder / "b", range(20, 40)))],
        queries=str(drive(folder / "queries", [*range(20), *range(100, 120)])),
        reference=str(drive(folder / "map", range(40))),
        test=str(drive(folder / "test", [*range(30), *range(200, 210)])),
        elsewhere=[str(drive(folder / "far", range(300, 330)))],
        radius=25.0,
        data_dir=None,
    )
    rows = [facts for _, facts in thresholds.measure(args)]
    assert len(rows) == 4 * 4 * 2
    for facts in rows:
        cells = [str(cell(facts)) for cell in thresholds.COLUMNS.values()]
        few = facts["rule"] in ("one_more", "bound")  # 20 answers cannot show 99 %
        assert (facts["validation"] == 0) == few == (facts["threshold"] is None), facts
        assert [*facts["elsewhere"].values()] == [1.0]
        assert cells[5] == ("" if few else "100.0 [88.4, 100.0]")
    by_rule = {name: rule for name, (_, rule) in thresholds.RULES.items()}
    counts = thresholds.Counts(queries=200, located=100, wrong=1, lost=0.02)
    assert by_rule["plain"](counts) == 0.99 and by_rule["one_more"](counts) == 0.98
    assert by_rule["half"](counts) == pytest.approx(99 / 104)
    assert by_rule["bound"](counts._replace(located=299, wrong=0)) == pytest.approx(0.99, abs=1e-4)


def test_a_map_is_compared_with_the_results(tmp_path, model):
    file = made_up_model.drive(tmp_path / "drive", range(12))
    document = json.loads(file.read_text())
    document["splits"]["test02"] = document["splits"]["drive"][2:6]
    file.write_text(json.dumps(document))
    (tmp_path / "matches").mkdir()
    rows = [f"q{n},{n:03d}.png,{0.0 if n < 5 else 0.5}" for n in range(2, 6)]
    table = "\n".join(["query,match,distance", *rows[:3], rows[3].replace("005.png", "009.png")])
    (tmp_path / "matches/fine_tuned_test02.csv").write_text(table + "\n")
    figures = {"fine_tuned": {"test02": {"fcm": {"25": 75.0, "2": 75.0}}}}
    (tmp_path / "results.json").write_text(json.dumps({"results": figures}))
    args = types.SimpleNamespace(
        run=tmp_path, reference=f"{file}:drive", split="test02", data_dir=None
    )
    _, facts = neighbours.measure(args)
    assert (facts["queries"], facts["same"]) == (4, 3)
    assert facts["fcm"] == {"25": 100.0, "2": 100.0} and facts["wanted"]["25"] == 75.0
    assert facts["difference"] == pytest.approx(0.5, abs=1e-3)
    assert np.isfinite(facts["difference"])
