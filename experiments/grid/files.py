"""Jobs that evaluate a folder's released models, each as it is and in a process of its own."""

import pathlib

import jax
from ml_collections import ConfigDict

from configs.released import DATASETS
from grid import cells
from grid.cells import Job
from vprjax.console import log
from vprjax.errors import ConfigError, VprjaxError
from vprjax.storage import checksum
from vprjax.weights import pretrained
from vprjax.weights.released import load

CHILD = pathlib.Path(__file__).with_name("one_file.py")


def jobs(folder: pathlib.Path, config: ConfigDict, out: pathlib.Path) -> list[Job]:
    """Returns one job per released model in `folder`; the log says which files are left out, and why.

    Raises:
      ConfigError: the folder holds no file that can be evaluated, or a result is of another of its name.
    """
    # The jobs' processes need the accelerator's memory.
    jax.config.update("jax_platforms", "cpu")
    found = []
    for file in sorted(path for path in folder.glob("*") if path.is_file()):
        try:
            model = load.read(str(file)).config
        except VprjaxError as error:
            log(f"left out: {error}")
            continue
        own = config.copy_and_resolve_references()
        own.model.update(model)
        workdir = out / file.name
        words = (str(CHILD), str(workdir))
        found.append(Job(file.name, config.seed, workdir, own.to_dict(), words, 0))
        _check_same(found[-1], file)
    if not found:
        raise ConfigError(f"--weights={folder} holds no file of a released model")
    return found


def _check_same(job: Job, file: pathlib.Path) -> None:
    """Raises ConfigError where a finished job evaluated another file of the same name."""
    try:
        was = checksum.unseal(job.results.read_text(encoding="utf-8"))["provenance"][
            "weights_sha256"
        ]
    except (OSError, ValueError, KeyError):
        return  # missing, or damaged, which `Job.finished` tells
    if was != pretrained.fingerprint(str(file)):
        raise ConfigError(
            f"{job.results} is of another {file.name}, whose SHA-256 begins with {was[:8]}: remove "
            f"{job.workdir} to evaluate this one"
        )


def config_of(dataset: str, changes: dict[str, object]) -> ConfigDict:
    """Returns the config of `configs/DATASET.py`, or of the prepared dataset `BUILDER/CONFIG`.

    Raises:
      ConfigError: the dataset or a key is unknown.
    """
    name = "places_csv" if "/" in dataset else dataset
    if name not in DATASETS:
        raise ConfigError(
            f"--dataset={dataset} is neither BUILDER/CONFIG nor one of {', '.join(DATASETS)}"
        )
    own = {"dataset.name": dataset} if "/" in dataset else {}
    return cells.config_of(name, "", own | changes)
