import json
import pathlib
import sys

import accelerator
import benchmark
import pytest


@pytest.mark.parametrize("dry", [False, True])
def test_the_commands_are_the_benchmarks_own(dry):
    wanted = accelerator.commands(pathlib.Path("/out"), dry, pathlib.Path("/real"))
    parser = benchmark.command_line()
    parsed = {name: parser.parse_args(words[2:]) for name, words in wanted.items()}
    assert {(a.command, getattr(a, "dtype", "")) for a in parsed.values()} == {
        ("train_step", "float32"),
        ("train_step", "bfloat16"),
        ("extract", "float32"),
        ("extract", "bfloat16"),
        ("retrieval", ""),
    }
    assert parsed["retrieval"].real == pathlib.Path("/real")
    for name, args in parsed.items():
        assert args.json == pathlib.Path(f"/out/{name}.json")
        if name != "retrieval":
            assert (args.size, args.no_compile) == ((64, True) if dry else (224, False))
    assert parsed["train_step-bfloat16"].only == "triplet"


def _python(code):
    return [sys.executable, "-c", code]


def test_a_command_that_runs_out_of_time_leaves_the_rest_its_share(tmp_path):
    slow = "import pathlib, time; pathlib.Path({!r}).write_text('{{}}'); time.sleep(60)"
    wanted = {
        "slow": _python(slow.format(str(tmp_path / "slow.json"))),
        "broken": _python("raise SystemExit(3)"),
        "quick": _python("print('rows')"),
    }
    ended = accelerator.run_all(wanted, _python("print('passed')"), tmp_path, 9.0)
    assert ended == ["out of time", "failed (status 3)", "done", "done"]
    assert json.loads((tmp_path / "slow.json").read_text()) == {}
    assert (tmp_path / "quick.log").read_text() == "rows\n"
    assert (tmp_path / "tests.log").read_text() == "passed\n"


@pytest.mark.parametrize(("ending", "status"), [("failed (status 3)", 1), ("out of time", 0)])
def test_only_a_failure_is_one(monkeypatch, tmp_path, ending, status):
    monkeypatch.setattr(accelerator, "run", lambda name, *_: ending)
    monkeypatch.setattr(sys, "argv", ["accelerator.py", f"--out={tmp_path / 'made'}", "--dry"])
    assert accelerator.main() == status
    assert (tmp_path / "made").is_dir()
