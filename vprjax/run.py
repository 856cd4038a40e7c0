"""The two jobs of the command line: train and evaluate, or evaluate a checkpoint."""

import dataclasses
import pathlib
import shutil

import ml_collections

from vprjax import models
from vprjax.config import changes
from vprjax.console import log
from vprjax.data import protocol
from vprjax.descriptors.extraction import Extractor
from vprjax.errors import ConfigError, DataError
from vprjax.evaluation import baseline, blend, collapse, evaluate
from vprjax.evaluation.elsewhere import Elsewhere
from vprjax.localize import calibrate, calibration
from vprjax.localize.load import load
from vprjax.report import result_files
from vprjax.report.provenance import evaluation_provenance, load_code
from vprjax.runtime import parallel
from vprjax.storage.checkpoint import open_for_reading
from vprjax.storage.json_lines import read_rows
from vprjax.storage.workdir import hold_workdir, make_workdir
from vprjax.training import begin, keep, loop, preflight
from vprjax.training.beside import Beside, find_beside, settled_blend, with_validation
from vprjax.training.validation import History, doubts
from vprjax.weights.initialise import random_head

LAST = (
    "code_version",
    "steps",
    "blend",
    "trained_with",
    "warnings",
)  # of the provenance, in this order


def train_and_evaluate(config, workdir: pathlib.Path) -> dict:
    """Trains (or resumes) in `workdir`, evaluates both models, writes and prints the results.

    Without query splits it trains alone: a dataset to train on may have no queries.

    Raises:
      VprjaxError: the config, a file or the training is wrong, or SIGTERM ended the run.
    """
    if config is None:
        raise ConfigError("--config is missing, e.g. --config=configs/synthetic.py")
    code = load_code()
    config = keep.worthwhile(config)
    ready = preflight.check_training(config, workdir)
    dataset = ready.dataset
    trained = dataset, tuple(config.dataset.train_splits)
    beside = find_beside(config, dataset, trained, workdir, 2, ready.besides)
    if config.eval.blend == blend.AUTO:
        held_out = ready.data.held_out
        beside = dataclasses.replace(beside, held_out=(held_out.queries, held_out.references))
    make_workdir(workdir)
    provenance = {
        "weights_sha256": ready.weights_sha256,
        "trained_on": f"{dataset.name}:{dataset.version}",
    }
    with hold_workdir(workdir):
        loop.train(config, ready.data, workdir, ready.weights, provenance)
        results = {}
        if config.dataset.query_splits:
            reader = open_for_reading(workdir)
            results = evaluate_models(config, ready, beside, reader, workdir, code)
        else:
            _blend_alone(config, beside, workdir)
            log(
                "dataset.query_splits is empty, so nothing is evaluated; evaluate the model on another "
                f"dataset: python -m vprjax.main --mode=evaluate --checkpoint={workdir} --config=CONFIG "
                "--workdir=ANOTHER"
            )
        if ready.data.held_out:
            _calibrate(config, ready.data, workdir)
        return results


def evaluate_checkpoint(checkpoint: str | None, config, workdir: pathlib.Path) -> dict:
    """Evaluates a trained run's models, on its own dataset or on that of `config`.

    Without a checkpoint it evaluates the model of `config.model.weights` as it is.

    Raises:
      VprjaxError: the config or a file is wrong.
    """
    if config is not None and config.baseline.name:
        if checkpoint:
            raise ConfigError(
                f"--checkpoint={checkpoint} is a trained model, baseline.name={config.baseline.name!r} "
                "none: drop one"
            )
        return evaluate_baseline(config, workdir)
    if not checkpoint:
        return evaluate_untrained(config, workdir)
    checkpoints = open_for_reading(pathlib.Path(checkpoint).expanduser())
    saved = checkpoints.config(max(checkpoints.steps()))["config"]
    trained = ml_collections.ConfigDict(changes.completed(saved))
    own, trained_on = trained.copy_and_resolve_references(), trained.dataset
    if config is not None:
        trained.dataset, trained.eval = config.dataset, config.eval
    code = load_code()
    count = 1 + (0 in checkpoints.steps())
    ready = preflight.check_checkpoint(trained, workdir, trained_on, count)
    blend.check_starts(checkpoints, blend.asked(trained).runs)
    home = preflight.trained_on_images(trained, ready.dataset, trained_on)
    beside = find_beside(trained, ready.dataset, home, workdir, count, ready.besides)
    if trained.eval.blend == blend.AUTO:
        beside = with_validation(beside, trained, own)
    make_workdir(workdir)
    with hold_workdir(workdir):
        return evaluate_models(trained, ready, beside, checkpoints, workdir, code)


