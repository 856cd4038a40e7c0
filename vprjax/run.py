"""The two jobs of the command line: train and evaluate, or evaluate a checkpoint."""

import pathlib
import shutil
import subprocess
import sys

import ml_collections

from vprjax.config import changes, checks, limits
from vprjax.console import log
from vprjax.data import source
from vprjax.descriptors.extraction import Extractor
from vprjax.errors import ConfigError, DataError
from vprjax.evaluation import evaluate
from vprjax.report import result_files
from vprjax.report.provenance import evaluation_provenance, load_code
from vprjax.runtime import distributed, parallel
from vprjax.storage.checkpoint import open_for_reading
from vprjax.storage.workdir import hold_workdir, make_workdir
from vprjax.training import assemble, loop
from vprjax.training.validation import History
from vprjax.weights import pretrained

SYNTHETIC = "synthetic"  # The one dataset that needs no raw data: built when it is missing.


def train_and_evaluate(config, workdir: pathlib.Path) -> dict:
    """Trains (or resumes) in `workdir`, evaluates before and after, writes and prints the results."""
    if config is None:
        raise ConfigError("--config is missing, e.g. --config=configs/synthetic.py")
    checks.check_values(config)
    code = load_code()
    distributed.check_joined()
    dataset = _dataset(config, training=True)
    model, weights, fingerprint = config.model, None, "random"
    if model.weights:
        weights = pretrained.load(model.weights, model.backbone, partial=model.partial_weights)
        fingerprint = pretrained.fingerprint(model.weights)
    make_workdir(workdir)
    trained_on = f"{dataset.name}:{dataset.version}"
    provenance = {"weights_sha256": fingerprint, "trained_on": trained_on}
    with hold_workdir(workdir):
        limits.check_disk(config, assemble.model(model), dataset, workdir)
        loop.train(config, workdir, weights, provenance)
        return _evaluate(config, dataset, open_for_reading(workdir), workdir, code)


def evaluate_checkpoint(checkpoint: str | None, config, workdir: pathlib.Path) -> dict:
    """Evaluates a trained run's models, on its own dataset or on the one of `config`."""
    if not checkpoint:
        raise ConfigError("--mode=evaluate needs --checkpoint, the workdir of a trained run")
    checkpoints = open_for_reading(pathlib.Path(checkpoint).expanduser())
    saved = checkpoints.config(max(checkpoints.steps()))["config"]
    trained = ml_collections.ConfigDict(changes.completed(saved))
    trained_dataset = trained.dataset.name
    if config is not None:
        trained.dataset, trained.eval = config.dataset, config.eval
    checks.check_values(trained, trained_dataset)
    code = load_code()
    distributed.check_joined()
    dataset = _dataset(trained, training=False)
    if trained.eval.pca:
        places = source.load(trained, tuple(trained.dataset.train_splits))
        limits.check_pca(trained, assemble.model(trained.model), places)
    make_workdir(workdir)
    with hold_workdir(workdir):
        models = 1 + (0 in checkpoints.steps())
        limits.check_disk(trained, assemble.model(trained.model), dataset, workdir, models)
        return _evaluate(trained, dataset, checkpoints, workdir, code)


def _dataset(config, training: bool) -> source.Dataset:
    """The config's dataset; the synthetic one is built on the way if it is missing.

    The two packages never import each other: the builder is run as a user would run it.
    """
    builder, name, _ = source.split_name(config.dataset.name)
    if builder == SYNTHETIC and parallel.any_process(source.find(config) is None):
        status = _build_synthetic(config, name) if parallel.is_primary() else 0
        if parallel.from_first(status):
            raise DataError(f"building dataset {config.dataset.name} failed; see the lines above")
    dataset = source.describe(config)
    checks.check_splits(config, dataset, training)
    unit, said = dataset.metadata.get("position_unit"), config.dataset.position_unit
    if unit and unit != said:
        log(
            f"warning: positions of {dataset.name} are in {unit}, dataset.position_unit is {said!r}: "
            f"radii and tolerances count {unit}, and what is printed says {said}"
        )
    return dataset


def _build_synthetic(config, name: str) -> int:
    """The builder's exit status."""
    command = [sys.executable, "-m", "tfds_builders", "build", SYNTHETIC]
    command += [f"--data_dir={source.data_dir(config)}"] + ([f"--config={name}"] if name else [])
    log(f"dataset {config.dataset.name} is missing; build it: {' '.join(command)}")
    return subprocess.run(command, check=False).returncode


def _evaluate(config, dataset, checkpoints, workdir: pathlib.Path, code: str) -> dict:
    extract = Extractor(assemble.model(config.model).apply, config.eval.batch)
    saved = checkpoints.config(max(checkpoints.steps()))
    chosen = _chosen(checkpoints, History(0, saved.get("validations", [])))
    results = {}
    for model, step in {"off_the_shelf": 0, "fine_tuned": chosen}.items():
        if step not in checkpoints.steps():
            log(f"{checkpoints.folder / str(step)} is gone: the results are without {model}")
        else:
            variables = checkpoints.restore_model(step)
            results[model] = evaluate.evaluate(config, extract, variables, model, workdir, dataset)
    provenance = {
        **saved["provenance"],
        **evaluation_provenance(config, dataset),
        "code_version": code,
        "steps": chosen,
        "trained_with": saved["config"],
    }
    checkpoints.close()
    parallel.barrier("evaluated")
    if parallel.is_primary():
        from vprjax.report import run_page

        trained_in = checkpoints.folder.parent
        run_page.write(workdir, trained_in, config, dataset, results, provenance)
        result_files.write(
            workdir, config, dataset, results, provenance
        )  # last: results.json ends a run
        if not config.eval.keep_descriptors:
            shutil.rmtree(workdir / "descriptors", ignore_errors=True)
        print((workdir / "results.md").read_text(encoding="utf-8"))
    log(f"results in {workdir}")
    return results


def _chosen(checkpoints, history: History) -> int:
    """The step that validated best of those whose checkpoint is there; the last where none did."""
    steps, best = checkpoints.steps(), history.best
    found = history.best_of(steps)
    chosen = max(steps) if found is None else found
    if best not in (None, chosen):
        log(
            f"{checkpoints.folder / str(best)}, which validated best, is gone: step {chosen} is evaluated"
        )
    return chosen
