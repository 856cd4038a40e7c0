"""A model at home and on other datasets, before and after training: table, warnings, JSON."""

from collections.abc import Iterator, Sequence

from vprjax.data import protocol
from vprjax.evaluation import bootstrap, elsewhere
from vprjax.evaluation.change import Change
from vprjax.evaluation.elsewhere import Elsewhere
from vprjax.evaluation.result import AFTER, BEFORE, Results, shown

NOTE = (
    "Difference: fine-tuned minus off the shelf on the same queries, in points, with its 95 % interval. It "
    f"comes from a block bootstrap, no narrower than an exact one where fewer than {bootstrap.FEW} queries "
    "differ. Lost: queries that only the model off the shelf has right. Gained: queries that only the "
    "fine-tuned model has right."
)
HEAD = ("dataset", "queries", "within", "off the shelf", "fine-tuned", "difference")
COUNTS = ("lost", "gained")


def rows(config, dataset, results: Results, others: Sequence[Elsewhere]) -> list[list[str]]:
    """One row per dataset, query split and tolerance, the evaluated dataset first.

    With one model alone the last columns are empty.
    """
    sides = [(f"{dataset.name} (home)", config, results)]
    sides += [(other.dataset.name, other.config, other.results) for other in others]
    return [row for name, own, found in sides for row in _rows(name, own, found)]


def _rows(name: str, config, results: Results) -> Iterator[list[str]]:
    unit, changes = config.dataset.position_unit, elsewhere.changes(config, results)
    for split in config.dataset.query_splits:
        for tolerance in config.dataset.tolerances:
            text = f"{tolerance:g}"
            by_model = {m: shown(found[split].figures.fcm[text]) for m, found in results.items()}
            row = [
                name,
                split,
                f"{text} {unit}",
                *(by_model.get(model, "") for model in (BEFORE, AFTER)),
            ]
            moved = changes[split].get(text)
            yield row + (
                [_points(moved), str(moved.lost), str(moved.gained)] if moved else [""] * 3
            )


def _points(moved: Change) -> str:
    low, high = moved.interval
    return f"{moved.difference:+.2f} [{low:+.2f}, {high:+.2f}]"


def title(others: Sequence[Elsewhere]) -> str:
    """The table's title."""
    return "At home and abroad" if others else "Before and after training"


def head() -> list[str]:
    """The columns of `rows`."""
    return [*HEAD, *COUNTS]


def markdown(config, dataset, results: Results, others: Sequence[Elsewhere]) -> list[str]:
    """The lines of results.md; none where one model was evaluated at home alone."""
    if len(results) < 2 and not others:
        return []
    marks = ["---"] * 3 + ["---:"] * (len(head()) - 3)
    table = [head(), marks, *rows(config, dataset, results, others)]
    lines = ["| " + " | ".join(row) + " |" for row in table]
    return [f"## {title(others)}", "", *lines, "", NOTE, *_counting(others), ""]


def _counting(others: Sequence[Elsewhere]) -> list[str]:
    """One line per other dataset on how it counts."""
    lines = [
        f"- {other.name}: against {other.config.dataset.reference_split}; protocol: "
        f"{protocol.words(protocol.used(other.config, other.dataset))}"
        for other in others
    ]
    return ["", *lines] if lines else []


def losses(others: Sequence[Elsewhere]) -> list[str]:
    """One sentence per query split abroad on which the fine-tuned model is worse than the untrained one.

    It is worse where the interval at a tolerance lies wholly below 0; the sentence gives the largest loss.
    """
    out = []
    for other in others:
        unit = other.config.dataset.position_unit
        for split, by_tolerance in other.changes().items():
            worse = [(t, moved) for t, moved in by_tolerance.items() if moved.worse]
            if worse:
                tolerance, moved = min(worse, key=lambda pair: pair[1].difference)
                out.append(
                    f"the model forgot: on {other.dataset.name}, {split}, it falls from "
                    f"{moved.before:.1f} % off the shelf to {moved.after:.1f} % within {tolerance} {unit}, "
                    f"{_points(moved)} points; eval.blend mixes both models"
                )
    return out


def to_json(others: Sequence[Elsewhere]) -> dict:
    """What results.json keeps of the other datasets, by name."""
    return {
        other.name: {
            "position_unit": other.config.dataset.position_unit,
            "tolerances": list(other.config.dataset.tolerances),
            "reference_split": other.config.dataset.reference_split,
            "counts": other.dataset.counts,
            "protocol": protocol.used(other.config, other.dataset),
            "results": figures(other.results),
            "change": change(other.config, other.results),
        }
        for other in others
    }


def figures(results: Results) -> dict:
    """The figures by model and query split."""
    return {
        model: {split: result.figures.to_json() for split, result in by_split.items()}
        for model, by_split in results.items()
    }


def change(config, results: Results) -> dict:
    """What changed from the first model to the last, by query split and tolerance; empty for one model."""
    return {
        split: {text: moved.to_json() for text, moved in by_tolerance.items()}
        for split, by_tolerance in elsewhere.changes(config, results).items()
        if by_tolerance
    }
