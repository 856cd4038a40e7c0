"""The rows above a grid's models: every baseline, and off-the-shelf models by the names of a config."""

import fnmatch
import os
import pathlib

from analysis import baselines
from analysis.scores import Scores
from analysis.text_table import Table

from grid import cells
from grid.cells import ROOT, Job, Settings
from vprjax.console import log
from vprjax.errors import ConfigError
from vprjax.retrieval.baselines import BASELINES
from vprjax.storage import checksum
from vprjax.storage.atomic import write_atomically

FOLDER = "baselines"  # below the grid's folder
HEADS = ("mac", "spoc", "rmac", "crow")
# Off-the-shelf models: the row's name and what follows the config's colon. Their weights are `WEIGHTS`'s.
MODELS = {
    f"{backbone}-{head}": f"{backbone},{head}" for backbone in cells.BACKBONES for head in HEADS
}
DELF = "delf"  # a row of its own command, for its global descriptor and behind a geometric check
DELF_FILE = "delf*/**/variables.index"  # of its SavedModel, below the folder of weights
PART = "conv3"  # the last stage of the file that holds VGG16 in part
OWN = ("eval.", "dataset.", "baseline.")  # sections whose changes reach these rows
ABROAD = "eval.other_"  # but for these: all rows of the field are of one dataset


def jobs(settings: Settings, patterns: str) -> list[Job]:
    """The chosen rows' evaluations, the baselines first.

    Args:
      settings: the grid's.
      patterns: comma list such as `vlad_sift,*-mac`, or "all"; a pattern takes the models whose weights
        are there.

    Raises:
      ConfigError: a pattern matches nothing, or a named model has no weights.
    """
    names = [*BASELINES, DELF, *MODELS]
    wanted = set(names)
    if patterns != "all":
        for pattern in patterns.split(","):
            if not fnmatch.filter(names, pattern):
                raise ConfigError(f"--baselines: {pattern!r} matches none of {', '.join(names)}")
        wanted = {name for p in patterns.split(",") for name in fnmatch.filter(names, p)}
    out = []
    for name in names:
        if name in BASELINES and name in wanted:
            seeds = settings.seeds if "words" in BASELINES[name].keys else settings.seeds[:1]
            out += [_job(settings, name, name, seed) for seed in seeds]
        elif name == DELF and name in wanted:
            out += _delf(settings, name in patterns.split(","))
        elif name in wanted and (own := _weighted(settings, name, name in patterns.split(","))):
            out.append(_job(settings, name, MODELS[name], settings.seeds[0], own))
    return out


def _weighted(settings: Settings, name: str, named: bool) -> dict:
    """The overrides of a model with weights; {} where it has none and no flag names it.

    A file that holds a part of the network cuts it behind that part: the rest would be random. The reader
    takes such a file with `model.partial_weights` alone, and the cut network lacks nothing.
    """
    backbone = name.partition("-")[0]
    try:
        own = cells.weighted(settings, backbone)
    except ConfigError:
        own = {}
    if own.get("model.partial_weights"):
        own = {**own, "model.stage": PART, "model.train_from": ""}
    if named and not own:
        raise ConfigError(f"--baselines: {name} needs the folder of its weights, --weights")
    return own


def _delf(settings: Settings, named: bool) -> list[Job]:
    """DELF's evaluation; none where its weights are missing and no flag names it."""
    found = sorted(settings.weights.glob(DELF_FILE)) if settings.weights else []
    if not found and named:
        raise ConfigError(f"--baselines: {DELF} needs {DELF_FILE} below the folder --weights")
    if not found:
        return []
    workdir = settings.folder / FOLDER / DELF / "seed0"
    overrides = cells.data_of(settings) | _changes(settings)
    config = cells.config_of(
        settings.dataset, "", overrides | {"model.weights": str(found[0])}
    ).to_dict()
    words = [os.path.relpath(ROOT / "experiments/delf.py"), f"--weights={found[0]}"]
    words += [f"--dataset={settings.dataset}", f"--out={workdir}"]
    words += [f"--set={key}={value}" for key, value in overrides.items()]
    return [Job(DELF, 0, workdir, config, tuple(words), 0)]


def _changes(settings: Settings) -> dict:
    return {k: v for k, v in settings.changes if k.startswith(OWN) and not k.startswith(ABROAD)}


def _job(settings: Settings, name: str, names: str, seed: int, own: dict | None = None) -> Job:
    workdir = settings.folder / FOLDER / name / f"seed{seed}"
    overrides = cells.data_of(settings) | (own or {}) | _changes(settings) | {"seed": seed}
    config = cells.config_of(settings.dataset, names, overrides)
    file = os.path.relpath(ROOT / f"configs/{settings.dataset}.py")
    words = [
        "-m",
        "vprjax.main",
        "--mode=evaluate",
        f"--config={file}:{names}",
        f"--workdir={workdir}",
    ]
    words += [f"--config.{key}={value}" for key, value in overrides.items()]
    return Job(name, seed, workdir, config.to_dict(), tuple(words), 0)


def write(folder: pathlib.Path, found: Scores | None) -> tuple[list[baselines.Row], Table] | None:
    """Writes `baselines.csv` and `baselines.md` of the finished rows; None where there is none."""
    rows = []
    for name in (*BASELINES, DELF, *MODELS):
        for path in sorted((folder / FOLDER / name).glob("seed*/results.json")):
            document = checksum.unseal(path.read_text(encoding="utf-8"))
            rows += baselines.of_results(document, folder.name, name)
    if not rows:
        return None
    made = baselines.table(rows, found, f"The field on {rows[0].dataset}")
    write_atomically(folder / baselines.FILE, baselines.text(rows))
    write_atomically(folder / "baselines.md", baselines.markdown(rows, made))
    log(f"baselines: {folder / 'baselines.md'}")
    return rows, made
