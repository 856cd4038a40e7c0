"""The files of a run's results: results.json, results.md, matches/*.csv, fcm.png."""

import csv
import io
import json
import math
import pathlib
import shutil
import types
from collections.abc import Mapping, Sequence

from vprjax.data import protocol
from vprjax.evaluation import blend
from vprjax.evaluation.elsewhere import Elsewhere
from vprjax.evaluation.evaluate import pca_file
from vprjax.evaluation.result import MODEL_NAMES, Matches, Results, shown
from vprjax.report import abroad, fcm_curve, titles
from vprjax.storage import checksum
from vprjax.storage.atomic import written_beside

LISTED = (
    "FCM: percentage of all queries whose nearest reference is one that the dataset lists as right. R@N: "
    "percentage with such a reference among the N nearest. Oracle: queries that have any."
)
MATCH_COLUMNS = ("query", "x", "y", "match", "match_x", "match_y", "error", "distance")


def write(
    folder: pathlib.Path,
    config,
    dataset,
    results: Results,
    provenance: dict,
    others: Sequence[Elsewhere] = (),
    more: Mapping[str, str] = types.MappingProxyType({}),
) -> None:
    """Writes `results.json`, `results.md`, `fcm.png` and `matches/` into `folder`, each file atomically.

    `results.json` marks a finished evaluation: it never stands beside tables of another. An earlier one's
    files stay until all of these are on the disk.

    Args:
      folder: an existing folder.
      config: the whole config.
      dataset: `source.Dataset` of the evaluated dataset.
      results: by model and query split.
      provenance: where the numbers come from.
      others: other datasets with their results.
      more: texts of further files of this evaluation, by name.

    Raises:
      OSError: a file cannot be written.
    """
    document = {
        "schema": 1,
        "dataset": f"{dataset.name}:{dataset.version}",
        "tolerances_m": list(config.dataset.tolerances),
        "results": abroad.figures(results),
        "change": abroad.change(config, results),
        "others": abroad.to_json(others),
        "provenance": provenance,
    }
    mark = folder / "results.json"
    files = _all_matches(folder / "matches", results)
    for other in others:
        files |= _all_matches(folder / "matches" / other.folder, other.results)
    files |= {folder / name: text for name, text in more.items()}
    files[folder / "fcm.png"] = fcm_curve.png(config, results)
    files[folder / "results.md"] = markdown(config, dataset, results, provenance, others)
    files[mark] = json.dumps(checksum.seal(document), indent=2) + "\n"
    for path in files:
        path.parent.mkdir(parents=True, exist_ok=True)
    with written_beside(files):
        mark.unlink(missing_ok=True)  # before the first file of an earlier evaluation goes
        _remove_earlier(folder, config, results, others)


def _all_matches(folder: pathlib.Path, results: Results) -> dict[pathlib.Path, str]:
    """The tables of matches by their files."""
    return {
        folder / f"{model}_{split}.csv": matches_text(result.matches)
        for model, by_split in results.items()
        for split, result in by_split.items()
    }


def _remove_earlier(
    folder: pathlib.Path, config, results: Results, others: Sequence[Elsewhere]
) -> None:
    """Removes tables and projections of an earlier evaluation that these results do not have."""
    named = {other.folder for other in others}
    for path in (folder / "matches").glob("*+*/"):
        if path.name not in named:
            shutil.rmtree(path)
    own = {f"{model}_{split}.csv" for model, found in results.items() for split in found}
    for model in MODEL_NAMES:
        for path in (folder / "matches").glob(f"{model}_*.csv"):
            if path.name not in own:
                path.unlink()
        if not config.eval.pca or model not in results:
            pca_file(folder, model).unlink(missing_ok=True)


