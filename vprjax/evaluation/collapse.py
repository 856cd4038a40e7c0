"""Bounds below which descriptors have collapsed, and sentences on logs and descriptors beyond them."""

from collections.abc import Mapping, Sequence

import numpy as np

LEAST_RANK = 1.5  # an effective rank near 1 puts descriptors on one line
LEAST_VARIANCE = 1e-3  # near 0 in one point: a cloud as small as rounding may have any rank
START = "look at the training images and model.weights first"
ROWS = 128  # evenly spread descriptors that `descriptor_doubts` looks at


def apart(figures: Mapping[str, float]) -> bool:
    """Whether `variance` and `effective_rank` lie above their bounds; a missing one does, NaN does not."""
    return (
        figures.get("variance", np.inf) > LEAST_VARIANCE
        and figures.get("effective_rank", np.inf) > LEAST_RANK
    )


def moved(rows: Sequence[Mapping[str, float]]) -> bool:
    """Whether the loss of logged rows differs anywhere."""
    return len({row["loss"] for row in rows}) > 1


def spread(descriptors: np.ndarray) -> dict[str, float]:
    """Variance and effective rank of descriptors `(n, d)`, as `training.health.spread` defines them."""
    x = np.asarray(descriptors, np.float32)
    x = x - x.mean(axis=0)
    gram = x @ x.T
    trace, squares = float(np.trace(gram)), float(np.sum(gram**2))
    rank = trace**2 / squares if trace > 1e-6 * len(x) else 0.0
    return {"variance": trace / len(x), "effective_rank": rank}


def row_words(row: Mapping[str, float], learning_rate: float) -> str:
    """One sentence on a logged row that is not `apart`, for the log of a running training."""
    return (
        f"the descriptors collapsed at step {row['step']} ({_figures(row)}); stop the run, lower "
        f"optim.learning_rate={learning_rate:g} or, with tuples, set tuples.mining=semi_hard; where it was "
        f"so from the start, {START}"
    )


def training_doubts(rows: Sequence[Mapping[str, float]], learning_rate: float) -> list[str]:
    """Sentences on a training whose logged rows show a collapse or a loss that never moved; else empty."""
    bad, out = [row for row in rows if not apart(row)], []
    if bad:
        worst = {
            name: min(row[name] for row in bad if name in row)
            for name in ("variance", "effective_rank")
            if any(name in row for row in bad)
        }
        until = "the last one included" if bad[-1] is rows[-1] else f"the last at {bad[-1]['step']}"
        out.append(
            f"the descriptors collapsed in training: {len(bad)} of {len(rows)} logged rows, the first at "
            f"step {bad[0]['step']}, {until}, have {_figures(worst)}; lower optim.learning_rate="
            f"{learning_rate:g} or, with tuples, set tuples.mining=semi_hard, and train again"
            + (f"; as it was so from the start, {START}" if bad[0] is rows[0] else "")
        )
    losses = [row for row in rows if "loss" in row]
    if len(losses) > 1 and not moved(losses):
        out.append(
            f"the loss stayed at {losses[0]['loss']:g} in all {len(losses)} logged rows: nothing was "
            "learned; raise the loss's margin or optim.learning_rate, or train more stages"
        )
    return out


def descriptor_doubts(references: np.ndarray) -> list[str]:
    """One sentence where the references' descriptors `(n, d)`, n > 1, are not `apart`; else empty."""
    if len(references) < 2:
        return []
    found = spread(_some(references))
    if len(references) < 4:  # the rank of three points is 2 at most
        del found["effective_rank"]
    if apart(found):
        return []
    return [
        f"the references' descriptors have collapsed ({_figures(found)}): this model hardly tells "
        "places apart; check model.weights and the training"
    ]


def query_doubts(queries: np.ndarray) -> list[str]:
    """One sentence where more than one query's descriptors `(n, d)` nearly coincide; else empty."""
    found = {"variance": spread(_some(queries))["variance"]}
    if len(queries) < 2 or apart(found):
        return []
    return [
        f"the queries' descriptors nearly coincide ({_figures(found)}), so that all get one answer: their "
        "images show one view or are empty; look at them"
    ]


def _some(descriptors: np.ndarray) -> np.ndarray:
    """Up to `ROWS` of the descriptors, evenly spread."""
    last, count = len(descriptors) - 1, min(ROWS, len(descriptors))
    return descriptors[np.unique(np.linspace(0, last, count).astype(int))]


def _figures(figures: Mapping[str, float]) -> str:
    bounds = {"variance": LEAST_VARIANCE, "effective_rank": LEAST_RANK}
    return " and ".join(
        f"{name.replace('_', ' ')} {figures[name]:.2g} where above {bound:g} is sound"
        for name, bound in bounds.items()
        if name in figures
    )
