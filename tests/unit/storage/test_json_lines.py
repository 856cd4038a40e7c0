"""Metrics on disk after kills and resumes, and what is shown without a terminal."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from vprjax import console
from vprjax.storage import atomic, json_lines


def steps_in(path):
    return [json.loads(line)["step"] for line in path.read_text().splitlines()]


def test_resume_drops_rows_past_the_checkpoint_and_a_cut_line(tmp_path):
    path = tmp_path / "metrics.jsonl"
    lines = json_lines.JsonLines(path, resume_step=0)
    for step in (10, 20, 30):
        lines.write(step, {"loss": step / 3})
    lines.close()
    with path.open("a") as file:
        file.write('{"step": 40, "lo')  # a kill in the middle of a write
    lines = json_lines.JsonLines(path, resume_step=20)
    lines.write(30, {"loss": 1.0})
    lines.close()
    assert steps_in(path) == [10, 20, 30]
    assert [p.name for p in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_files_are_utf_8_in_any_locale(tmp_path):
    path = tmp_path / "results.md"
    code = (
        "import pathlib; from vprjax.storage.atomic import write_atomically; "
        f"write_atomically(pathlib.Path({str(path)!r}), 'caf\\xe9 \\u2212 1')"
    )
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, **ascii_only})
    assert path.read_bytes().decode("utf-8") == "caf\xe9 \u2212 1"


def test_write_atomically_keeps_the_old_text_on_failure(tmp_path, monkeypatch):
    path = tmp_path / "results.md"
    atomic.write_atomically(path, "old")

    def fail(self, text, encoding):
        with self.open("w") as file:
            file.write(text[:2])
        raise OSError("no space left on device")

    monkeypatch.setattr("pathlib.Path.write_text", fail)
    with pytest.raises(OSError, match="no space"):
        atomic.write_atomically(path, "new text")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_told_with_the_file(tmp_path):
    full = pathlib.Path("/dev/full")  # takes no byte
    if not full.exists():
        pytest.skip("no /dev/full here")
    path = tmp_path / "metrics.jsonl"
    lines = json_lines.JsonLines(path, resume_step=0)
    lines._file.close()
    lines._file = full.open("a")
    for write in (lambda: lines.write(1, {"loss": 0.5}), lines.close):
        with pytest.raises(OSError, match="No space left") as told:
            write()
        assert told.value.filename == str(path)
    path = tmp_path / "results.md"
    (tmp_path / f".results.md.{os.getpid()}.partial").symlink_to(full)
    with pytest.raises(OSError, match="No space left") as told:
        atomic.write_atomically(path, "text")
    assert told.value.filename == str(path) and not path.exists()


def test_plain_lines_tell_rate_and_time_left(capsys, monkeypatch):
    clock = iter([0.0, 10.0, 20.0])
    monkeypatch.setattr(console.time, "monotonic", lambda: next(clock))
    bar = console.Progress("train", 100, "steps", start=50)
    bar.advance(5)  # 10 s: too soon to say anything
    bar.advance(5, loss=0.25)
    bar.close()
    said = capsys.readouterr().err.splitlines()
    assert said == ["train: 60/100 steps, 0.5 steps/s, 80 s left loss=0.25"]
