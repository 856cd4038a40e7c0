"""Turns of the contestants of a benchmark."""

import json
import pathlib
import sys
import types

import benchmark
import pytest


@pytest.mark.parametrize("settle", [False, True])
def test_interleaved(monkeypatch, settle):
    """A round gives everyone a turn; with `settle` an untimed run comes ahead of the timed one."""
    events, costs = [], iter([5.0, 1.0, 7.0, 2.0] if settle else [1.0, 2.0])
    now = [0.0]

    def contestant(name):
        def run():
            events.append(name)
            now[0] += next(costs)

        return run

    monkeypatch.setattr(benchmark.time, "perf_counter", lambda: now[0])
    contestants = {name: contestant(name) for name in ("ours", "theirs")}
    found = benchmark.interleaved(contestants, 1, settle)
    assert found == {"ours": [1.0], "theirs": [2.0]}
    assert events == [name for name in contestants for _ in range(1 + settle)]


def test_a_name_that_no_row_has_leaves_the_record_alone(monkeypatch, tmp_path, capsys):
    record = tmp_path / "record.json"
    record.write_text("{}")
    words = ["benchmark.py", f"--json={record}", "retrieval", "--only=nosie"]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit, match="2"):
        benchmark.main()
    assert record.read_text() == "{}" and "nothing was measured" in capsys.readouterr().err


def test_what_was_measured_outlives_a_run_that_is_cut(monkeypatch, tmp_path):
    def measure(*_):
        yield {"name": "first"}
        raise KeyboardInterrupt

    record = tmp_path / "made/record.json"
    stand_in = types.SimpleNamespace(
        measure=measure, add_arguments=lambda parser: None, __doc__="A benchmark."
    )
    monkeypatch.setitem(benchmark.COMMANDS, "input", stand_in)
    monkeypatch.setattr(sys, "argv", ["benchmark.py", f"--json={record}", "input"])
    with pytest.raises(KeyboardInterrupt):
        benchmark.main()
    assert json.loads(record.read_text())["rows"] == [{"name": "first"}]


@pytest.mark.parametrize("command", benchmark.COMMANDS)
def test_shared_flags_stand_before_or_after_the_sub_command(command):
    asked = {
        "build": ["--work=w"],
        "listings": ["--work=w"],
        "search_scale": ["--work=w"],
        "profile": ["--out=o"],
    }.get(command, [])
    parser, shared = benchmark.command_line(), ["--json=f.json", "--rounds=2"]
    before = parser.parse_args([*shared, command, *asked])
    assert before == parser.parse_args([command, *shared, *asked])
    assert before == parser.parse_args([shared[0], command, *asked, shared[1]])
    assert before.json == pathlib.Path("f.json") and before.rounds == 2
    assert parser.parse_args([command, *asked]).rounds == 5
