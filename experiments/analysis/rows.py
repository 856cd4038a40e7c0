"""Runs as `runs.csv`, one row per figure, and `configs.jsonl`, one line per distinct config."""

import csv
import dataclasses
import hashlib
import io
import json
import pathlib
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from vprjax.config.changes import completed
from vprjax.errors import DataError
from vprjax.report.published import Cell
from vprjax.storage.atomic import write_atomically

RUNS, CONFIGS = "runs.csv", "configs.jsonl"
UNKNOWN = re.compile(
    r"^(x86_64|aarch64|)(, Python.*)?$"
)  # an earlier version's machine, without its processor


class Row(NamedTuple):
    """One FCM of one run.

    Attributes:
      set: the grid or sweep of the run, since a cell may have several runs.
      dataset: `builder/config:version` of the images.
      cell: `backbone-pooling-loss`.
      seed: of training.
      split: the queries.
      model: "off_the_shelf" or "fine_tuned".
      tolerance: in the dataset's unit of positions.
      fcm: in percent.
      low: lower end of the 95 % interval over queries, percent, or "".
      high: upper end of the interval.
      oracle: share of the queries that have a reference within the tolerance, percent.
      code_version: of the evaluation.
      weights_sha256: of the pretrained weights' file, or "random".
      config: digest of the evaluation's config.
      trained_with: digest of the training's config.
      machine: processor or accelerator, or "" where the run did not record it.
    """

    set: str
    dataset: str
    cell: str
    seed: str
    split: str
    model: str
    tolerance: str
    fcm: str
    low: str
    high: str
    oracle: str
    code_version: str
    weights_sha256: str
    config: str
    trained_with: str
    machine: str

    @property
    def parts(self) -> Cell:
        """The cell of the paper's tables."""
        backbone, pooling, loss = self.cell.split("-")
        return Cell(loss, pooling, backbone)


@dataclasses.dataclass(frozen=True)
class Record:
    """Rows, and their configs by digest."""

    rows: list[Row]
    configs: dict[str, dict]


def portable(config: Mapping) -> dict:
    """A config with today's key names, without seed, folders and keys of other variants.

    The seed is a column of its own, and folders of data and weights belong to one machine. A later loss
    changes no digest, since keys of variants that the config does not choose go.
    """
    out = json.loads(json.dumps(completed(config)))  # JSON has no tuples
    out.pop("seed", None)
    out.pop("baseline", None)  # a row of this record is a network's
    out["dataset"] = {key: v for key, v in out["dataset"].items() if key != "data_dir"}
    chosen = out["loss"]["name"], out["model"]["pooling"], out["model"]["backbone"]
    for section in ("loss", "model"):
        out[section] = {
            key: value
            for key, value in out[section].items()
            if key in chosen or not isinstance(value, Mapping)
        }
    if out["model"].get("weights"):
        out["model"] |= {"weights": pathlib.PurePath(out["model"]["weights"]).name}
    return out


def digest(config: Mapping | list[Mapping]) -> str:
    """The 16 hex digits that name a portable config, or several."""
    text = json.dumps(config, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def of_results(document: Mapping, name: str) -> Record:
    """The rows of one run's `results.json` in the set `name`."""
    provenance = document["provenance"]
    evaluated = portable(provenance["config"])
    trained = portable(provenance.get("trained_with") or provenance["config"])
    model = trained["model"]
    shared = (
        provenance.get("code_version", ""),
        provenance.get("weights_sha256", ""),
        digest(evaluated),
        digest(trained),
        _machine(provenance),
    )
    cell = f"{model['backbone']}-{model['pooling']}-{trained['loss']['name']}"
    seed = (provenance.get("trained_with") or provenance["config"])["seed"]
    rows = []
    for which, by_split in document["results"].items():
        for split, figures in by_split.items():
            head = (name, document["dataset"], cell, str(seed), split, which)
            for tolerance, fcm in figures["fcm"].items():
                if fcm is None:  # no query has a position
                    continue
                bounds = figures.get("interval", {}).get(tolerance) or ("", "")
                oracle = figures["oracle_fcm"][tolerance]
                values = (tolerance, *map(str, (fcm, *bounds, oracle)))
                rows.append(Row(*head, *values, *shared))
    return Record(rows, {digest(config): config for config in (evaluated, trained)})


def _machine(provenance: Mapping) -> str:
    machine = re.sub(r", Python.*", "", provenance.get("machine", ""))
    device = provenance.get("device", "")
    known = "" if UNKNOWN.match(provenance.get("machine", "")) else machine
    return known if device.endswith("cpu") or not device else device


def merged(records: Iterable[Record]) -> Record:
    """All rows and configs, in order."""
    rows, configs = [], {}
    for record in records:
        rows += record.rows
        configs |= record.configs
    return Record(rows, configs)


def replaced(before: Record, added: Record) -> Record:
    """`before` with the runs of `added`, which replace runs of the same set, dataset, cell and seed."""

    def run(row: Row) -> tuple:
        return row.set, row.dataset, row.cell, row.seed

    new = {run(row) for row in added.rows}
    kept = [row for row in before.rows if run(row) not in new]
    return Record([*kept, *added.rows], before.configs | added.configs)


def renewed(record: Record) -> Record:
    """The record with today's config keys and digests, without configs that no row names."""
    today = {old: portable(config) for old, config in record.configs.items()}
    names = {old: digest(config) for old, config in today.items()}
    rows = [
        row._replace(config=names[row.config], trained_with=names[row.trained_with])
        for row in record.rows
    ]
    used = {name for row in rows for name in (row.config, row.trained_with)}
    configs = {names[old]: config for old, config in today.items() if names[old] in used}
    return Record(rows, dict(sorted(configs.items())))


def read(folder: pathlib.Path) -> Record:
    """The record in `folder`.

    Raises:
      DataError: a file is missing or damaged.
    """
    try:
        text = (folder / RUNS).read_text(encoding="utf-8")
        rows = [Row(**row) for row in csv.DictReader(io.StringIO(text))]
        lines = (folder / CONFIGS).read_text(encoding="utf-8").splitlines()
        configs = {line["digest"]: line["config"] for line in map(json.loads, lines)}
        _ = [configs[name] for row in rows for name in (row.config, row.trained_with)]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{folder} holds no record of runs ({type(error).__name__}: {error})"
        ) from error
    return Record(rows, configs)


def texts(record: Record) -> dict[str, str]:
    """The record's files, content by name."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerows([Row._fields, *record.rows])
    lines = [
        json.dumps({"digest": name, "config": config}, sort_keys=True) + "\n"
        for name, config in record.configs.items()
    ]
    return {RUNS: out.getvalue(), CONFIGS: "".join(lines)}


def write(folder: pathlib.Path, record: Record) -> None:
    """Writes `runs.csv` and `configs.jsonl` into `folder`."""
    for name, text in texts(record).items():
        write_atomically(folder / name, text)
