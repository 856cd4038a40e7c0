"""FCM of many runs by model, query split, tolerance and seed: means, intervals, paired differences."""

import collections
import dataclasses
import math
import pathlib
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from configs import base
from vprjax.config.changes import completed, differences
from vprjax.errors import DataError
from vprjax.report.published import Cell, Study
from vprjax.storage import checksum

OFF_THE_SHELF = "off_the_shelf"  # in a loss's place: the model before training
PROJECTED = "off_the_shelf_projected"  # the same behind a projection, with other descriptors
UNTRAINED = (OFF_THE_SHELF, PROJECTED)
POOLINGS = ("gem", "netvlad")
CONFIDENCE = 0.95
CELL_KEYS = (("loss", "name"), ("model", "pooling"), ("model", "backbone"))  # of `Cell`'s parts
FACTS = ("weights_sha256", "trained_on")  # provenance that all runs of a model share
EVAL_KEYS = (
    "pca",
    "pca_whiten",
    "standardise",
    "query_expansion",
    "database_augmentation",
    "expansion_power",
    "heading_degrees",
    "rerank",
    "rerank_bits",
    "descriptor_dtype",
    "blend",
    "blend_runs",
    "blend_weights",
    "keep_dataset",
    "keep_tolerances",
)  # the keys that change an FCM


class Key(NamedTuple):
    """The key of a score; `tolerance` in position units."""

    cell: Cell
    test: str
    tolerance: float


class Score(NamedTuple):
    """FCM in percent, and the run's interval over queries or None."""

    fcm: float
    interval: tuple[float, float] | None = None


class Mean(NamedTuple):
    """A mean of `n` values and its 95 % interval, or None where `n` allows none."""

    mean: float
    interval: tuple[float, float] | None
    n: int


@dataclasses.dataclass(frozen=True)
class Scores:
    """Scores of one dataset.

    Attributes:
      dataset: `builder/config:version`, or the name of a paper's table.
      unit: of positions and tolerances.
      tolerances: widest first.
      values: by key and seed.
      oracle: by query split and tolerance, the most that a model can reach, percent.
      protocol: name of how the dataset counts; "" where it names none.
    """

    dataset: str
    unit: str
    tolerances: tuple[float, ...]
    values: dict[Key, dict[int, Score]]
    oracle: dict[tuple[str, float], float]
    protocol: str = ""

    @property
    def tests(self) -> list[str]:
        """Query splits in order of appearance."""
        return list(dict.fromkeys(key.test for key in self.values))

    @property
    def cells(self) -> list[Cell]:
        """Models in order of appearance."""
        return list(dict.fromkeys(key.cell for key in self.values))

    @property
    def seed_counts(self) -> set[int]:
        """The numbers of seeds behind the means."""
        return {len(by_seed) for by_seed in self.values.values()}

    def mean(self, key: Key) -> Mean | None:
        """The mean over seeds, or None without a run.

        One seed, or equal values (untrained GeM on pretrained weights), takes the interval over queries.
        Student's interval of equal values would claim a false certainty.
        """
        found = list(self.values.get(key, {}).values())
        if found and len({score.fcm for score in found}) == 1:
            return Mean(found[0].fcm, found[0].interval, len(found))
        return mean([score.fcm for score in found]) if found else None


def of_study(study: Study) -> Scores:
    """The paper's own values as scores of one seed."""
    values = {Key(v.cell, v.test, v.tolerance): {0: Score(v.fcm)} for v in study.values}
    return Scores(study.title, "m", study.tolerances, values, {})


