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


def jobs(settings: Settings, patterns: str) -> list[Job]:
    """The chosen rows' evaluations, the baselines first.

    Args:
      settings: the grid's.
      patterns: comma list such as `vlad_sift,*-mac`, or "all"; a pattern takes the models whose weights
        are there.

    Raises:
      ConfigError: a pattern matches nothing, or a named model has no weights.
    """
    names = [*BASELINES, *MODELS]
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
        elif name in wanted and (own := _weighted(settings, name, name in patterns.split(","))):
            out.append(_job(settings, name, MODELS[name], settings.seeds[0], own))
    return out


def _weighted(settings: Settings, name: str, named: bool) -> dict:
    """The overrides of a model with whole weights; {} where it has none and no flag names it."""
    backbone = name.partition("-")[0]
    try:
        own = cells.weighted(settings, backbone)
    except ConfigError:
        own = {}
    own = (
        {} if own.get("model.partial_weights") else own
    )  # a part of a network is not off the shelf
    if named and not own:
        raise ConfigError(f"--baselines: {name} needs the folder of its weights, --weights")
    return own


def _job(settings: Settings, name: str, names: str, seed: int, own: dict | None = None) -> Job:
    workdir = settings.folder / FOLDER / name / f"seed{seed}"
    changes = {
        key: value
        for key, value in settings.changes
        if key.startswith(("eval.", "dataset.", "baseline."))
    }
    overrides = cells.data_of(settings) | (own or {}) | changes | {"seed": seed}
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
    for name in (*BASELINES, *MODELS):
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
