"""The paper's conclusions on measured figures: paired differences, and its claim on its own tables."""

import math
from collections.abc import Sequence

from analysis import scores
from analysis.scores import UNTRAINED, Scores
from analysis.text_table import NAMES, Table, difference, signed
from vprjax.report.published import Study

COMPARISONS = (  # part, first, second
    ("loss", "arcface", "triplet"),
    ("loss", "arcface", "contrastive"),
    ("loss", "multi_similarity", "triplet"),
    ("pooling", "gem", "netvlad"),
)


def trained_pairs(found: Scores, part: str, first: str, second: str) -> list[scores.Pair]:
    """`scores.pairs` without untrained models."""
    every = scores.pairs(found, part, first, second)
    return [pair for pair in every if pair.key.cell.loss not in UNTRAINED]


def comparison_table(found: Scores, whose: str) -> Table:
    """First minus second per tolerance with paired intervals, over all models and by the other part."""
    head = ["difference", "models", "n"] + [f"{t:g} {found.unit}" for t in found.tolerances]
    rows = []
    for part, first, second in COMPARISONS:
        every = trained_pairs(found, part, first, second)
        for name, group in _groups(every, "pooling" if part == "loss" else "loss"):
            by_tolerance = [
                scores.paired_mean([p for p in group if p.key.tolerance == t])
                for t in found.tolerances
            ]
            count = len({pair.key.cell for pair in group})
            figures = [difference(value) for value in by_tolerance]
            rows.append([f"{NAMES[first]} − {NAMES[second]}", name, str(count), *figures])
    notes = [
        "Points of FCM, mean of n pairs of models that differ in this part alone. A pair is its mean over "
        "query splits and seeds. Brackets hold the 95 % interval over pairs, or over a single pair's seeds."
    ]
    return Table(f"Comparisons, {whose}", head, rows, 2, notes)


def _groups(pairs: list[scores.Pair], part: str) -> list[tuple[str, list[scores.Pair]]]:
    """All pairs, then the pairs of each value of `part` where there are several."""
    values = list(dict.fromkeys(getattr(pair.key.cell, part) for pair in pairs))
    groups = [(f"all with {NAMES[v]}", v) for v in values] if len(values) > 1 else []
    out = [(name, [p for p in pairs if getattr(p.key.cell, part) == v]) for name, v in groups]
    return ([("all", pairs)] if pairs else []) + out


def claim_table(study: Study) -> Table:
    """Counts of the paper's own differences that lie where its text claims."""
    least, most = study.claim
    head = ["ArcFace minus", "pooling", "pairs", "mean", "least", "most"]
    head += [f"within {least:g} to {most:g}", "ahead", "equal", "behind"]
    rows, own = [], scores.of_study(study)
    for other in ("triplet", "contrastive"):
        every = scores.pairs(own, "loss", "arcface", other)
        for pooling in ("gem", "netvlad"):
            # The paper prints two decimals, and so do their differences.
            d = [round(p.difference, 2) for p in every if p.key.cell.pooling == pooling]
            counts = [least <= x <= most for x in d], [x > 0 for x in d], [x == 0 for x in d]
            row = [other, NAMES[pooling], str(len(d))]
            row += [signed(x) for x in (_mean(d), min(d), max(d))]
            row += [str(sum(count)) for count in (*counts, [x < 0 for x in d])]
            rows.append(row)
    return Table(
        f"The claim that ArcFace is {least:g} to {most:g} % ahead, {study.title}",
        head,
        rows,
        2,
        [claim_sentence(study)],
    )


def claim_sentence(study: Study) -> str:
    """One paragraph on where the paper's own table supports the claim."""
    least, most = study.claim
    own, inside, outside, singles = scores.of_study(study), [], [], []
    for pooling in ("gem", "netvlad"):
        for other in ("triplet", "contrastive"):
            every = scores.pairs(own, "loss", "arcface", other)
            d = [round(p.difference, 2) for p in every if p.key.cell.pooling == pooling]
            average = _mean(d)
            words = f"{NAMES[pooling]} against {other} ({signed(average)})"
            (inside if least <= average <= most else outside).append(words)
            singles += [least <= x <= most for x in d]
    return (
        f"The text claims a lead of {least:g} to {most:g} %. In the paper's own table the mean difference "
        f"lies there for {' and '.join(inside) or 'nothing'}, and not for {', '.join(outside)}; of the "
        f"{len(singles)} single differences {sum(singles)} lie there. A general lead of that size is not "
        "in the table."
    )


def _mean(values: Sequence[float]) -> float:
    """The mean of decimals, so that a tie such as 1.075 prints as 1.08 in every Python.

    `sum` rounds each step before Python 3.12 and compensates from then on.
    """
    found = math.fsum(values) / len(values)
    return found + math.copysign(1e-9, found)


def sentences(found: Scores) -> list[str]:
    """One sentence per comparison: which part leads, by how much, and where the interval agrees."""
    out = []
    for part, first, second in COMPARISONS:
        every = trained_pairs(found, part, first, second)
        if not every:
            continue
        means = {
            t: scores.paired_mean([p for p in every if p.key.tolerance == t])
            for t in found.tolerances
        }
        values = [value.mean for value in means.values()]
        certain = {t: value.interval for t, value in means.items() if value.interval}
        certainty = {
            "ahead beyond the interval": [t for t, (low, _) in certain.items() if low > 0],
            "behind beyond the interval": [t for t, (_, high) in certain.items() if high < 0],
            "not separated": [t for t in means if t not in certain or _holds(certain[t], 0.0)],
        }
        parts = [
            f"{words} at {', '.join(f'{t:g}' for t in ts)} {found.unit}"
            for words, ts in certainty.items()
            if ts
        ]
        out.append(
            f"{NAMES[first]} against {NAMES[second]}, {len({pair.key.cell for pair in every})} pairs: "
            f"{signed(min(values))} to {signed(max(values))} points on average over the tolerances; "
            + "; ".join(parts)
            + "."
        )
    return out


def _holds(interval: tuple[float, float], value: float) -> bool:
    return interval[0] <= value <= interval[1]
