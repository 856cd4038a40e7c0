"""Runs the project's commands as a user does: a process of its own, on one device."""

import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
CELL = "resnet50-gem-contrastive"  # of the smoke grid
ENVIRONMENT = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""}


def run(module, *flags, status=0):
    """`python -m module flags`, which must exit with `status`; its output."""
    done = subprocess.run(
        [sys.executable, "-m", module, *flags],
        cwd=ROOT,
        env={**os.environ, **ENVIRONMENT},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stderr
    return done


def start_grid(runs, *flags):
    """The grid's command as a process of its own."""
    command = [sys.executable, "experiments/paper_grid.py", "--dataset=synthetic", "--smoke"]
    return subprocess.Popen(
        [*command, f"--runs={runs}", f"--cells={CELL}", *flags],
        cwd=ROOT,
        env={**os.environ, **ENVIRONMENT},
        stderr=subprocess.PIPE,
        text=True,
    )
