"""The figures of one query split: FCM and precision-recall curves, route map, distance strip."""

import numpy as np
from matplotlib.ticker import MaxNLocator

from vprjax.evaluation.measure import curve_tolerances
from vprjax.report.pictures import BLUE, FAINT, GREY, INK, ORANGE, Picture, new_figure, picture
from vprjax.report.result_files import NAMES

COLOURS = {"off_the_shelf": GREY, "fine_tuned": BLUE}
FLAT = 0.02  # a route narrower than this share of its length is drawn as a line, not as a map
DOTS = 4000  # queries drawn at most


def fcm_curves(config, split: str, results: dict, published: dict[float, float]) -> Picture:
    """FCM over tolerance of every model, the ceiling, and the paper's points where it has some.

    Args:
      config: the whole config.
      split: the query split.
      results: by model, the split's figures with `curve` and `oracle_curve` `(100,)`.
      published: the paper's FCM by tolerance; empty where there is none.
    """
    unit, tolerances = config.dataset.position_unit, config.dataset.tolerances
    x = curve_tolerances(tolerances)
    figure = new_figure()
    axis = figure.subplots()
    oracle = next(iter(results.values()))["oracle_curve"]
    axis.fill_between(x, oracle, 100, color=FAINT, alpha=0.6, lw=0, label="no reference near")
    for model, figures in results.items():
        axis.plot(x, figures["curve"], color=COLOURS[model], label=NAMES[model])
        for text, (low, high) in figures.get("interval", {}).items():
            axis.plot([float(text)] * 2, [low, high], color=COLOURS[model], lw=3.5, alpha=0.45)
    if published:
        axis.plot(
            *zip(*published.items(), strict=True), "D", color=ORANGE, ms=6, label="paper", ls=""
        )
    axis.set(
        xlabel=f"tolerance ({unit})",
        ylabel="FCM (% of queries)",
        ylim=(0, 100),
        xlim=(0, x[-1]),
        title=f"FCM over tolerance, {split}",
    )
    axis.legend(loc="best")
    told = [
        f"{NAMES[model]} "
        + ", ".join(f"{v:.1f} % at {t} {unit}" for t, v in reversed(figures["fcm"].items()))
        for model, figures in results.items()
    ]
    alt = f"FCM over tolerance on {split}: " + "; ".join(told)
    bars = any("interval" in figures for figures in results.values())
    return picture(figure, alt, "Bars: 95 % interval over the queries." if bars else "")


def precision_recall(split: str, results: dict) -> Picture | None:
    """Precision over recall of every model that has `precision` and `pr_recall` `(p,)`, percent."""
    shown = {m: f for m, f in results.items() if "precision" in f and "pr_recall" in f}
    if not shown:
        return None
    figure = new_figure()
    axis = figure.subplots()
    told = []
    for model, figures in shown.items():
        precision, recall = np.asarray(figures["precision"]), np.asarray(figures["pr_recall"])
        # Average precision is the area below: P_i from the recall before up to R_i.
        recall, precision = np.append(0.0, recall), np.append(precision[:1], precision)
        axis.step(recall, precision, where="pre", color=COLOURS[model], label=NAMES[model])
        average = figures.get("average_precision")
        told.append(NAMES[model] + (f", average precision {average:.1f} %" if average else ""))
    axis.set(xlabel="recall (%)", ylabel="precision (%)", xlim=(0, 100), ylim=(0, 102))
    axis.set_title(f"precision over recall, {split}")
    axis.legend(loc="best")
    return picture(figure, f"Precision over recall on {split}: " + "; ".join(told))


def route_maps(
    config, split: str, queries: np.ndarray, references: np.ndarray, errors: np.ndarray
) -> list[Picture]:
    """Where on the route the model is right and wrong: one map a tolerance, widest first.

    A route along a line, which makes no map, gives one picture with a row a tolerance.

    Args:
      config: the whole config.
      split: the query split.
      queries: `(q, 2)` positions.
      references: `(r, 2)` positions.
      errors: `(q,)` distance from a query to its retrieved reference, position units.
    """
    told = {t: _told(config, errors, t) for t in config.dataset.tolerances}  # of all queries
    every = max(1, -(-len(queries) // DOTS))
    queries, errors = queries[::every], errors[::every]
    spans = np.ptp(np.concatenate([queries, references]), axis=0)
    if spans.min() <= FLAT * spans.max():
        return [_line(config, split, queries[:, np.argmax(spans)], errors, told)]
    return [_map(config, split, queries, references, errors, t, told[t]) for t in told]


def _told(config, errors: np.ndarray, tolerance: float) -> str:
    share = 100 * np.mean(errors <= tolerance)
    return f"{tolerance:g} {config.dataset.position_unit}: {share:.1f} % right"


def _map(config, split: str, queries, references, errors, tolerance: float, told: str) -> Picture:
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
    axis.set(title=told, xlabel=f"x ({unit})", ylabel=f"y ({unit})")
    axis.xaxis.set_major_locator(MaxNLocator(4))
    axis.yaxis.set_major_locator(MaxNLocator(4))
    figure.legend(loc="outside lower center", ncols=2, markerscale=1.6)
    alt = (
        f"Route of {split} at {tolerance:g} {unit}: {int(right.sum())} of {len(right)} queries drawn as "
        f"right, the others as wrong; of all: {told}"
    )
    return picture(figure, alt)


def _line(config, split: str, along: np.ndarray, errors: np.ndarray, told: dict) -> Picture:
    """One row a tolerance, one upright stroke a query: right in its upper half, wrong in its lower."""
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
    axis.set_yticks(range(len(tolerances)), [told[t] for t in tolerances])
    axis.set(
        xlabel=f"position ({config.dataset.position_unit})", ylim=(len(tolerances) - 0.4, -0.6)
    )
    axis.grid(visible=False)
    legend = figure.legend(loc="outside lower center", ncols=2)
    for handle in legend.legend_handles:
        handle.set_linewidth(4)
    shares = "; ".join(told.values())
    return picture(
        figure,
        f"Where along {split} the answers are right, {len(errors)} queries drawn; of all: {shares}",
    )


def distance_strip(
    split: str, strip: np.ndarray, matched: np.ndarray, nearest: np.ndarray, references: int
) -> Picture:
    """Descriptor distances, queries down and references across, with the true path and the answers.

    Args:
      split: the query split.
      strip: `(a, b)` thumbnail of the distance matrix; its rows and columns are spread evenly over all
        queries and references.
      matched: `(q,)` retrieved reference of every query.
      nearest: `(q,)` the reference nearest in position, -1 where there is none.
      references: how many there are.
    """
    figure = new_figure(5.6, 3.8)
    axis = figure.subplots()
    q, r = len(matched), references
    shown = axis.imshow(
        strip, aspect="auto", cmap="cividis", extent=(0, r, q, 0), interpolation="nearest"
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
