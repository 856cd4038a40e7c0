"""The figures of one query split: FCM and precision-recall curves, route map, distance strip."""

import numpy as np
from matplotlib.ticker import MaxNLocator

from vprjax.evaluation.result import MODEL_NAMES, Result
from vprjax.report import fcm_curve
from vprjax.report.pictures import (
    BLUE,
    FAINT,
    GREEN,
    GREY,
    INK,
    ORANGE,
    Picture,
    new_figure,
    picture,
)

COLOURS = {"off_the_shelf": GREY, "fine_tuned": BLUE, "baseline": GREEN}
LOOK = fcm_curve.Look(
    COLOURS, {"color": FAINT, "alpha": 0.6, "label": "no reference near"}, intervals=True
)
FLAT = 0.02  # a route narrower than this share of its length is drawn as a line, not as a map
DOTS = 4000  # queries drawn at most


def fcm_curves(
    config, split: str, by_model: dict[str, Result], published: dict[float, float]
) -> Picture:
    """FCM over tolerance of every model, the ceiling, and the paper's points where it has some.

    Args:
      config: the whole config.
      split: the query split.
      by_model: the split's result per model.
      published: the paper's FCM by tolerance; empty where there is none.
    """
    unit = config.dataset.position_unit
    figure = new_figure()
    axis = figure.subplots()
    fcm_curve.draw(axis, by_model, LOOK)
    if published:
        axis.plot(
            *zip(*published.items(), strict=True), "D", color=ORANGE, ms=6, label="paper", ls=""
        )
    axis.set(
        xlabel=f"tolerance ({unit})",
        ylabel="FCM (% of queries)",
        title=f"FCM over tolerance, {split}",
    )
    axis.legend(loc="best")
    shares = [
        f"{MODEL_NAMES[model]} "
        + ", ".join(f"{v:.1f} % at {t} {unit}" for t, v in reversed(result.figures.fcm.items()))
        for model, result in by_model.items()
    ]
    alt = f"FCM over tolerance on {split}: " + "; ".join(shares)
    return picture(figure, alt, "Bars: 95 % interval over the queries.")


def precision_recall(split: str, by_model: dict[str, Result]) -> Picture:
    """Precision over recall of every model on one query split."""
    figure = new_figure()
    axis = figure.subplots()
    words = []
    for model, result in by_model.items():
        name, curves, average = MODEL_NAMES[model], result.curves, result.figures.average_precision
        # Average precision is the area below: P_i from the recall before up to R_i.
        recall = np.append(0.0, curves.recall)
        precision = np.append(curves.precision[:1], curves.precision)
        axis.step(recall, precision, where="pre", color=COLOURS[model], label=name)
        words.append(name + (f", average precision {average:.1f} %" if average else ""))
    axis.set(xlabel="recall (%)", ylabel="precision (%)", xlim=(0, 100), ylim=(0, 102))
    axis.set_title(f"precision over recall, {split}")
    axis.legend(loc="best")
    return picture(figure, f"Precision over recall on {split}: " + "; ".join(words))