def read(paths: Iterable[pathlib.Path]) -> Scores:
    """Scores of the `results.json` files `paths`, all of one dataset and one ladder of tolerances.

    Rows come in the paper's order: off the shelf first, then loss, query split, pooling, backbone. Runs of
    all losses hold the same untrained model of a seed, which counts once.

    Raises:
      DataError: there is no file, one is unreadable, or two do not fit one table. Two do not fit where
        they differ in dataset, share model and seed, or share the model but not its settings.
    """
    documents = [(path, read_document(path)) for path in paths]
    if not documents:
        raise DataError("no results.json to make tables of; run experiments/paper_grid.py first")
    first_path, first = documents[0]
    values: dict[Key, dict[int, Score]] = collections.defaultdict(dict)
    oracle: dict[tuple[str, float], float] = {}
    _check_runs(documents)
    for path, document in documents:
        same = all(document[name] == first[name] for name in ("dataset", "tolerances_m"))
        if not same:
            raise DataError(
                f"{path} is of {document['dataset']} at {document['tolerances_m']}, {first_path} of "
                f"{first['dataset']} at {first['tolerances_m']}: one table holds one dataset"
            )
        if protocol(document) != protocol(first):
            raise DataError(
                f"{path} counts by the protocol {protocol(document) or 'of its config'}, {first_path} by "
                f"{protocol(first) or 'that of its config'}: one table holds one protocol"
            )
        _add(document, values, oracle)
    unit = first["provenance"]["config"]["dataset"]["position_unit"]
    splits = [d["provenance"]["config"]["dataset"]["query_splits"] for _, d in documents]
    tests = list(dict.fromkeys(split for names in splits for split in names))
    ordered = {key: values[key] for key in sorted(values, key=papers_order(tests))}
    tolerances = tuple(first["tolerances_m"])
    return Scores(first["dataset"], unit, tolerances, ordered, oracle, protocol(first))


def read_document(path: pathlib.Path) -> dict:
    """What a results.json holds.

    Raises:
      DataError: it is missing, damaged or of something else.
    """
    try:
        document = checksum.unseal(path.read_text(encoding="utf-8"))
        _ = [document[name] for name in ("dataset", "tolerances_m", "results", "provenance")]
        return document
    except (OSError, ValueError, KeyError) as error:
        raise DataError(
            f"{path} is not a run's results ({type(error).__name__}: {error}); delete it and run that "
            "run's command again"
        ) from error


def protocol(document: dict) -> str:
    """The name of the protocol that a result's dataset names; "" where it names none."""
    return document["provenance"].get("protocol", {}).get("name", "")


def other_protocols(first: str, second: str, names: tuple[str, str]) -> list[str]:
    """The sentence on two protocols in one table; none where they are the same."""
    if first == second:
        return []
    one, two = (f"{protocol or 'none that is named'}" for protocol in (first, second))
    return [
        f"**The protocols differ**, so the figures do not compare: {names[0]} counts by {one}, {names[1]} "
        f"by {two}."
    ]


def _add(document: dict, values, oracle) -> None:
    trained = _trained(document)
    model, seed = trained["model"], trained["seed"]
    for name, by_split in document["results"].items():
        untrained = PROJECTED if model["projection"] else OFF_THE_SHELF
        loss = untrained if name == OFF_THE_SHELF else trained["loss"]["name"]
        cell = Cell(loss, model["pooling"], model["backbone"])
        for test, figures in by_split.items():
            for text, fcm in figures["fcm"].items():
                if fcm is None:  # no query has a position
                    continue
                bounds = figures.get("interval", {}).get(text)
                score = Score(fcm, tuple(bounds) if bounds else None)
                values[Key(cell, test, float(text))].setdefault(seed, score)
                oracle[test, float(text)] = figures["oracle_fcm"][text]


def _check_runs(documents: list[tuple[pathlib.Path, dict]]) -> None:
    """Raises DataError where two runs of a model share a seed or differ in settings.

    All runs have the same images; one may have one query split more.
    """
    seen: dict[Cell, dict[int, pathlib.Path]] = collections.defaultdict(dict)
    settings: dict[Cell, tuple[pathlib.Path, dict]] = {}
    first, images = documents[0][0], _images(documents[0][1])
    for path, document in documents:
        for split, (was, now) in differences(images, _images(document)).items():
            if None not in (was, now):
                raise DataError(
                    f"{path} is of {now} {split} images, {first} of {was}: one table holds one dataset"
                )
    for path, document in documents:
        trained, own = _trained(document), _settings(document)
        cell = Cell(*(trained[part][name] for part, name in CELL_KEYS))
        first, before = settings.setdefault(cell, (path, own))
        for key, (was, now) in differences(before, own).items():
            if None not in (was, now) and matters(key, trained):
                raise DataError(
                    f"{path} has {key}={now!r}, {first} of the same model {was!r}: one table holds one "
                    "grid"
                )
        if trained["seed"] in seen[cell]:
            raise DataError(
                f"{path} and {seen[cell][trained['seed']]} are runs of the same model and seed: one table "
                "holds one grid"
            )
        seen[cell][trained["seed"]] = path