def matches_text(matches: Matches) -> str:
    """A table of one row per query, as CSV: its position, its match, the match's error and distance.

    `error` is in position units, `distance` in descriptor space. A query without a position leaves x, y
    and error empty. `evaluation.bootstrap.paired` compares two models by their tables of the same queries.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(MATCH_COLUMNS)
    columns = (
        matches.query_ids,
        *matches.query_positions.T,
        matches.ids,
        *matches.positions.T,
        matches.errors,
        matches.distances,
    )
    rows = zip(*(column.tolist() for column in columns), strict=True)
    writer.writerows(["" if _is_nan(value) else value for value in row] for row in rows)
    return text.getvalue()


def _is_nan(value) -> bool:
    return isinstance(value, float) and math.isnan(value)


def table(config, results: Results) -> str:
    """The table of FCM and recall@N of all models and query splits, as Markdown."""
    unit = config.dataset.position_unit
    tolerances = [f"{t:g}" for t in config.dataset.tolerances]
    recalls = [str(n) for n in config.eval.recalls]
    head = [
        "queries",
        "model",
        *(f"FCM {t} {unit}" for t in tolerances),
        *(f"R@{n}" for n in recalls),
    ]
    rows = [head, ["---"] * 2 + ["---:"] * (len(head) - 2)]
    for split in config.dataset.query_splits:
        for model, by_split in results.items():
            figures = by_split[split].figures
            values = [figures.fcm[t] for t in tolerances] + [figures.recall[n] for n in recalls]
            rows.append([split, MODEL_NAMES[model], *map(shown, values)])
        oracle = next(iter(results.values()))[split].figures.oracle_fcm
        ceiling = [shown(oracle[t]) for t in tolerances]
        rows.append([split, "oracle (ceiling)", *ceiling, *[""] * len(recalls)])
    return _lined(rows)


def _lined(rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def sequence_table(config, results: Results) -> list[str]:
    """The table of FCM where the last frames are matched together, in lines; none without such figures."""
    unit, tolerances = config.dataset.position_unit, config.dataset.tolerances
    rows = [
        [split, MODEL_NAMES[model], *(shown(found.fcm[f"{t:g}"]) for t in tolerances)]
        for split in config.dataset.query_splits
        for model, by_split in results.items()
        if (found := by_split[split].figures.sequence)
    ]
    if not rows:
        return []
    head = ["queries", "model", *(f"FCM {t:g} {unit}" for t in tolerances)]
    marks = ["---"] * 2 + ["---:"] * len(tolerances)
    words = f"The last {config.eval.sequence_length} frames are matched together:"
    return [words, "", _lined([head, marks, *rows]), ""]


def facing(config) -> str:
    """The sentence on headings in the protocol; empty where headings do not count."""
    degrees = config.eval.heading_degrees
    if not degrees:
        return ""
    return f" A reference counts only where it looks the same way, to {degrees:g} degrees."


def warnings(
    config, results: Results, provenance: dict, others: Sequence[Elsewhere] = ()
) -> list[str]:
    """Sentences on losses abroad and on what makes the figures doubtful, of training, splits and models."""
    sides = [("", config, results), *((f"{o.dataset.name}, ", o.config, o.results) for o in others)]
    return [*abroad.losses(others), *provenance.get("warnings", ())] + [
        f"{where}{split}, {MODEL_NAMES[model]}: {words}"
        for where, own, found in sides
        for split in own.dataset.query_splits
        for model, by_split in found.items()
        for words in by_split[split].figures.warnings
    ]


def without_position(config, results: Results) -> list[str]:
    """One line per query split some of whose queries have no position."""
    by_split = next(iter(results.values()))
    found = {name: by_split[name].figures.position_words() for name in config.dataset.query_splits}
    return [f"- {name}: {words}" for name, words in found.items() if words]


def exact_intervals(config, results: Results) -> list[str]:
    """One line per query split and model whose 95 % intervals are exact ones."""
    return [
        f"- {split}, {MODEL_NAMES[model]}: {words}"
        for split in config.dataset.query_splits
        for model, by_split in results.items()
        if (words := by_split[split].figures.exact_words(config.dataset.position_unit))
    ]


def _blended(provenance: dict) -> list[str]:
    """One line on the parameters where they are a blend."""
    found = provenance.get("blend")
    return [f"- parameters: {blend.of_json(found).words()}"] if found else []


def _trained_elsewhere(dataset, provenance: dict) -> list[str]:
    """One line on the dataset that the model trained on, where it is not the evaluated one."""
    found = provenance.get("trained_on", "")
    return (
        [f"- trained on: {found}"] if found not in ("", f"{dataset.name}:{dataset.version}") else []
    )


def two_stages(config, results: Results) -> list[str]:
    """One line per query split and model that were searched in two stages."""
    return [
        f"- {split}, {MODEL_NAMES[model]}: {found.rerank.words(found.fcm, config.dataset.position_unit)}"
        for split in config.dataset.query_splits
        for model, by_split in results.items()
        if (found := by_split[split].figures).rerank
    ]


def _within(config, counted: str) -> str:
    """The sentences on figures that count by distance; `counted` tells which queries do."""
    radius, unit = protocol.radius(config), config.dataset.position_unit
    return (
        f"FCM: percentage of all queries{counted} whose nearest reference lies within tau ({unit}). R@N: "
        f"percentage with a reference within {radius:g} {unit} among the N nearest. "
        f"Oracle: queries that have any reference within tau.{facing(config)}"
    )


def markdown(
    config, dataset, results: Results, provenance: dict, others: Sequence[Elsewhere] = ()
) -> str:
    """The text of results.md: the table and its provenance."""
    counts = ", ".join(f"{name} {n:,}" for name, n in dataset.counts.items())
    model = config.model
    loss = config.loss.name if provenance["steps"] else MODEL_NAMES["off_the_shelf"]
    method = titles.baseline(config)
    title = method.title if method else f"{model.backbone} + {model.pooling}, {loss}"
    lacking = without_position(config, results)
    counted = " with a position" if lacking else ""
    lines = [
        f"# {title}: {dataset.name}",
        "",
        table(config, results),
        "",
        *(f"**Warning:** {words}.\n" for words in warnings(config, results, provenance, others)),
        LISTED if protocol.listed(dataset) else _within(config, counted),
        "",
        *sequence_table(config, results),
        *abroad.markdown(config, dataset, results, others),
        "![FCM over tolerance](fcm.png)",
        "",
        *lacking,
        *exact_intervals(config, results),
        *two_stages(config, results),
        f"- dataset: {dataset.name} {dataset.version}; images: {counts}; poses: "
        f"{dataset.metadata.get('pose_source', 'not recorded')}",
        f"- protocol: {protocol.words(protocol.used(config, dataset))}",
        *_trained_elsewhere(dataset, provenance),
        *titles.origin(config, provenance),
        *_blended(provenance),
        f"- steps: {provenance['steps']}, seed: {config.seed}, device: {provenance['device']}, "
        f"code: {provenance['code_version']}",
        f"- written: {provenance['written']}",
    ]
    return "\n".join(lines) + "\n"
