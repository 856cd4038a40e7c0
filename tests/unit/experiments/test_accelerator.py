import pathlib
import sys
import time

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
            assert (args.size, args.no_compile) == ((128, True) if dry else (224, False))
    assert parsed["train_step-bfloat16"].only == "triplet"


def _python(code):
    return [sys.executable, "-c", code]


def test_a_command_that_runs_out_of_time_ends_and_keeps_what_it_wrote(tmp_path):
    log = tmp_path / "log"
    begun, slow = (
        tmp_path / "begun",
        "import pathlib, time; pathlib.Path({!r}).touch(); time.sleep(60)",
    )
    start = time.monotonic()
    assert accelerator.run("slow", _python(slow.format(str(begun))), 3.0, log) == "out of time"
    assert time.monotonic() - start < 30
    assert (
        accelerator.run("broken", _python("raise SystemExit(3)"), 60.0, log) == "failed (status 3)"
    )
    assert accelerator.run("quick", _python("print('rows')"), 60.0, log) == "done"
    assert log.read_text() == "rows\n"


def test_what_one_leaves_goes_to_the_next_and_the_tests_keep_their_part(monkeypatch, tmp_path):
    now, got = [0.0], {}

    def run(name, command, seconds, log):
        assert log == tmp_path / f"{name}.log"
        got[name] = seconds
        now[0] += min(seconds, command[0])
        return "done"

    monkeypatch.setattr(accelerator.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(accelerator, "run", run)
    wanted = {"short": [10.0], "long": [900.0], "last": [20.0]}
    accelerator.run_all(wanted, [500.0], tmp_path, 300.0)
    assert got == {"short": 70.0, "long": 100.0, "last": 100.0, "tests": 170.0}


@pytest.mark.parametrize(("ending", "status"), [("failed (status 3)", 1), ("out of time", 0)])
def test_only_a_failure_is_one(monkeypatch, tmp_path, ending, status):
    monkeypatch.setattr(accelerator, "run", lambda name, *_: ending)
    monkeypatch.setattr(sys, "argv", ["accelerator.py", f"--out={tmp_path / 'made'}", "--dry"])
    assert accelerator.main() == status
    assert (tmp_path / "made").is_dir()
