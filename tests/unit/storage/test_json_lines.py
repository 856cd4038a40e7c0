"""Metrics on disk after kills, resumes and a full disk."""

import json
import pathlib

import pytest

from vprjax.storage import json_lines


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


def test_a_full_disk_is_named_by_the_file(tmp_path, monkeypatch):
    full = pathlib.Path("/dev/full")  # takes no byte
    if not full.exists():
        pytest.skip("no /dev/full here")
    path = tmp_path / "metrics.jsonl"
    opened = pathlib.Path.open
    with monkeypatch.context() as patch:
        patch.setattr(
            "pathlib.Path.open",
            lambda self, mode, *rest, **more: opened(
                full if (self, mode) == (path, "a") else self, mode, *rest, **more
            ),
        )
        lines = json_lines.JsonLines(path, resume_step=0)
    for write in (lambda: lines.write(1, {"loss": 0.5}), lines.close):
        with pytest.raises(OSError, match="No space left") as caught:
            write()
        assert caught.value.filename == str(path)
