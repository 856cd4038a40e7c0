"""What the launcher makes of how its processes end."""

import subprocess
import sys

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
    assert launch_local.wait(running) == status
