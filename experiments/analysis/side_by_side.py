"""Two grids side by side, cell by cell: the mean over seeds of each, and their paired difference."""

from analysis import scores
from analysis.scores import UNTRAINED, Key, Scores
from analysis.text_table import NAMES, Table, difference, shown
from vprjax.errors import DataError


def compare(first: Scores, second: Scores, names: tuple[str, str]) -> Table:
    """One row per cell, query split and tolerance: FCM (%) of both, and first minus second.

    Raises:
      DataError: they are of different datasets, or have no cell in common.
    """
    if first.dataset != second.dataset:
        raise DataError(f"{names[0]} is of {first.dataset}, {names[1]} of {second.dataset}")
    rows = []
    for key, by_seed in first.values.items():
        seeds = sorted(set(by_seed) & set(second.values.get(key, {})))
        if key.cell.loss in UNTRAINED or not seeds:
            continue
        pair = [
            [values[key][seed].fcm for seed in seeds] for values in (first.values, second.values)
        ]
        gain = scores.mean([a - b for a, b in zip(*pair, strict=True)])
        means = [shown(scores.mean(values)) for values in pair]
        rows.append([*_words(key, first.unit), str(len(seeds)), *means, difference(gain)])
    if not rows:
        raise DataError(f"{names[0]} and {names[1]} have no cell and seed in common")
    head = ["backbone", "pooling", "loss", "queries", "within", "seeds", *names, "difference"]
    note = "FCM (%), mean over seeds; in brackets Student's 95 % interval, of differences within a seed."
    notes = [*scores.other_protocols(first.protocol, second.protocol, names), note]
    return Table(f"{names[0]} against {names[1]} on {first.dataset}", head, rows, 5, notes)


def _words(key: Key, unit: str) -> list[str]:
    cell = key.cell
    named = [NAMES[cell.backbone], NAMES[cell.pooling], NAMES[cell.loss]]
    return [*named, key.test, f"{key.tolerance:g} {unit}"]