def evaluate_untrained(config, workdir: pathlib.Path) -> dict:
    """Evaluates the model of `config.model.weights` as it is; the dataset may have nothing to train on.

    A head that starts from images takes those of the training splits, or the references without any.

    Raises:
      VprjaxError: the config or a file is wrong.
    """
    if config is None or not config.model.weights:
        raise ConfigError(
            "--mode=evaluate needs --checkpoint, the workdir of a trained run, or --config with "
            "config.model.weights, a file of weights that it evaluates as they are"
        )
    code = load_code()
    ready = preflight.check_untrained(config, workdir)
    beside = find_beside(config, ready.dataset, (ready.dataset, ()), workdir, 1)
    make_workdir(workdir)
    places = baseline.training_images(config, ready.dataset)
    provenance = {"weights_sha256": ready.weights_sha256, "trained_on": "", "steps": 0}
    provenance |= {"code_version": code, "trained_with": config.to_dict()}
    doubts = [*ready.warnings, *beside.warnings]
    if words := random_head(config.model, ready.weights):
        log(f"warning: {words}")
        doubts.append(words)
    if doubts:
        provenance["warnings"] = doubts
    with hold_workdir(workdir):
        variables, notes = begin.untrained_variables(config, places, ready.weights)
        provenance["start"] = "; ".join(notes)
        measured = config, _extractor(config), variables, "off_the_shelf", workdir
        found, provenance["cost"] = evaluate.with_cost(*measured, ready.dataset)
        others = _abroad(beside.others, measured)
        results = {"off_the_shelf": found}
        return _write(config, ready.dataset, workdir, None, results, provenance, others)


def evaluate_baseline(config, workdir: pathlib.Path) -> dict:
    """Evaluates the method of `config.baseline.name`, fit to the training splits or else the references.

    Raises:
      VprjaxError: the config or a file is wrong.
    """
    code = load_code()
    ready = preflight.check_baseline(config, workdir)
    make_workdir(workdir)
    with hold_workdir(workdir):
        found, cost, notes = baseline.run(config, workdir, ready.dataset)
        provenance = {"weights_sha256": "none", "trained_on": "", "steps": 0, "cost": cost}
        provenance |= {"code_version": code, "trained_with": config.to_dict()}
        if warnings := [*ready.warnings, *notes]:
            provenance["warnings"] = warnings
        results = {baseline.NAME: found}
        return _write(config, ready.dataset, workdir, None, results, provenance)


def evaluate_models(
    config, ready: preflight.Ready, beside: Beside, checkpoints, workdir: pathlib.Path, code: str
) -> dict:
    """Evaluates the untrained and the chosen model of a run; writes and prints the results.

    Args:
      config: the whole config.
      ready: the evaluated dataset, and warnings on its data.
      beside: what it reads besides.
      checkpoints: the run's checkpoints, open for reading.
      workdir: an existing folder, held by this run.
      code: version of the code that the run began with.

    Returns:
      the results by model, "off_the_shelf" and, after at least one step, "fine_tuned".
    """
    dataset = ready.dataset
    extract = _extractor(config)
    saved = checkpoints.config(max(checkpoints.steps()))
    chosen = _chosen(checkpoints, History(0, saved.get("validations", [])))
    results, others, blended = {}, beside.others, blend.Blend()
    for model, step in {"off_the_shelf": 0, "fine_tuned": chosen}.items():
        if step not in checkpoints.steps():
            log(f"{checkpoints.folder / str(step)} is gone: the results are without {model}")
        elif step or model == "off_the_shelf":  # no step was taken: there is no second model
            if step:
                blended = settled_blend(config, beside, extract, checkpoints, workdir)
                variables = blend.taken(checkpoints, blended)
            else:
                variables = checkpoints.restore_model(step)
            measured = config, extract, variables, model, workdir
            results[model] = evaluate.evaluate(*measured, dataset)
            others = _abroad(others, measured)
    provenance = {
        **saved["provenance"],
        "steps": chosen,
        "code_version": code,
        "trained_with": saved["config"],
    }
    if not blended.whole:
        provenance["blend"] = blended.to_json()
    trained_in = checkpoints.folder.parent
    if doubts := [*ready.warnings, *beside.warnings, *_doubts(config, trained_in, saved)]:
        provenance["warnings"] = doubts
    checkpoints.close()
    return _write(config, dataset, workdir, trained_in, results, provenance, others)


