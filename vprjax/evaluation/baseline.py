"""Evaluation of a baseline: fitted to training images, then measured as every model is."""

import hashlib
import json
import pathlib
import time
from collections.abc import Iterator

import numpy as np

from vprjax.console import log
from vprjax.data import source
from vprjax.errors import ConfigError
from vprjax.evaluation import evaluate, sequence
from vprjax.evaluation.measure import Ranked, Search
from vprjax.evaluation.result import Result
from vprjax.retrieval.baselines import BASELINES, Baseline, Facts
from vprjax.retrieval.baselines.images import mapped
from vprjax.storage import checksum

NAME = "baseline"  # its key in `result.MODEL_NAMES`


def check(config, dataset: source.Dataset) -> None:
    """Checks a baseline's settings against the data, ahead of the first slow step.

    Raises:
      ConfigError: a setting does not fit.
    """
    settings, found = config.baseline[config.baseline.name], BASELINES[config.baseline.name]
    for sentence in found.objections(settings, _facts(config, dataset)):
        raise ConfigError(sentence)


def _facts(config, dataset: source.Dataset) -> Facts:
    d = config.dataset
    height, width = dataset.places((d.reference_split,)).images([0]).shape[1:3]
    queries = min(dataset.counts[name] for name in d.query_splits)
    return Facts(dataset.counts[d.reference_split], queries, height, width)


def training_images(config, dataset: source.Dataset) -> source.Places:
    """What a baseline or a head is fit to: the training splits' images, or the references without any."""
    names = [name for name in config.dataset.train_splits if dataset.counts.get(name)]
    return dataset.places(tuple(names) or (config.dataset.reference_split,))


def learnt_elsewhere(config, dataset: source.Dataset) -> list[str]:
    """One sentence where a baseline learns from other images than `dataset.train_splits` names."""
    d = config.dataset
    lacking = [name for name in d.train_splits if not dataset.counts.get(name)]
    if d.train_splits and not lacking:
        return []
    if len(lacking) < len(d.train_splits):
        return [
            f"dataset.train_splits={tuple(d.train_splits)} names {lacking}, of which there are no images: "
            "the baseline learns from the other splits alone"
        ]
    return [
        f"the baseline learns from the references, split {d.reference_split!r}, as there are no images of "
        f"dataset.train_splits={tuple(d.train_splits)}"
    ]


def run(
    config, folder: pathlib.Path, dataset: source.Dataset
) -> tuple[dict[str, Result], dict, list[str]]:
    """Fits the config's baseline and measures it on every query split.

    Args:
      config: the whole config, whose `baseline.name` is set.
      folder: the workdir.
      dataset: the evaluated dataset.

    Returns:
      the result per query split; its cost as `evaluate.of_descriptors` returns it, with `fit_seconds`; and
      sentences on settings and fit that the result repeats.

    Raises:
      ConfigError: the training images do not allow the fit.
    """
    method, settings = BASELINES[config.baseline.name], config.baseline[config.baseline.name]
    began = time.monotonic()
    log(f"fit {method.title}")
    doubts = method.doubts(settings, _facts(config, dataset))
    for sentence in doubts:
        log(f"warning: {sentence}")
    state, notes = method.fit(training_images(config, dataset), settings, config.seed)
    notes = [*(learnt_elsewhere(config, dataset) if state else []), *notes]
    fitted = time.monotonic() - began

    def each(image: np.ndarray) -> np.ndarray:
        return method.describe(image, state, settings)

    def stream(places: source.Places, words: str, first: int) -> Iterator[np.ndarray]:
        numbers = np.arange(first, len(places))
        for block in mapped(each, places, numbers, config.eval.batch, words):
            yield np.stack(block)

    described = evaluate.Descriptors(
        _fingerprint(config, state),
        lambda places: len(each(places.images([0])[0])),
        stream,
        searcher(method, state, settings) if method.matching else None,
        lambda split, rows: without(method.lacks, split, rows),
        method.bits,
    )
    results, cost = evaluate.of_descriptors(config, described, NAME, folder, dataset)
    return results, cost | {"fit_seconds": round(fitted, 1)}, [*doubts, *notes]


def _fingerprint(config, state: dict) -> str:
    """SHA-256 of a baseline's name, settings and state: equal digests mean equal descriptors."""
    name = config.baseline.name
    own = json.dumps([name, config.baseline[name].to_dict()], sort_keys=True)
    return hashlib.sha256((own + checksum.of_arrays(state)).encode()).hexdigest()


def without(what: str, split: str, rows: np.ndarray) -> list[str]:
    """One sentence where descriptors `(n, d)` of a split are all zero, as their images lack `what`."""
    blocks = (np.asarray(rows[at : at + 1024]) for at in range(0, len(rows), 1024))
    zero = sum(int((~block.any(axis=1)).sum()) for block in blocks)
    if not zero:
        return []
    return [
        f"{zero:,} of {len(rows):,} images of split {split!r} are without {what}, so their descriptors are "
        "zero and their answers chance; they count like all others"
    ]


def searcher(method: Baseline, state: dict, settings) -> Search:
    """The search by the method's own costs, sequences included; a first match's distance is its surety."""
    matching = method.matching

    def search(queries: np.ndarray, references: np.ndarray, k: int) -> Ranked:
        costs_of = matching.costs(references, state, settings)
        indices = np.empty((len(queries), k), np.int64)
        distances = np.empty((len(queries), k))
        for part, costs in sequence.costs(
            queries, costs_of, matching.length(settings), matching.speeds(settings)
        ):
            indices[part] = np.argsort(costs, axis=1, kind="stable")[:, :k]
            distances[part] = np.take_along_axis(costs, indices[part], axis=1)
            distances[part, 0] = matching.surety(costs, settings)
        return Ranked(indices, distances)

    return search
