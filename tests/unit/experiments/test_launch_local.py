"""What the launcher makes of how its processes end."""

import pathlib
import signal
import subprocess
import sys
import time

import launch_local
import pytest


@pytest.mark.parametrize(
    ("endings", "status"),
    [(("sys.exit(0)", "sys.exit(0)"), 0), (("sys.exit(0)", "os.kill(os.getpid(), 9)"), -9)],
)
def test_a_process_that_a_signal_ended_has_failed(endings, status):
    code = "import os, sys; {}"
    running = [subprocess.Popen([sys.executable, "-c", code.format(e)]) for e in endings]
    for process in running:
        process.wait()
    assert launch_local.wait(running, []) == status


# As training does: notes SIGTERM, saves, which takes a while, and ends.
SAVES = """
import os, pathlib, signal, sys, time
folder, number = pathlib.Path(sys.argv[1]), os.environ["VPRJAX_PROCESS_ID"]
def save(*_):
    time.sleep(0.5)
    (folder / f"saved{number}").touch()
    sys.exit(int(sys.argv[2]))
signal.signal(signal.SIGTERM, save)
(folder / f"part{number}").write_text(str(os.getpid()))
(folder / f"part{number}").rename(folder / f"pid{number}")
time.sleep(60)
"""


def launched(folder, status):
    """A launcher whose two processes have begun."""
    words = ["--processes=2", "--", sys.executable, "-c", SAVES, str(folder), status]
    launcher = subprocess.Popen([sys.executable, launch_local.__file__, *words])
    soon(lambda: len(list(folder.glob("pid*"))) == 2)
    return launcher


def soon(true):
    deadline = time.monotonic() + 50
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def alive(folder):
    """Those of the processes that have not ended; one that nobody has waited for has."""
    stats = [pathlib.Path("/proc", path.read_text(), "stat") for path in folder.glob("pid*")]
    return [s for s in stats if s.exists() and s.read_text().rpartition(")")[2].split()[0] != "Z"]


def test_sigterm_goes_on_to_all_and_they_save(tmp_path):
    launcher = launched(tmp_path, "0")
    launcher.send_signal(signal.SIGTERM)
    assert launcher.wait(50) == 0
    assert len(list(tmp_path.glob("saved*"))) == 2 and not alive(tmp_path)


def test_sigterm_ends_with_the_status_of_one_that_fails(tmp_path):
    launcher = launched(tmp_path, "3")
    launcher.send_signal(signal.SIGTERM)
    assert launcher.wait(50) == 3


def test_the_processes_end_with_a_killed_launcher(tmp_path):
    launcher = launched(tmp_path, "0")
    launcher.kill()
    launcher.wait()
    soon(lambda: not alive(tmp_path))
    assert not list(tmp_path.glob("saved*"))