def matters(key: str, trained: dict) -> bool:
    """Whether training, the model or an FCM depends on `key`, which one model's runs then share."""
    loss, (part, _, name) = trained["loss"], key.partition(".")
    places = loss["name"] == "arcface" and loss.get("arcface", {}).get("classes") == "places"
    parts = ["model", "loss", "augment", "optim", "others", "keep", "validation"]
    parts.append("places" if places else "tuples")
    if part == "loss":
        return name.startswith(loss["name"])  # margins of other losses change nothing
    if part == "eval":
        return name in EVAL_KEYS
    trains = key in ("train.steps", "dataset.train_splits")
    return (part in [*parts, "facts"] and key != "model.weights") or trains


def _settings(document: dict) -> dict:
    """The settings of a model's training and evaluation."""
    provenance = document["provenance"]
    facts = {key: provenance.get(key) for key in FACTS}
    return {
        **_trained(document),
        "eval": provenance["config"].get("eval", {}),
        "facts": facts,
    }


def _images(document: dict) -> dict:
    """Number of images by split."""
    return document["provenance"].get("dataset", {}).get("counts", {})


def _trained(document: dict) -> dict:
    """The training's config with this version's keys."""
    provenance = document["provenance"]
    return completed(provenance.get("trained_with") or provenance["config"])


def papers_order(tests: Sequence[str]) -> Callable[[Key], tuple]:
    """A sort key: off the shelf first, then loss, query split, pooling, backbone, widest tolerance."""

    def order(key: Key) -> tuple:
        loss = (*UNTRAINED, *base.LOSSES).index(key.cell.loss)
        backbone = (key.cell.backbone != "vgg16", key.cell.backbone)  # the paper's: VGG16, ResNet50
        return loss, tests.index(key.test), key.cell.pooling, backbone, -key.tolerance

    return order


def mean(values: Sequence[float]) -> Mean:
    """Mean and Student's 95 % interval of `(n,)` values, n >= 1; one value has no interval."""
    array = np.asarray(values, np.float64)
    n, centre = len(array), float(np.mean(array))
    if n < 2:
        return Mean(centre, None, n)
    half = stats.t.ppf((1 + CONFIDENCE) / 2, n - 1) * float(np.std(array, ddof=1)) / math.sqrt(n)
    return Mean(centre, (centre - half, centre + half), n)


class Pair(NamedTuple):
    """Two models that differ in one part; `by_seed` holds first minus second in points of FCM."""

    key: Key
    by_seed: dict[int, float]

    @property
    def difference(self) -> float:
        """The mean over seeds, points of FCM."""
        return float(np.mean(list(self.by_seed.values())))


def pairs(scores: Scores, part: str, first: str, second: str) -> list[Pair]:
    """`first` minus `second` of a cell's `part`, all else equal, in every seed with both.

    Args:
      scores: of one dataset.
      part: "loss", "pooling" or "backbone".
      first: the part's value of the minuend.
      second: the part's value of the subtrahend.
    """
    out = []
    for key, by_seed in scores.values.items():
        if getattr(key.cell, part) != first:
            continue
        other = scores.values.get(key._replace(cell=key.cell._replace(**{part: second})), {})
        common = {seed: by_seed[seed].fcm - other[seed].fcm for seed in by_seed if seed in other}
        if common:
            out.append(Pair(key, common))
    return out


def paired_mean(found: Sequence[Pair]) -> Mean | None:
    """Mean difference of pairs at one tolerance and its paired interval, or None without a pair.

    The units are models, each its mean over query splits and seeds. Two splits or two seeds of one model
    are no independent units beside other models. A single model's seeds are the units.
    """
    by_model: dict[Cell, list[Pair]] = collections.defaultdict(list)
    for pair in found:
        by_model[pair.key.cell].append(pair)
    if not by_model:
        return None
    if len(by_model) == 1:
        by_seed = collections.defaultdict(list)
        for pair in found:
            for seed, difference in pair.by_seed.items():
                by_seed[seed].append(difference)
        return mean([float(np.mean(values)) for values in by_seed.values()])
    return mean(
        [float(np.mean([pair.difference for pair in group])) for group in by_model.values()]
    )
