"""Baselines as `baselines.csv`, one row per query split, and their table above a grid's models."""

import csv
import io
import json
import pathlib
import statistics
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from analysis import scores
from analysis.scores import OFF_THE_SHELF, Key, Mean, Scores
from analysis.text_table import NAMES, Table
from vprjax.errors import DataError
from vprjax.report.published import Cell
from vprjax.retrieval.baselines import BASELINES

FILE = "baselines.csv"
NOTES = [
    "FCM in percent of all queries; in brackets Student's 95 % interval over seeds, and with one seed or "
    "equal values the interval over queries.",
    "Time is the median over batches of describing an image, decoding included; bytes are a descriptor's.",
]


# DELF's two ways by their keys in results.json, which `experiments/delf.py` writes.
DELF = {"delf": "DELF", "delf_checked": "DELF, checked by geometry"}
ABOUT = {  # what is no baseline of `BASELINES`, by the last word of a row's name
    "mac": "The largest activation of each channel of the last map is one number of the descriptor. "
    "It tells which patterns the image holds, not where. Source: Tolias et al. 2016.",
    "spoc": "The mean activation of each channel of the last map is one number of the descriptor. All "
    "positions count alike, the sky as much as a building. Source: Babenko & Lempitsky 2015.",
    "rmac": "The maxima of the channels over squares of three sizes get length 1 and are summed. So a part "
    "of the scene counts that the maximum of the whole map hides. Source: Tolias et al. 2016.",
    "crow": "Each channel's activations are summed with weights, high where all channels are active. "
    "Channels that few positions activate then weigh more. Source: Kalantidis et al. 2016.",
    "delf": "A ResNet50 trained on landmarks sums its local features by a learned attention, which is the "
    "global descriptor here. The released network serves as it is. Source: Noh et al. 2017.",
    "delf_checked": "The first matches of DELF's global descriptor are put in a new order. Their count of "
    "local features that agree on one homography decides. Source: Noh et al. 2017.",
}


class Row(NamedTuple):
    """One baseline on one query split.

    Attributes:
      set: the grid's folder.
      dataset: `builder/config:version` of the images.
      name: of the baseline, or of the off-the-shelf model.
      title: the method's name in tables.
      split: the queries.
      unit: of the tolerances.
      fcm: percent by tolerance, JSON, widest first.
      interval: 95 % interval of FCM by tolerance, JSON.
      oracle: ceiling of FCM by tolerance, JSON.
      recall_1: share of queries whose first reference is right within the dataset's radius, percent.
      dimension: of the descriptors.
      bytes_per_image: of a descriptor in a map.
      ms_per_image: time to describe an image, or "".
      settings: the baseline's config keys, or the model's weights; and post-processing, JSON.
      seed: of vocabularies.
      code_version: of the evaluation.
      machine: processor, and the number of its cores that ran.
    """

    set: str
    dataset: str
    name: str
    title: str
    split: str
    unit: str
    fcm: str
    interval: str
    oracle: str
    recall_1: str
    dimension: str
    bytes_per_image: str
    ms_per_image: str
    settings: str
    seed: str
    code_version: str
    machine: str

    @property
    def ladder(self) -> dict[str, float]:
        """FCM, percent, by tolerance."""
        return json.loads(self.fcm)


def of_results(document: Mapping, set_name: str, name: str) -> list[Row]:
    """The rows of one run's `results.json`, of the baseline or model `name`."""
    if name in DELF:
        return [row for way in document["results"] for row in _rows(document, set_name, way, way)]
    ((model, _),) = document["results"].items()
    return _rows(document, set_name, name, model)


def _rows(document: Mapping, set_name: str, name: str, model: str) -> list[Row]:
    """The rows of one model of the results."""
    provenance = document["provenance"]
    config, cost = provenance["config"], provenance["cost"]
    cost = cost.get(model, cost)
    own = config["baseline"]["name"]
    settings = config["baseline"].get(own) if own else _model(config)
    settings = dict(settings) | provenance.get("settings", {})
    if words := provenance.get("post_processing"):
        settings["post"] = words
    rows = []
    for split, figures in document["results"][model].items():
        ms = cost["ms_per_image"]
        rows.append(
            Row(
                set_name,
                document["dataset"],
                name,
                BASELINES[own].title if own else DELF.get(name) or title_of(config),
                split,
                config["dataset"]["position_unit"],
                *(json.dumps(figures[key]) for key in ("fcm", "interval", "oracle_fcm")),
                str(figures["recall"].get("1", "")),
                str(cost["dimension"]),
                str(cost["bytes_per_image"]),
                "" if ms is None else str(ms),
                json.dumps(settings, sort_keys=True),
                str(config["seed"]),
                provenance["code_version"],
                provenance["machine"].partition(", Python")[0],
            )
        )
    return rows


def title_of(config: Mapping) -> str:
    """An off-the-shelf model's name in tables; it tells the stage that a network is cut at."""
    model = config["model"]
    network = NAMES.get(model["backbone"], model["backbone"])
    cut = f" to {model['stage']}" if model["stage"] else ""
    return f"{network}{cut} + {NAMES.get(model['pooling'])}, {NAMES[OFF_THE_SHELF]}"


