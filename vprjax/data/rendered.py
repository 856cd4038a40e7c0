"""The rendered dataset, which needs no raw data: a run builds it where it is missing."""

import subprocess
import sys

from vprjax.console import log
from vprjax.data import source
from vprjax.errors import DataError
from vprjax.runtime import parallel

SYNTHETIC = "synthetic"


def build_missing(config) -> None:
    """Builds the config's rendered dataset where it is missing; leaves other datasets alone.

    The two packages never import each other: the builder runs as a user would run it.

    Raises:
      DataError: the builder fails.
    """
    builder, name, _ = source.split_name(config.dataset.name)
    if builder != SYNTHETIC or not parallel.any_process(source.find(config) is None):
        return
    status = _run_builder(config, name) if parallel.is_primary() else 0
    if parallel.from_first(status):
        raise DataError(f"building dataset {config.dataset.name} failed; see the lines above")


def _run_builder(config, name: str) -> int:
    """Runs the builder and returns its exit status."""
    command = [sys.executable, "-m", "tfds_builders", "build", SYNTHETIC]
    command += [f"--data_dir={source.data_dir(config)}"] + ([f"--config={name}"] if name else [])
    log(f"dataset {config.dataset.name} is missing; build it: {' '.join(command)}")
    return subprocess.run(command, check=False).returncode