def route_maps(
    config, split: str, queries: np.ndarray, references: np.ndarray, errors: np.ndarray
) -> list[Picture]:
    """Where on the route the model is right and wrong: one map per tolerance, widest first.

    A route along a line gives no map but one picture with a row per tolerance.

    Args:
      config: the whole config.
      split: the query split.
      queries: `(q, 2)` positions.
      references: `(r, 2)` positions.
      errors: `(q,)` distance from a query to its match, position units.
    """
    titles = {t: _title(config, errors, t) for t in config.dataset.tolerances}  # of all queries
    every = max(1, -(-len(queries) // DOTS))
    queries, errors = queries[::every], errors[::every]
    spans = np.ptp(np.concatenate([queries, references]), axis=0)
    if spans.min() <= FLAT * spans.max():
        return [_line(config, split, queries[:, np.argmax(spans)], errors, titles)]
    return [_map(config, split, queries, references, errors, t, titles[t]) for t in titles]


def _title(config, errors: np.ndarray, tolerance: float) -> str:
    share = 100 * np.mean(errors <= tolerance)
    return f"{tolerance:g} {config.dataset.position_unit}: {share:.1f} % right"


def _map(config, split: str, queries, references, errors, tolerance: float, title: str) -> Picture:
    unit, right = config.dataset.position_unit, errors <= tolerance
    figure = new_figure(3.4, 3.4)
    axis = figure.subplots()
    origin = references.min(axis=0)
    axis.plot(*(references - origin).T, ".", color=GREY, alpha=0.5, ms=2, zorder=1, rasterized=True)
    for chosen, colour, mark, label in (
        (right, BLUE, "o", "right"),
        (~right, ORANGE, "x", "wrong"),
    ):
        points = (queries - origin)[chosen].T
        above = 3 if chosen.mean() <= 0.5 else 2  # the fewer stay visible
        axis.plot(
            *points, mark, color=colour, ms=3, mew=0.9, zorder=above, label=label, rasterized=True
        )
    axis.set_aspect("equal", adjustable="datalim")
    axis.set(title=title, xlabel=f"x ({unit})", ylabel=f"y ({unit})")
    axis.xaxis.set_major_locator(MaxNLocator(4))
    axis.yaxis.set_major_locator(MaxNLocator(4))
    figure.legend(loc="outside lower center", ncols=2, markerscale=1.6)
    alt = (
        f"Route of {split} at {tolerance:g} {unit}: {int(right.sum())} of {len(right)} queries drawn as "
        f"right, the others as wrong; of all: {title}"
    )
    return picture(figure, alt)


def _line(config, split: str, along: np.ndarray, errors: np.ndarray, titles: dict) -> Picture:
    """One row per tolerance, one stroke per query: right in its upper half, wrong in its lower."""
    tolerances = config.dataset.tolerances
    figure = new_figure(7.5, 1.1 + 0.42 * len(tolerances))
    axis = figure.subplots()
    for row, tolerance in enumerate(tolerances):
        right = errors <= tolerance
        for chosen, colour, low, label in (
            (right, BLUE, -0.4, "right"),
            (~right, ORANGE, 0.02, "wrong"),
        ):
            name = label if row == 0 else None
            span = row + low, row + low + 0.38
            axis.vlines(along[chosen], *span, color=colour, lw=0.6, label=name, rasterized=True)
    axis.set_yticks(range(len(tolerances)), [titles[t] for t in tolerances])
    axis.set(
        xlabel=f"position ({config.dataset.position_unit})", ylim=(len(tolerances) - 0.4, -0.6)
    )
    axis.grid(visible=False)
    legend = figure.legend(loc="outside lower center", ncols=2)
    for handle in legend.legend_handles:
        handle.set_linewidth(4)
    shares = "; ".join(titles.values())
    return picture(
        figure,
        f"Where along {split} the answers are right, {len(errors)} queries drawn; of all: {shares}",
    )


def distance_strip(split: str, result: Result) -> Picture:
    """Descriptor distances, queries down and references across, with matches and nearest references."""
    figure = new_figure(5.6, 3.8)
    axis = figure.subplots()
    q, r = result.figures.queries, result.figures.references
    matched, nearest = result.matches.numbers, result.matches.nearest
    shown = axis.imshow(
        result.strip, aspect="auto", cmap="cividis", extent=(0, r, q, 0), interpolation="nearest"
    )
    drawn = np.unique(np.linspace(0, q - 1, min(q, 600)).astype(int))
    rows = drawn[nearest[drawn] >= 0]
    true = nearest[rows]
    axis.plot(matched[drawn] + 0.5, drawn + 0.5, ".", color="white", ms=2.5, label="retrieved")
    axis.plot(true + 0.5, rows + 0.5, ".", color="#ff5d2e", ms=1.8, label="nearest by position")
    axis.set(xlabel="reference", ylabel="query", xlim=(0, r), ylim=(q, 0))
    axis.set_title(f"descriptor distances, {split}")
    axis.grid(visible=False)
    bar = figure.colorbar(shown, ax=axis, label="descriptor distance", pad=0.02)
    bar.outline.set_edgecolor(INK)
    legend = figure.legend(loc="outside lower center", ncols=2, markerscale=4)
    for handle in legend.legend_handles:
        handle.set_markeredgecolor(INK)
    agree = 100 * np.count_nonzero(true == matched[rows]) / len(drawn)
    alt = (
        f"Descriptor distance between every query of {split} (down) and every reference (across); the "
        f"retrieved reference is the nearest by position for {agree:.0f} % of the queries drawn"
    )
    return picture(figure, alt)
