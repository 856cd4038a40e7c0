"""FCM over tolerance: the one function that draws it, and fcm.png."""

import io
from typing import NamedTuple

from vprjax.evaluation.result import MODEL_NAMES, Result, Results


class Look(NamedTuple):
    """What differs between fcm.png and a page.

    Attributes:
      colours: by model.
      band: keywords of the area above the ceiling.
      intervals: whether bars show the intervals at the tolerances.
    """

    colours: dict[str, str]
    band: dict
    intervals: bool


PNG = Look(
    {"off_the_shelf": "#8a8f98", "fine_tuned": "#1f6feb", "baseline": "#1a7f37"},
    {"color": "#e8e8e8", "label": "no reference"},
    intervals=False,
)


def draw(axis, by_model: dict[str, Result], look: Look) -> None:
    """Draws the FCM curve of every model on one query split, and the area above the ceiling.

    Args:
      axis: Matplotlib axes.
      by_model: the split's result per model, at least one.
      look: colours and marks.
    """
    first = next(iter(by_model.values())).curves
    axis.fill_between(first.tolerances, first.oracle_fcm, 100, lw=0, **look.band)
    for model, result in by_model.items():
        colour, curves = look.colours[model], result.curves
        axis.plot(curves.tolerances, curves.fcm, color=colour, label=MODEL_NAMES[model])
        for tolerance, ends in result.figures.interval.items() if look.intervals else ():
            axis.plot([float(tolerance)] * 2, ends, color=colour, lw=3.5, alpha=0.45)
    axis.set(ylim=(0, 100), xlim=(0, first.tolerances[-1]))


def png(config, results: Results) -> bytes:
    """Returns fcm.png, one panel per query split.

    Args:
      config: the whole config.
      results: by model and query split.
    """
    import matplotlib  # costs 0.3 s, which --help need not wait for
    from matplotlib.figure import Figure

    splits = list(config.dataset.query_splits)
    # A $ in a name is a $.
    with matplotlib.rc_context({"text.parse_math": False, "lines.linewidth": 2}):
        figure = Figure(figsize=(4.6 * len(splits), 3.6), dpi=130)
        axes = figure.subplots(1, len(splits), sharey=True, squeeze=False)[0]
        for axis, split in zip(axes, splits, strict=True):
            draw(axis, {model: found[split] for model, found in results.items()}, PNG)
            for tolerance in config.dataset.tolerances:
                axis.axvline(tolerance, color="#cccccc", lw=0.8, zorder=0)
            axis.set(title=split, xlabel=f"tolerance tau ({config.dataset.position_unit})")
            axis.spines[["top", "right"]].set_visible(False)
        axes[0].set_ylabel("FCM (% of queries)")
        axes[-1].legend(frameon=False, loc="best")
        figure.tight_layout()
        out = io.BytesIO()
        figure.savefig(out, format="png")
    return out.getvalue()
