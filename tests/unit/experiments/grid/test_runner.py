"""Processes in slots: what runs, what fails, what a signal leaves."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest
from grid import runner
from grid.cells import Job
from grid.runner import GridProgress, Runner

FINISH = "import pathlib, sys; pathlib.Path(sys.argv[1]).write_text('{}')"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(runner, "POLL_SECONDS", 0.02)


def job(folder, name, code=FINISH, steps=3):
    workdir = folder / name
    return Job(name, 0, workdir, {}, ("-c", code, str(workdir / "results.json")), steps)


def run(jobs, slots=1, devices=()):
    runner = Runner(slots, list(devices))
    runner.run(jobs, GridProgress(jobs))
    return runner


def test_all_jobs_run_and_a_failed_one_stops_no_other(tmp_path, capsys):
    bad = job(tmp_path, "bad", "import sys; sys.exit('the disk is full')")
    silent = job(tmp_path, "silent", "pass")  # ends well but leaves no results
    jobs = [bad, silent, job(tmp_path, "good"), job(tmp_path, "last")]
    assert [failed.name for failed in run(jobs).failed] == ["bad", "silent"]
    assert [j.results.exists() for j in jobs] == [False, False, True, True]
    said = capsys.readouterr().err
    assert "bad seed 0 failed: the disk is full" in said and "its log is empty" in said
    assert "2 of 4 finished" in said


def test_slots_run_side_by_side_each_with_its_device(tmp_path):
    # Each waits for the other's mark: one after the other they would wait for ever.
    code = (
        "import os, pathlib, sys, time; p = pathlib.Path(sys.argv[1]); "
        "(p.parent / 'mark').write_text(os.environ['CUDA_VISIBLE_DEVICES'])\n"
        "while len(list(p.parent.parent.glob('*/mark'))) < 2: time.sleep(0.01)\n"
        "p.write_text('{}')"
    )
    jobs = [job(tmp_path, name, code) for name in "ab"]
    assert not run(jobs, slots=2, devices=["4", "7"]).failed
    assert sorted((j.workdir / "mark").read_text() for j in jobs) == ["4", "7"]


def test_slots_without_gpus_share_the_cores(tmp_path):
    code = (
        "import os, pathlib, sys, time; p = pathlib.Path(sys.argv[1]); "
        "(p.parent / 'mark').write_text(str(sorted(os.sched_getaffinity(0))))\n"
        "while len(list(p.parent.parent.glob('*/mark'))) < 2: time.sleep(0.01)\n"
        "p.write_text('{}')"
    )
    jobs = [job(tmp_path, name, code) for name in "ab"]
    assert not run(jobs, slots=2).failed
    seen = sorted((j.workdir / "mark").read_text() for j in jobs)
    assert seen == sorted(map(str, runner.shares(sorted(os.sched_getaffinity(0)), 2)))


def test_shares_use_every_core_once():
    assert runner.shares([2, 3, 5, 7], 1) == [[2, 3, 5, 7]]
    assert runner.shares([2, 3, 5, 7, 8], 2) == [[2, 5, 8], [3, 7]]
    assert runner.shares([2, 3], 3) == [[2], [3], [2]]


class Bar:
    """A progress bar that shows nothing."""

    def __init__(self, what, total, unit, start):
        self.total, self.done = total, start

    def advance(self, n):
        self.done += n


def test_progress_counts_logged_steps_and_whole_jobs(tmp_path, monkeypatch):
    bars = []
    monkeypatch.setattr(runner, "Progress", lambda *words: bars.append(Bar(*words)) or bars[0])
    jobs = [job(tmp_path, "a", steps=10), job(tmp_path, "b", steps=10)]
    jobs[0].workdir.mkdir()
    (jobs[0].workdir / "metrics.jsonl").write_text('{"step": 2}\n{"step": 4}\n{"st')
    progress = GridProgress(jobs)
    assert bars[0].total == 22 and bars[0].done == 4
    (jobs[0].workdir / "metrics.jsonl").write_text('{"step": 8}\n')
    progress.look(jobs)
    progress.look(jobs)
    assert bars[0].done == 8
    progress.finished(jobs[0], 1.0)
    assert bars[0].done == 11


PROGRAM = """
import pathlib, sys
sys.path.insert(0, {experiments!r})
from grid import runner
from grid.cells import Job
workdir = pathlib.Path(sys.argv[1])
code = "import os, pathlib, signal, sys, time\\n" \\
    "def note(*_): pathlib.Path(sys.argv[1] + '.saved').touch(); sys.exit(0)\\n" \\
    "signal.signal(signal.SIGTERM, note)\\n" \\
    "pathlib.Path(sys.argv[1] + '.pid').write_text(str(os.getpid()))\\n" \\
    "time.sleep(60)"
job = Job("a", 0, workdir, {{}}, ("-c", code, str(workdir / "results.json")), 1)
try:
    runner.Runner(1, []).run([job], runner.GridProgress([job]))
except runner.Stopped as stopped:
    sys.exit(str(stopped))
"""


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_signal_ends_the_running_job_too(tmp_path, how):
    program = PROGRAM.format(experiments=str(pathlib.Path(runner.__file__).parents[1]))
    grid = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stderr=subprocess.PIPE, text=True
    )
    pid = tmp_path / "results.json.pid"
    while not (pid.exists() and pid.read_text()):
        assert grid.poll() is None
        time.sleep(0.02)
    grid.send_signal(how)
    said = grid.communicate()[1]
    assert _gone(int(pid.read_text()))
    saved = (tmp_path / "results.json.saved").exists()
    if how == signal.SIGKILL:
        assert not saved
    else:
        assert saved and f"stopped by {how.name}" in said


def _gone(pid):
    for _ in range(200):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        if "\nState:\tZ" in pathlib.Path(f"/proc/{pid}/status").read_text():
            return True
        time.sleep(0.02)
    return False
