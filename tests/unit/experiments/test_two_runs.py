"""Two runs query by query: pairs by id, per tolerance, with intervals and the queries that changed."""

import csv
import json
import sys

import compare
import numpy as np
import pytest
from analysis.scores import Mean
from analysis.text_table import difference

from vprjax.evaluation import bootstrap
from vprjax.storage import checksum

ERRORS = np.concatenate([np.full(30, 1.0), np.full(20, 7.0), np.full(14, np.inf)])


def run(folder, errors, models=("off_the_shelf", "fine_tuned"), order=slice(None), **changes):
    """Writes a workdir whose queries have `errors`; its csv lists them in `order`."""
    tolerances, ids = [25.0, 5.0], [f"test01/{i}" for i in range(len(errors))]
    (folder / "matches").mkdir(parents=True)
    for model in models:
        with (folder / "matches" / f"{model}_test01.csv").open("w", newline="") as f:
            writer = csv.writer(f)
            writer.writerow(["query", "match", "error"])
            writer.writerows(
                [(i, f"reference/{e:g}", e) for i, e in list(zip(ids, errors, strict=True))[order]]
            )
    shares = {f"{t:g}": round(100 * float(np.mean(errors <= t)), 4) for t in tolerances}
    settings = {"dataset": {"position_unit": "m"}, "eval": {"heading_degrees": 0.0}}
    document = {
        "dataset": "places_csv/mine:1.0.0",
        "tolerances_m": tolerances,
        "results": {model: {"test01": {"fcm": shares}} for model in models},
        "provenance": {"config": settings},
    } | changes
    (folder / "results.json").write_text(json.dumps(checksum.seal(document)))
    return folder


def main(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["compare.py", *map(str, arguments)])
    return compare.main()


def test_queries_are_paired_by_their_ids_whatever_the_order(tmp_path):
    other = ERRORS.copy()
    other[10:14], other[40] = 100.0, 2.0
    first, second = (
        run(tmp_path / "a", other),
        run(tmp_path / "b", ERRORS, order=slice(None, None, -1)),
    )
    figures, changed = compare.tables([first, second / "results.json"])
    assert len(figures.rows) == 4
    wide, narrow = figures.rows[2:]
    assert wide[:4] == ["test01", "fine_tuned", "25 m", "64"]
    assert wide[4:6] == ["71.88", "78.12"] and wide[8:] == ["0", "4"]
    gap, bounds, p = bootstrap.paired_shares(ERRORS <= 5, other <= 5)
    assert p >= 0.375 and "fewer than 30 queries changed" in figures.notes[0]
    assert narrow[6] == difference(Mean(100 * gap, tuple(100 * bounds), 64))
    assert narrow[7] == f"{p:.3f}" and narrow[8:] == ["1", "4"] and narrow[6].startswith("−4.69")
    mine = [row[2:] for row in changed.rows if row[1] == "fine_tuned"]
    assert mine[0] == ["test01/10", "reference/100", "100.00", "reference/1", "1.00"]
    assert sorted(int(row[0].split("/")[1]) for row in mine) == [10, 11, 12, 13, 40]
    assert "5 queries" not in changed.title and "10 queries changed" in changed.title


def test_the_command_prints_some_and_writes_all(tmp_path, monkeypatch, capsys):
    first, second = run(tmp_path / "a", ERRORS), run(tmp_path / "b", ERRORS + 30)
    assert main(monkeypatch, first, second, f"--out={tmp_path / 'all.md'}") == 0
    shown, whole = capsys.readouterr().out, (tmp_path / "all.md").read_text()
    assert "The first 20 of 100; --out gets all." in shown
    assert shown.count("reference/31 ") == 20 and whole.count("reference/31 ") == 60
    for out, text, status in (("all.md", whole, 0), ("mine.md", "## My notes\n", 2)):
        (tmp_path / out).write_text(text)
        assert main(monkeypatch, first, second, f"--out={tmp_path / out}") == status
        assert (tmp_path / out).read_text() == text
    assert main(monkeypatch, first, second, f"--out={tmp_path / 'gone/all.md'}") == 2


def test_other_models_are_set_side_by_side(tmp_path):
    first = run(tmp_path / "a", ERRORS, models=("off_the_shelf",))
    figures, _ = compare.tables([first, run(tmp_path / "b", ERRORS, models=("fine_tuned",))])
    assert {row[1] for row in figures.rows} == {"off_the_shelf / fine_tuned"}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"dataset": "places_csv/other:1.0.0"}, "is of places_csv/mine:1.0.0"),
        (
            {"provenance": {"config": {"dataset": {}, "eval": {"heading_degrees": 30.0}}}},
            "eval.heading_degrees=0,",
        ),
        ({"tolerances_m": [3.0]}, "no query split and tolerance in common"),
    ],
)
def test_runs_that_do_not_pair_are_told(tmp_path, monkeypatch, capsys, change, says):
    first, second = run(tmp_path / "a", ERRORS), run(tmp_path / "b", ERRORS, **change)
    assert main(monkeypatch, first, second) == 2
    assert says in capsys.readouterr().err


def test_missing_matches_other_matches_and_other_queries_are_told(tmp_path, monkeypatch, capsys):
    first, second = run(tmp_path / "a", ERRORS), run(tmp_path / "b", ERRORS[:-1])
    assert main(monkeypatch, first, second) == 2
    assert "have other queries in test01" in capsys.readouterr().err
    (second / "matches/fine_tuned_test01.csv").write_text("query,match,error\nx,y,1.0\n")
    (second / "matches/off_the_shelf_test01.csv").unlink()
    assert main(monkeypatch, first, second) == 2
    assert "off_the_shelf_test01.csv is not a run's matches" in capsys.readouterr().err
    (second / "matches/off_the_shelf_test01.csv").write_text("query,match,error\nx,y,1.0\n")
    assert main(monkeypatch, first, second) == 2
    assert "they are of two evaluations" in capsys.readouterr().err
    assert main(monkeypatch, first, tmp_path) == 2
    assert "name a finished workdir" in capsys.readouterr().err


def test_queries_without_a_position_are_no_pairs(tmp_path):
    runs = [run(tmp_path / name, ERRORS) for name in "ab"]
    for folder in runs:
        path = folder / "matches/fine_tuned_test01.csv"
        path.write_text(path.read_text() + "test01/unknown,reference/1,\n")
    figures, changed = compare.tables(runs)
    assert figures.rows[2][3] == "64" and not changed.rows


def test_runs_of_two_protocols_are_told_apart(tmp_path):
    settings = {"dataset": {"position_unit": "m"}, "eval": {"heading_degrees": 0.0}}
    named = [{"config": settings, "protocol": {"name": name}} for name in ("msls_25m", "msls_10m")]
    pair = [run(tmp_path / x["protocol"]["name"], ERRORS, provenance=x) for x in named]
    figures, _ = compare.tables(pair)
    assert figures.notes[0] == (
        "**The protocols differ**, so the figures do not compare: msls_25m counts by msls_25m, msls_10m "
        "by msls_10m."
    )
    again = run(tmp_path / "again", ERRORS, provenance=named[0])
    assert len(compare.tables([pair[0], again])[0].notes) == 1
