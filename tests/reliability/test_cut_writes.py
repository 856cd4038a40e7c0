"""Killed in the middle of a write: under a final name lies the old file or the new one, never a part.

The kernel kills the writer once a file of it grows over a limit, so that the moment is no matter of luck.
"""

import os
import pathlib
import resource
import signal
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from tests.helpers import made_up_page
from vprjax.report import result_files
from vprjax.storage import checkpoint, json_lines
from vprjax.storage.workdir import hold_workdir

KILLED = -signal.SIGXFSZ
HUNG = -signal.SIGALRM


def killed_at(limit, write):
    """Calls `write()` in a process of its own that may write `limit` bytes a file; how it ended.

    A lock that another thread holds at the fork stays locked in the child, which then begins anew.
    """
    ended = HUNG
    for _ in range(3):
        ended = _killed_at(limit, write) if ended == HUNG else ended
    return ended


def _killed_at(limit, write):
    child = os.fork()
    if not child:
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(60)
            limit_files(limit)
            write()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def limit_files(limit):
    """Kills this process once it writes more than `limit` bytes into a file; it leaves no core."""
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # Python ignores it
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))


def files_in(folder):
    return {path.relative_to(folder): path for path in folder.rglob("*") if path.is_file()}


def reports(folder, *, new):
    """Writes the report of one run, or another with other figures, whose files grow in their order."""
    config = made_up_page.config()
    queries, references = made_up_page.places("test01", n=4), made_up_page.places("ref", n=4)
    found = made_up_page.result(config, queries, references)
    if new:
        found = made_up_page.changed(
            found,
            matches={"errors": found.matches.errors + 1},
            curves={"fcm": found.curves.fcm / 2},
        )
    words = dict.fromkeys(("weights_sha256", "steps", "code_version"), "new" if new else "old")
    words |= {"device": "x" * 100_000, "written": "now", "command": "x" * 200_000}
    dataset = SimpleNamespace(name="places_csv/x", version="1.0.0", counts={}, metadata={})
    results = {"fine_tuned": {"test01": found}}
    return lambda: result_files.write(folder, config, dataset, results, words)


def test_a_report(tally, tmp_path):
    folders = {name: tmp_path / name for name in ("old", "new", "run")}
    for folder in folders.values():
        folder.mkdir()
    old, new = (reports(folders[name], new=name == "new") for name in ("old", "new"))
    old(), new()
    wanted = ["fcm.png", "fine_tuned_test01.csv", "results.json", "results.md"]
    assert sorted(name.name for name in files_in(folders["new"])) == wanted
    for name, path in files_in(folders["new"]).items():
        reports(folders["run"], new=False)()
        limit = path.stat().st_size // 2  # this file is the first that grows over it
        assert killed_at(limit, reports(folders["run"], new=True)) == KILLED
        for other in files_in(folders["new"]):  # figures and tables of one evaluation
            old_bytes, left = ((folders[f] / other).read_bytes() for f in ("old", "run"))
            assert left == old_bytes, f"{other}, killed in {name}"
        with hold_workdir(folders["run"]):
            assert not list(folders["run"].rglob("*partial*"))
        tally["trials"] += 1


def test_a_report_cut_between_two_files_has_no_figures_beside_others_tables(
    tally, tmp_path, monkeypatch
):
    reports(tmp_path, new=False)()
    replace, count = pathlib.Path.replace, len(files_in(tmp_path))
    for cut in range(count):
        reports(tmp_path, new=False)()
        left = iter(range(count))

        def until(path, target, cut=cut, left=left):
            if next(left) == cut:
                raise KeyboardInterrupt
            return replace(path, target)

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(pathlib.Path, "replace", until)
            reports(tmp_path, new=True)()
        assert not (tmp_path / "results.json").exists(), f"cut before file {cut}"
        tally["trials"] += 1


def test_metrics_that_are_shortened_on_resuming(tally, tmp_path):
    path = tmp_path / "metrics.jsonl"
    lines = json_lines.JsonLines(path, 0)
    for step in range(1, 31):
        lines.write(step, {"loss": 1 / step})
    lines.close()
    whole = path.read_text()
    shorter = "".join(whole.splitlines(keepends=True)[:20])
    for limit in (0, 1, len(shorter) // 2, len(shorter) - 1):
        assert killed_at(limit, lambda: json_lines.JsonLines(path, 20)) == KILLED
        assert path.read_text() == whole
        tally["trials"] += 1
    assert killed_at(len(shorter), lambda: json_lines.JsonLines(path, 20)) == 0
    assert path.read_text() == shorter


SAVING = """
import pathlib, sys
from tests.reliability.test_cut_writes import limit_files, save
if int(sys.argv[2]):
    limit_files(int(sys.argv[2]))
save(pathlib.Path(sys.argv[1]), 10)
"""


def save(folder, *steps):
    checkpoints = checkpoint.Checkpoints(folder)
    noise = np.random.default_rng(0).normal(size=100_000)
    for step in steps:
        checkpoints.save(step, {"a": noise + step}, {"b": noise - step}, {"config": {}})
    checkpoints.close()


def test_a_checkpoint(tally, tmp_path):
    save(tmp_path, 0, 5)
    for limit in (20, 100_000):  # in its notes, and in an array
        command = [sys.executable, "-c", SAVING, str(tmp_path), str(limit)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(command, env=environment, capture_output=True, check=False)
        assert done.returncode == KILLED, done.stderr.decode()
        reader = checkpoint.open_for_reading(tmp_path)
        assert reader.steps() == [0, 5]
        assert reader.restore_model(5)["a"].shape == (100_000,)
        tally["trials"] += 1
    save(tmp_path, 15)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "15", "5"]
