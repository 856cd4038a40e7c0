"""Builds the grid's datasets that this project can build by itself, and finds the others."""

import json
import os
import pathlib
import shlex
import subprocess
import sys

from ml_collections import ConfigDict

from grid import child
from grid.cells import COLD_COUNTS, CORRIDOR, ROOT, Settings, config_of
from vprjax.console import log
from vprjax.data import source
from vprjax.errors import DataError


def prepare(settings: Settings) -> None:
    """Builds the missing datasets that this project can build by itself.

    Raises:
      DataError: a dataset is missing and cannot be built here.
    """
    data = settings.runs / "datasets"
    if settings.dataset == "synthetic":
        name = "tiny" if settings.smoke else COLD_COUNTS["name"]
        option = name if settings.smoke else json.dumps(COLD_COUNTS)
        _build("synthetic", name, data, [f"--config={option}"])
    elif settings.dataset in ("nordland", "corridor"):
        _build_real(settings, "nordland", {"height": 64, "width": 128}, ["--drop_still"])
        if settings.dataset == "corridor":
            _build_real(settings, "corridor", {}, [])
        if settings.dataset != "corridor" and CORRIDOR in settings.others:
            _build_real(settings, "corridor", {}, [])
    else:
        source.open_dataset(config_of(settings.dataset, "", dict(settings.changes)))


def _build_real(settings: Settings, name: str, size: dict, words: list[str]) -> None:
    if _built("places_csv", name, settings.runs / "datasets"):
        return
    if settings.images is None or not (settings.images / name).is_dir():
        raise DataError(
            f"--dataset={name} needs --images, a folder with {name}'s images in {name}/"
        )
    raw = settings.runs / "raw" / name
    script = os.path.relpath(ROOT / "experiments/real_images.py")
    call(script, name, f"--images={settings.images / name}", f"--raw={raw}", *words)
    option = json.dumps({"name": name, "position_unit": "frames", **size})
    data = settings.runs / "datasets"
    _build("places_csv", name, data, [f"--manual_dir={raw}", f"--config={option}"])


def _built(builder: str, name: str, data: pathlib.Path) -> bool:
    wanted = ConfigDict({"dataset": {"name": f"{builder}/{name}", "data_dir": str(data)}})
    return source.find(wanted) is not None


def _build(builder: str, name: str, data: pathlib.Path, words: list[str]) -> None:
    if not _built(builder, name, data):
        call("-m", "tfds_builders", "build", builder, f"--data_dir={data}", *words)


def call(*words: str) -> None:
    """Logs and runs a Python command as a user would type it.

    Raises:
      DataError: the command failed.
    """
    log("$ " + shlex.join(["python", *words]))
    command = [sys.executable, *words]
    if subprocess.run(command, check=False, preexec_fn=child.die_with_parent).returncode:
        raise DataError(f"python {shlex.join(words)} failed; see the lines above")
