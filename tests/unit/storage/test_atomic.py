"""Files that a reader sees whole or not at all."""

import os
import pathlib
import subprocess
import sys

import pytest

from vprjax.storage import atomic


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

    def fail(self, data):
        with self.open("wb") as file:
            file.write(data[:2])
        raise OSError("no space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", fail)
    with pytest.raises(OSError, match="no space"):
        atomic.write_atomically(path, "new text")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_files_written_beside_take_their_places_after_the_body_or_not_at_all(tmp_path):
    one, two, bad = tmp_path / "one", tmp_path / "two", tmp_path / "gone/bad"
    one.write_text("old")
    with atomic.written_beside({one: "new", two: b"\0"}):
        assert one.read_text() == "old" and not two.exists()
        assert len([*tmp_path.glob(".*.partial")]) == 2
    assert one.read_text() == "new" and two.read_bytes() == b"\0"
    with pytest.raises(FileNotFoundError), atomic.written_beside({one: "newer", bad: ""}):
        pytest.fail("the body runs")
    assert one.read_text() == "new" and sorted(tmp_path.iterdir()) == [one, two]


def test_a_full_disk_is_named_by_the_file_not_by_its_partial_copy(tmp_path):
    full = pathlib.Path("/dev/full")  # takes no byte
    if not full.exists():
        pytest.skip("no /dev/full here")
    path = tmp_path / "results.md"
    (tmp_path / f".results.md.{os.getpid()}.partial").symlink_to(full)
    with pytest.raises(OSError, match="No space left") as caught:
        atomic.write_atomically(path, "text")
    assert caught.value.filename == str(path) and not path.exists()
