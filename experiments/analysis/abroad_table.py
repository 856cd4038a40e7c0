"""The grid at home and abroad: what training changed on every dataset, paired within each run."""

from collections.abc import Sequence

from analysis import scores
from analysis.scores import Mean
from analysis.text_table import NAMES, Table, difference, shown
from vprjax.report.published import Cell


def table(documents: Sequence[dict]) -> Table | None:
    """One row per model, dataset, query split and tolerance; None where no run has another dataset.

    Args:
      documents: the runs' results.json, evaluated with `eval.other_datasets` or not.
    """
    if not any(document.get("others") for document in documents):
        return None
    found: dict[tuple, list[dict]] = {}
    for document in documents:
        for key, change in _changes(document):
            found.setdefault(key, []).append(change)
    rows = [[*map(str, key), *_figures(changes)] for key, changes in found.items()]
    head = ["loss", "pooling", "backbone", "dataset", "queries", "within", "seeds"]
    notes = [
        "FCM (%), mean over seeds, with Student's 95 % interval of the difference, fine-tuned minus off "
        "the shelf; of one seed, the paired bootstrap interval over its queries. Lost and gained count the "
        "queries that only the model off the shelf, or only the fine-tuned one, has right, over all seeds."
    ]
    lost = sorted({(key[3], *key[:3]) for key, changes in found.items() if _lost(key, changes)})
    if lost:
        words = "; ".join(f"{_model(*cell)} on {dataset}" for dataset, *cell in lost)
        notes.insert(0, f"**Forgot**, as an interval abroad lies wholly below 0: {words}.")
    return Table(
        "At home and abroad, before and after training",
        [*head, "off the shelf", "fine-tuned", "difference", "lost", "gained"],
        rows,
        6,
        notes,
    )


def _model(loss: str, pooling: str, backbone: str) -> str:
    return f"{backbone} + {pooling}, {loss}"


def _changes(document: dict):
    """Key of a row and the change of one run, home first."""
    provenance = document["provenance"]
    trained = provenance.get("trained_with") or provenance["config"]
    cell = Cell(trained["loss"]["name"], trained["model"]["pooling"], trained["model"]["backbone"])
    names = [NAMES[part] for part in cell]
    unit = provenance["config"]["dataset"]["position_unit"]
    sides = [(f"{document['dataset']} (home)", unit, document.get("change", {}))]
    for name, other in document.get("others", {}).items():
        sides.append((name, other["position_unit"], other["change"]))
    for name, own, by_split in sides:
        for split, by_tolerance in by_split.items():
            for tolerance, change in by_tolerance.items():
                yield (*names, name, split, f"{tolerance} {own}"), change


def _figures(changes: list[dict]) -> list[str]:
    before, after = (
        scores.mean([change[side] for change in changes]).mean for side in ("before", "after")
    )
    counts = [str(sum(change[side] for change in changes)) for side in ("lost", "gained")]
    means = [shown(Mean(value, None, len(changes))) for value in (before, after)]
    return [str(len(changes)), *means, difference(_difference(changes)), *counts]


def _difference(changes: list[dict]) -> Mean:
    """The mean difference; of one seed with the interval over its queries."""
    if len(changes) == 1:
        return Mean(changes[0]["difference"], tuple(changes[0]["interval"]), 1)
    return scores.mean([change["difference"] for change in changes])


def _lost(key: tuple, changes: list[dict]) -> bool:
    """Whether a row abroad has an interval wholly below 0."""
    found = _difference(changes)
    return not key[3].endswith("(home)") and found.interval is not None and found.interval[1] < 0
