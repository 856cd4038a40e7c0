"""Other prepared datasets that a model is measured on besides its own: which splits and tolerances count.

A name is enough. The dataset says the rest, in this order:

- splits: those of its own lists of right answers; else `reference`, and as queries every split whose name
  does not begin with `train` and that training did not read, for keep images neither;
- tolerances: those of the config; else 0 where it lists right answers; else the radius of its protocol;
  else `dataset.tolerances` where positions have the same unit; else `METRES` where they are in metres;
- headings: those of its protocol; else `eval.heading_degrees` where all its images have a heading, else 0.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from vprjax.config import checks
from vprjax.data import protocol, rendered, source
from vprjax.data.named import Named
from vprjax.errors import ConfigError, DataError
from vprjax.evaluation import change
from vprjax.evaluation.change import Change
from vprjax.evaluation.result import Results

METRES = (25.0, 10.0, 5.0, 2.0)  # the paper's, outdoors
REFERENCE = "reference"
# The key of a name, by the key of its tolerances.
NAMES = {
    "eval.other_tolerances": "eval.other_datasets",
    "eval.keep_tolerances": "eval.keep_dataset",
}
Trained = tuple[source.Dataset, tuple[str, ...]]  # a dataset and its splits that a model trained on


@dataclasses.dataclass(frozen=True)
class Elsewhere:
    """A dataset that the model did not train on.

    Attributes:
      config: the whole config, with this dataset's own section and way to count.
      dataset: the open dataset.
      results: by model and query split; empty before the evaluation.
    """

    config: object
    dataset: source.Dataset
    results: Results = dataclasses.field(default_factory=dict)

    @property
    def name(self) -> str:
        """`builder/config:version`."""
        return f"{self.dataset.name}:{self.dataset.version}"

    @property
    def folder(self) -> str:
        """The name as part of file names; no split's name holds a `+`."""
        return self.dataset.name.replace("/", "+")

    def changes(self) -> dict[str, dict[str, Change]]:
        """By query split and tolerance, from the first model to the last."""
        return changes(self.config, self.results)


def changes(config, results: Results) -> dict[str, dict[str, Change]]:
    """By query split and tolerance, what changed from the first model to the last."""
    return {
        split: change.of_results(
            {model: found[split] for model, found in results.items()}, config.dataset.tolerances
        )
        for split in config.dataset.query_splits
    }


def find(config, trained: Trained, besides: Sequence[Named] = ()) -> tuple[Elsewhere, ...]:
    """Opens `eval.other_datasets`; builds missing rendered ones.

    `besides` are the splits of further datasets that training read.

    Raises:
      ConfigError: a dataset is named twice or is the evaluated one, or nothing says its tolerances,
        or they do not suit it.
      DataError: a dataset is missing, or has no references or queries.
    """
    e = config.eval
    tolerances = e.other_tolerances or ((),) * len(e.other_datasets)
    pairs = zip(e.other_datasets, tolerances, strict=True)
    seen = trained, besides
    return tuple(opened(config, name, own, seen, "eval.other_tolerances") for name, own in pairs)


def keep_set(config, trained: Trained, besides: Sequence[Named] = ()) -> Elsewhere | None:
    """Opens `eval.keep_dataset`, on which `eval.blend='auto'` chooses; None without one.

    Raises:
      ConfigError, DataError: as in `find`; or no query has a position.
    """
    e = config.eval
    if e.blend != "auto" or not e.keep_dataset:
        return None
    seen = trained, besides
    found = opened(config, e.keep_dataset, e.keep_tolerances, seen, "eval.keep_tolerances")
    answerable(found)
    return found


def answerable(keep: Elsewhere) -> list[str]:
    """The query splits of a keep set whose queries can be right or wrong.

    Raises:
      ConfigError: there is none.
    """
    listed = protocol.listed(keep.dataset)
    found = [
        split
        for split in keep.config.dataset.query_splits
        if listed or len(keep.dataset.places((split,)).located)
    ]
    if not found:
        raise ConfigError(
            f"eval.keep_dataset={keep.name}: no query has a position, so nothing is right or wrong; name "
            "another"
        )
    return found


