"""The study's cells per dataset: the runs, their configs, commands and data."""

import ast
import dataclasses
import hashlib
import importlib
import itertools
import json
import os
import pathlib

from ml_collections import ConfigDict

from vprjax.config import changes
from vprjax.console import log
from vprjax.errors import ConfigError
from vprjax.report.published import Cell
from vprjax.storage import checksum
from vprjax.storage.atomic import write_atomically

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAPER_BACKBONES = ("vgg16", "resnet50")
REAL_BACKBONES = ("mobilenetv2", "vgg16")  # real weights are at hand; VGG16's in part
BACKBONES = ("vgg16", "resnet50", "mobilenetv2")
WEIGHTS = {
    "paper": {"vgg16": "vgg16-397923af.pth", "resnet50": "resnet50-0676ba61.pth"},
    "real": {
        "mobilenetv2": "mobilenetv2_1.00_224_imagenet_notop.npz",
        "vgg16": "vgg16_imagenet_block1-3_only.npz",
    },
}
# Blocks 1 to 3 are real and stay as they are; blocks 4 and 5 start from random values and train.
PARTIAL_VGG16 = {"model.partial_weights": True, "model.train_from": "conv4"}
# A folder's name has at most 255 bytes; a digest replaces longer settings, which grid.json holds.
LONGEST_MARKS = 200
# COLD's counts at the image size of configs/synthetic.py's stages and rates.
COLD_COUNTS = {
    "name": "cold_counts",
    "height": 48,
    "width": 64,
    "route_length": 500.0,
    "train": 1036,
    "reference": 1371,
    "test01": 1021,
    "test02": 970,
}
SMOKE = {
    "model.netvlad.clusters": 8,
    "train.steps": 4,
    "train.log_every": 2,
    "train.checkpoint_every": 2,
    "tuples.batch": 2,
    "tuples.negatives": 3,
    "tuples.mining_interval": 2,
    "places.batch_places": 2,
    "places.min_images": 2,
}
SMOKE_SYNTHETIC = {  # the tiny drive's images are 12 m apart
    "dataset.name": "synthetic/tiny",
    "model.stage": "conv2",  # compiling a deep network takes longer than all else
    "model.projection": 0,  # a PCA start needs more training images than the tiny drive has
    "tuples.positive_radius": 10.0,
    "tuples.negative_radius": 25.0,
    "tuples.other_visit_seconds": 0.0,
    "places.cell": 10.0,
    "eval.batch": 24,
}
CORRIDOR = "places_csv/corridor"
ABROAD = ("eval.other_datasets", "eval.other_tolerances")  # keys that a finished run may gain
DATASETS = ("robotcar", "cold", "synthetic", "nordland", "corridor")
STUDIES = ("paper", "heads")
# Released models' heads on the one backbone whose whole real weights are at hand, CosPlace's first, and the
# map as it is, for cameras that keep their course.
HEADS = ("gem_linear", "mixvpr", "salad", "flatten")
HEADS_STUDY = (("multi_similarity", "triplet"), HEADS, ("mobilenetv2",))
# The town's config starts from random weights, which ask for a higher rate and for their own statistics.
PRETRAINED_TOWN = {"model.batch_norm": "frozen", "optim.learning_rate": 3e-4}
# Keys that differ between the runs of a grid, and the flag that chooses among their values.
OWN = {
    "seed": "--seeds",
    "loss.name": "--cells",
    "model.pooling": "--cells",
    "model.backbone": "--cells",
    "baseline.name": "--baselines",
}


@dataclasses.dataclass(frozen=True)
class Settings:
    """The command line's settings.

    Attributes:
      dataset: one of `DATASETS`.
      runs: folder of all grids.
      seeds: of training.
      smoke: whether runs are tiny; they show that everything works and measure nothing.
      weights: folder of pretrained weights, or None.
      images: folder of `nordland/` and `corridor/`, or None.
      changes: config keys of every run over the grid's own, e.g. `("tuples.mining", "random")`.
      others: prepared datasets that every run is measured on besides its own.
      study: one of `STUDIES`; "heads" has a folder of its own.
    """

    dataset: str
    runs: pathlib.Path
    seeds: tuple[int, ...]
    smoke: bool
    weights: pathlib.Path | None
    images: pathlib.Path | None
    changes: tuple[tuple[str, object], ...] = ()
    others: tuple[str, ...] = ()
    study: str = STUDIES[0]

    @property
    def folder(self) -> pathlib.Path:
        """The folder of this grid's runs, tables and page; a changed grid has its own."""
        kept = [(key, value) for key, value in self.changes if key != "dataset.data_dir"]
        marks = "".join(f"+{key}={value}".replace("/", "_") for key, value in kept)
        if len(marks.encode()) > LONGEST_MARKS:
            marks = "+" + hashlib.sha256(marks.encode()).hexdigest()[:16]
        study = "" if self.study == STUDIES[0] else f"-{self.study}"
        return self.runs / (self.dataset + study + "-smoke" * self.smoke + marks)


