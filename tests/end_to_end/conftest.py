"""One smoke cell of the grid, killed once and finished, for the tests that look at what it leaves."""

import signal
import time
from types import SimpleNamespace

import commands
import pytest


@pytest.fixture(scope="session")
def finished_cell(tmp_path_factory):
    """`runs`, the cell's `workdir`, and what the second call `said`; the first was killed at step 2."""
    runs = tmp_path_factory.mktemp("grid")
    workdir = runs / "synthetic-smoke" / commands.CELL / "seed0"
    killed = commands.start_grid(runs)
    while killed.poll() is None and not (workdir / "checkpoints/2/commit_success.txt").exists():
        time.sleep(0.05)
    killed.kill()
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL and not (workdir / "results.json").exists()
    again = commands.start_grid(runs)
    said = again.communicate()[1]
    assert again.returncode == 0, said
    return SimpleNamespace(runs=runs, workdir=workdir, said=said)