def opened(
    config, name: str, tolerances, seen: tuple[Trained, Sequence[Named]], key: str
) -> Elsewhere:
    """Opens one dataset; `seen` is what training read, and `key` the config key of its tolerances.

    Raises:
      ConfigError, DataError: as in `find`.
    """
    own = config.copy_and_resolve_references()
    own.dataset.update(name=name, train_splits=())
    rendered.build_missing(own)
    try:
        dataset = source.open_dataset(own)
    except DataError as error:
        raise DataError(source.under_key(error, NAMES[key])) from error
    reference, queries = _splits(dataset, *seen)
    own.dataset.update(reference_split=reference, query_splits=queries)
    own.dataset.position_unit = dataset.metadata.get("position_unit") or own.dataset.position_unit
    own.dataset.tolerances = _tolerances(config, own, dataset, tolerances, key)
    named = dataset.metadata.get("protocol") or {}
    own.eval.update(
        other_datasets=(),
        other_tolerances=(),
        recalls=_recalls(config, dataset.counts[reference]),
        recall_radius=float(named.get("radius") or 0.0),
        heading_degrees=_heading(config, dataset, named, (reference, *queries)),
        pca=0,  # its own images fit none: the model's projection, fit at home, follows the model
        pca_whiten=False,
        sequence_length=0,
        rerank=min(config.eval.rerank, dataset.counts[reference]),  # all of them put in order
    )
    try:
        checks.check_splits(own, dataset, training=False)
    except ConfigError as error:
        raise ConfigError(f"{dataset.name}, measured beside another: {error}") from error
    protocol.check_lists(own, dataset)
    return Elsewhere(own, dataset)


def _splits(
    dataset: source.Dataset, trained: Trained, besides: Sequence[Named]
) -> tuple[str, tuple[str, ...]]:
    """The reference split and the query splits."""
    listed = dataset.metadata.get("positives") or {}
    if listed:
        first = next(iter(listed.values()))["reference"]
        return first, tuple(q for q, found in listed.items() if found["reference"] == first)
    home, trained_on = trained
    seen = {*trained_on} if home.name == dataset.name else set()
    seen |= {x for part in besides if part.dataset.name == dataset.name for x in part.splits}
    queries = tuple(
        name
        for name, count in dataset.counts.items()
        if count and name != REFERENCE and not name.startswith("train") and name not in seen
    )
    if not dataset.counts.get(REFERENCE) or not queries:
        have = ", ".join(f"{k} ({v})" for k, v in dataset.counts.items())
        raise DataError(
            f"dataset {dataset.folder} needs a split {REFERENCE!r} and a split of queries (any name that "
            "does not begin with 'train', of images that training does not read) to be measured beside "
            f"another; it has {have}"
        )
    return REFERENCE, queries


def _tolerances(
    config, own, dataset: source.Dataset, given: Sequence[float], key: str
) -> tuple[float, ...]:
    if protocol.listed(dataset):
        if tuple(given) not in ((), (0.0,)):
            raise ConfigError(
                f"{dataset.name} lists its right answers, where no distance counts: give it no tolerances "
                f"in {key}, not {tuple(given)}"
            )
        return (0.0,)
    if given:
        return tuple(given)
    named, unit = dataset.metadata.get("protocol") or {}, own.dataset.position_unit
    if named.get("radius"):
        return (float(named["radius"]),)
    if unit == config.dataset.position_unit:
        return tuple(config.dataset.tolerances)
    if unit == "m":
        return METRES
    raise ConfigError(
        f"positions of {dataset.name} are in {unit}, dataset.tolerances are in "
        f"{config.dataset.position_unit}: give its own tolerances in {key}"
    )


def _recalls(config, references: int) -> tuple[int, ...]:
    return tuple(n for n in config.eval.recalls if n <= references) or (1,)


def _heading(config, dataset: source.Dataset, named: dict, splits: tuple[str, ...]) -> float:
    if protocol.listed(dataset):
        return 0.0
    if "heading_degrees" in named:
        return float(named["heading_degrees"])
    every = dataset.places(splits)
    known = np.isfinite(every.headings[every.located]).all()
    return config.eval.heading_degrees if known else 0.0