@dataclasses.dataclass(frozen=True)
class Job:
    """One run of the grid.

    Attributes:
      name: `backbone-pooling-loss`.
      seed: of training.
      workdir: its folder.
      config: the config that its results must hold.
      words: the command's words after `python`.
      steps: training steps; 0 for an evaluation.
    """

    name: str
    seed: int
    workdir: pathlib.Path
    config: dict
    words: tuple[str, ...]
    steps: int

    @property
    def results(self) -> pathlib.Path:
        """The file that a finished run writes."""
        return self.workdir / "results.json"

    def finished(self) -> bool:
        """Whether the results exist, with those of all other datasets that this grid asks for.

        Raises:
          ConfigError: the folder holds a damaged file, or a run of another config, finished or not.
        """
        lacking = False
        for path, keys in (
            (self.results, ("provenance", "config")),
            (self.workdir / "config.json", ()),
        ):
            if not path.exists():
                continue
            try:
                found = checksum.unseal(path.read_text(encoding="utf-8"))
                for key in keys:
                    found = found[key]
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise ConfigError(
                    f"{path} cannot be read ({type(error).__name__}: {error}): remove {self.workdir} to "
                    "run it anew"
                ) from error
            lacking |= self._check_same(found, path) and path == self.results
        return self.results.exists() and not lacking

    def _check_same(self, found: dict, path: pathlib.Path) -> bool:
        """Whether other datasets that this grid asks for differ.

        Raises ConfigError where another key differs; the folders of data and weights may differ.
        """
        lacking = False
        for key, (was, now) in changes.differences(found, self.config).items():
            moved = key == "model.weights" and _name(was) == _name(now)
            if key in ABROAD:
                lacking |= bool(now)
            elif not (moved or key == "dataset.data_dir"):
                raise ConfigError(
                    f"{path} has {key}={was!r}, this grid {now!r}: remove {self.workdir} to run it "
                    "anew, or name another --runs"
                )
        return lacking

    def note_config(self) -> None:
        """Writes `config.json`, which identifies a cut run."""
        self.workdir.mkdir(parents=True, exist_ok=True)
        write_atomically(self.workdir / "config.json", json.dumps(self.config, indent=1) + "\n")


def _name(path: str | None) -> str:
    return pathlib.PurePath(path or "").name


def change(text: str) -> tuple[str, object]:
    """Key and value of `"optim.ema=0.99"`; a value that is no Python literal is a text.

    Raises:
      ConfigError: there is no `=`, or the key differs between the grid's runs.
    """
    key, sign, value = text.partition("=")
    if not sign:
        raise ConfigError(f"--set {text}: must be KEY=VALUE, e.g. --set tuples.mining=random")
    if key in changes.RENAMED:
        log(f"config key {key} is now {changes.RENAMED[key]}")
        key = changes.RENAMED[key]
    if key in OWN:
        raise ConfigError(f"--set {text}: a grid has several; choose with {OWN[key]}")
    try:
        return key, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return key, value


def of_dataset(dataset: str, study: str = STUDIES[0]) -> list[Cell]:
    """The paper's 12 cells in its order, or those of another study."""
    real = dataset in ("nordland", "corridor")
    losses, heads = ("triplet", "contrastive", "arcface"), ("gem", "netvlad")
    backbones = REAL_BACKBONES if real else PAPER_BACKBONES
    if study == "heads":
        losses, heads, backbones = HEADS_STUDY
    return [Cell(*names) for names in itertools.product(losses, heads, backbones)]


def name_of(cell: Cell) -> str:
    """The cell's folder."""
    return f"{cell.backbone}-{cell.pooling}-{cell.loss}"


def training_jobs(settings: Settings) -> list[Job]:
    """All runs that train, seed by seed; Corridor's are Nordland's."""
    if settings.dataset == "corridor":
        settings = dataclasses.replace(settings, dataset="nordland")
    return [
        _training_job(settings, cell, seed)
        for seed in settings.seeds
        for cell in of_dataset(settings.dataset, settings.study)
    ]


