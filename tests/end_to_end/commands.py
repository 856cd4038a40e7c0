"""Runs the project's commands as a user does: a process of its own, on one device."""

import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
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