def _model(config: Mapping) -> dict:
    model = config["model"]
    weights = pathlib.PurePath(model["weights"]).name or "random"
    return {"stage": model["stage"], "weights": weights}


def read(folder: pathlib.Path) -> list[Row]:
    """The rows in `folder`; none where it has no file.

    Raises:
      DataError: the file is damaged.
    """
    path = folder / FILE
    if not path.exists():
        return []
    try:
        found = [
            Row(**row) for row in csv.DictReader(io.StringIO(path.read_text(encoding="utf-8")))
        ]
        _ = [row.ladder for row in found]
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{path} holds no record of baselines ({error})") from error
    return found


def text(rows: Iterable[Row]) -> str:
    """The content of `baselines.csv`."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([Row._fields, *rows])
    return out.getvalue()


def replaced(before: list[Row], added: list[Row]) -> list[Row]:
    """`before` with `added`, which replace rows of the same set, dataset, name, split and seed.

    The baselines come first, then DELF, then models by backbone.
    """

    def run(row: Row) -> tuple:
        return row.set, row.dataset, row.name, row.split, row.seed

    new = {run(row) for row in added}
    return sorted([*(row for row in before if run(row) not in new), *added], key=_rank)


def _rank(row: Row) -> tuple:
    backbone, _, head = row.name.rpartition("-")
    order = list(BASELINES) if row.name in BASELINES else list(ABOUT)
    return row.name not in BASELINES, backbone, order.index(head) if head in order else len(order)


def table(rows: list[Row], found: Scores | None = None, title: str = "") -> Table:
    """One line per baseline and query split, and below them the models of the grid `found`."""
    tolerances = list(rows[0].ladder)
    head = ["method", "queries", "seeds", *tolerances]
    head += ["recall@1", "dimensions", "bytes", "ms per image"]
    head[3] += f" {rows[0].unit}"
    lines = []
    for name in dict.fromkeys((row.name, row.split) for row in rows):
        own = [row for row in rows if (row.name, row.split) == name]
        first = own[0]
        lines.append(
            [
                first.title,
                first.split,
                str(len(own)),
                *(_figure(own, tolerance) for tolerance in tolerances),
                _mean(row.recall_1 for row in own),
                f"{int(first.dimension):,}",
                f"{int(first.bytes_per_image):,}",
                _mean(row.ms_per_image for row in own),
            ]
        )
    ceiling = dict.fromkeys((row.split, row.oracle) for row in rows)
    lines += _models(found, tolerances) if found else []
    for split, oracle in ceiling:
        values = json.loads(oracle)
        lines.append(["ceiling", split, "", *(f"{values[t]:.1f}" for t in tolerances), *[""] * 4])
    return Table(title, head, lines, 2, NOTES)


def _figure(rows: list[Row], tolerance: str) -> str:
    """Mean over seeds with its interval; of one value or equal ones, the interval over queries."""
    values = [row.ladder[tolerance] for row in rows]
    found = scores.mean(values)
    if len({*values}) == 1:
        found = found._replace(interval=json.loads(rows[0].interval)[tolerance])
    return _words(found)


def _words(found: Mean) -> str:
    bounds = f" [{found.interval[0]:.1f}, {found.interval[1]:.1f}]" if found.interval else ""
    return f"{found.mean:.1f}{bounds}"


def _mean(values: Iterable[str]) -> str:
    known = [float(value) for value in values if value]
    return f"{statistics.fmean(known):.1f}" if known else ""


def _models(found: Scores, tolerances: list[str]) -> list[list[str]]:
    """Lines of the grid's models, off the shelf and trained."""
    lines = []
    for cell in dict.fromkeys(key.cell for key in found.values):
        for split in found.tests:
            means = [found.mean(Key(cell, split, float(t))) for t in tolerances]
            if all(means):
                figures = [str(means[0].n), *map(_words, means)]
                lines.append([_cell(cell), split, *figures, *[""] * 4])
    return lines


def _cell(cell: Cell) -> str:
    return f"{NAMES[cell.backbone]} + {NAMES[cell.pooling]}, {NAMES[cell.loss]}"


def methods(rows: Iterable[Row]) -> list[tuple[str, str]]:
    """Title and explanation with its source of every method among the rows."""
    out = {}
    for name in dict.fromkeys(row.name for row in rows):
        head = name.rpartition("-")[2]
        if name in BASELINES:
            method = BASELINES[name]
            out[method.title] = f"{method.about} Source: {method.reference}."
        elif head in ABOUT:
            out[DELF.get(head) or NAMES[head]] = ABOUT[head]
    return list(out.items())


def methods_table(rows: Iterable[Row]) -> Table:
    """`methods` as a table."""
    return Table("", ["method", "what it does"], [list(pair) for pair in methods(rows)], 2, [])


def markdown(rows: list[Row], made: Table) -> str:
    """The table and the methods, for `baselines.md` of a grid."""
    lines = [f"- {name}: {about}" for name, about in methods(rows)]
    return made.markdown() + "\n\n" + "\n".join(lines) + "\n"