def _training_job(settings: Settings, cell: Cell, seed: int) -> Job:
    workdir = settings.folder / name_of(cell) / f"seed{seed}"
    names = f"{cell.backbone},{cell.pooling},{cell.loss}"
    overrides = _overrides(settings, cell.backbone) | {"seed": seed}
    config = config_of(settings.dataset, names, overrides)
    file = os.path.relpath(ROOT / f"configs/{settings.dataset}.py")
    words = ["-m", "vprjax.main", f"--config={file}:{names}", f"--workdir={workdir}"]
    words += [f"--config.{key}={value}" for key, value in overrides.items()]
    return Job(
        name_of(cell), seed, workdir, config.to_dict(), tuple(words), int(config.train.steps)
    )


def corridor_jobs(settings: Settings, trained: list[Job]) -> list[Job]:
    """One evaluation of every model trained on Nordland."""
    data_dir = str(settings.runs / "datasets")
    changes = {key: value for key, value in settings.changes if key.startswith("eval.")}
    own = config_of("corridor", "", {"dataset.data_dir": data_dir} | changes)
    file = os.path.relpath(ROOT / "configs/corridor.py")
    jobs = []
    for job in trained:
        workdir = settings.folder / job.name / f"seed{job.seed}"
        config = {**job.config, "dataset": own.dataset.to_dict(), "eval": own.eval.to_dict()}
        words = ["-m", "vprjax.main", "--mode=evaluate", f"--checkpoint={job.workdir}"]
        words += [
            f"--workdir={workdir}",
            f"--config={file}",
            f"--config.dataset.data_dir={data_dir}",
            *(f"--config.{key}={value}" for key, value in changes.items()),
        ]
        jobs.append(Job(job.name, job.seed, workdir, config, tuple(words), 0))
    return jobs


def config_of(dataset: str, names: str, overrides: dict) -> ConfigDict:
    """The config of `configs/DATASET.py:names` with `overrides`; raises ConfigError for an unknown key."""
    config = importlib.import_module(f"configs.{dataset}").get_config(names)
    try:
        config.update_from_flattened_dict(overrides)
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"--set: {' '.join(str(error.args[0]).split())}") from error
    return config


def _overrides(settings: Settings, backbone: str) -> dict:
    """The config keys that this grid sets over the dataset's config file."""
    out = data_of(settings) | weighted(settings, backbone)
    if settings.dataset == "synthetic" and settings.study == "heads":
        out |= PRETRAINED_TOWN
    if settings.smoke:
        out |= SMOKE
        out |= SMOKE_SYNTHETIC if settings.dataset == "synthetic" else {}
    if settings.others:
        own = config_of("corridor", "", {}).dataset.tolerances
        out["eval.other_datasets"] = settings.others
        out["eval.other_tolerances"] = tuple(own if x == CORRIDOR else () for x in settings.others)
    return out | dict(settings.changes)


def data_of(settings: Settings) -> dict:
    """The config keys of the data that this grid builds by itself."""
    out = {}
    if settings.dataset in ("synthetic", "nordland", "corridor"):
        out["dataset.data_dir"] = str(settings.runs / "datasets")
    if settings.dataset == "synthetic":
        name = "tiny" if settings.smoke else COLD_COUNTS["name"]
        out["dataset.name"] = f"synthetic/{name}"
    return out


def weighted(settings: Settings, backbone: str) -> dict:
    """The config keys of a backbone's weights; {} for random values. Raises ConfigError where one lacks."""
    weights = _weights(settings, backbone)
    if not weights:
        return {}
    partial = pathlib.PurePath(weights).name == WEIGHTS["real"]["vgg16"]
    return {"model.weights": weights} | (PARTIAL_VGG16 if partial else {})


def _weights(settings: Settings, backbone: str) -> str:
    """Path of a backbone's weights, or "" for random values (the paper's synthetic grid, smoke without).

    Raises:
      ConfigError: the grid needs weights that are missing.
    """
    own = settings.study == "heads"
    random = settings.dataset == "synthetic" and not own
    if random or (settings.smoke and settings.weights is None):
        return ""
    names = WEIGHTS["real" if own or settings.dataset in ("nordland", "corridor") else "paper"]
    names = {name: names[name] for name in names if not own or name in HEADS_STUDY[2]}
    if settings.weights is None:
        raise ConfigError(
            f"--dataset={settings.dataset} starts from pretrained weights: name the folder of "
            f"{' and '.join(names.values())} with --weights"
        )
    if backbone not in names:
        raise ConfigError(f"--dataset={settings.dataset} has no weights of {backbone}")
    path = settings.weights / names[backbone]
    if not path.is_file():
        raise ConfigError(f"--weights={settings.weights} holds no {path.name}")
    return str(path)
