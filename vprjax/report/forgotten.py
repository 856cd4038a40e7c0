"""What a model forgot: queries abroad that were right before training and are wrong after."""

from collections.abc import Sequence

import numpy as np

from vprjax.evaluation.elsewhere import Elsewhere
from vprjax.evaluation.result import Result
from vprjax.report import gallery


def sections(others: Sequence[Elsewhere]) -> list[dict]:
    """The template's fields, one entry per other dataset that has two models.

    Raises:
      DataError: an image that the page shows cannot be read.
    """
    return [
        {"name": other.name, "splits": [_split(other, split) for split in moved]}
        for other in others
        if (moved := {split: found for split, found in other.changes().items() if found})
    ]


def _split(other: Elsewhere, split: str) -> dict:
    """The counts at every tolerance, and cases at the one that lost most."""
    by_tolerance, unit = other.changes()[split], other.config.dataset.position_unit
    worst = min(by_tolerance, key=lambda text: by_tolerance[text].difference)
    results = [found[split] for found in other.results.values()]
    before, after = results[0], results[-1]
    group = gallery.changed(
        other.config,
        other.dataset.places((split,)),
        other.dataset.places((other.config.dataset.reference_split,)),
        (before.matches, after.matches),
        _lost(before, after, float(worst)),
    )
    return {
        "name": split,
        "counts": [
            f"Within {text} {unit}: {moved.lost:,} of {moved.queries:,} queries were right and are wrong, "
            f"{moved.gained:,} were wrong and are right."
            for text, moved in by_tolerance.items()
        ],
        "within": f"{worst} {unit}",
        "group": group,
    }


def _lost(before: Result, after: Result, tolerance: float) -> np.ndarray:
    """Numbers of the queries that the first model alone has right, the surest wrong answers first."""
    right, still = (x.matches.errors <= tolerance for x in (before, after))
    lost = np.flatnonzero(right & ~still)
    return lost[np.argsort(after.matches.distances[lost], kind="stable")]