def _blend_alone(config, beside: Beside, workdir: pathlib.Path) -> None:
    """Settles the blend of a run that nothing evaluates, which calibration and `vprjax.load` take."""
    checkpoints = open_for_reading(workdir)
    if config.eval.blend != blend.OFF and checkpoints.chosen():
        settled_blend(config, beside, _extractor(config), checkpoints, workdir)
    checkpoints.close()


def _abroad(others: tuple[Elsewhere, ...], measured: tuple) -> tuple[Elsewhere, ...]:
    """The other datasets with the results of one more model; `measured` is what `evaluate` takes first."""
    name = measured[3]
    return tuple(
        dataclasses.replace(
            other, results={**other.results, name: evaluate.abroad(*measured, other)}
        )
        for other in others
    )


def _calibrate(config, data: preflight.TrainingData, workdir: pathlib.Path) -> None:
    """Writes `calibration.json`: which of the model's answers are right.

    A held-out segment is a short map; images that remain in training make it as large as a real one.
    """
    asked, known = data.held_out.queries, data.held_out.references
    segment = not config.validation.query_split
    others = calibrate.other_places(data.home, config.seed) if segment else None
    try:
        found = calibrate.of_places(
            load(workdir), asked, known, protocol.radius(config), others=others
        )
    except DataError as error:
        log(f"no calibration: {error}")
        return
    if parallel.is_primary():
        found.write(workdir / calibration.FILE)
    log(f"calibrated on the held-out images: {found.words(config.dataset.position_unit)}")


def _extractor(config) -> Extractor:
    """Returns the extractor of the config's model."""
    module = models.build_for_platform(config.model, parallel.AXIS)
    return Extractor(module.apply, config.eval.batch)


def _write(
    config, dataset, workdir, trained_in, results: dict, provenance: dict, others=()
) -> dict:
    """Writes and prints the results, which it returns; `trained_in` is a trained run's workdir, or None."""
    provenance = {
        **{name: provenance[name] for name in provenance if name not in LAST},
        **evaluation_provenance(config, dataset),
        **{name: provenance[name] for name in LAST if name in provenance},
    }
    parallel.barrier("evaluated")
    if parallel.is_primary():
        from vprjax.report import run_page

        page = run_page.page(trained_in, config, dataset, results, provenance, others)
        more = {run_page.FILE: page}
        result_files.write(workdir, config, dataset, results, provenance, others, more)
        if not config.eval.keep_descriptors:
            shutil.rmtree(workdir / "descriptors", ignore_errors=True)
        print((workdir / "results.md").read_text(encoding="utf-8"))
    log(f"results in {workdir}")
    return results


def _doubts(config, trained_in: pathlib.Path, saved: dict) -> list[str]:
    """Returns sentences on an unsound training, or a choice by other descriptors; logs each."""
    found = [
        *collapse.training_doubts(
            read_rows(trained_in / "metrics.jsonl"), config.optim.learning_rate
        ),
        *doubts(config, saved.get("validations", [])),
    ]
    for words in found:
        log(f"warning: {words}")
    return found


def _chosen(checkpoints, history: History) -> int:
    """Returns the step that evaluation takes; logs where the best validated one is gone."""
    chosen, best = checkpoints.chosen(), history.best
    if best not in (None, chosen):
        log(
            f"{checkpoints.folder / str(best)}, which validated best, is gone: step {chosen} is evaluated"
        )
    return chosen
