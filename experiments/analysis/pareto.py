"""Home against abroad: the front of settings that no other beats in both, and its picture."""

import collections
import pathlib
from collections.abc import Mapping

import matplotlib
from matplotlib.figure import Figure

from analysis.record_scores import model_name
from analysis.text_table import NAMES

PICTURE = "forgetting.svg"
COLOURS = {"triplet": "#2a9d72", "contrastive": "#d4671c", "arcface": "#2f81f7"}
OTHER = "#57606a"
COLUMNS = 2
LEAST = 4  # points in a panel


def _panel_of(line) -> tuple[str, str, str]:
    return line.cell, line.home, line.abroad


def named(side: str) -> str:
    """`nordland test02, 1 frames` of `places_csv/nordland:1.0.0 test02 1 frames`."""
    dataset, split, *within = side.split(" ")
    return f"{dataset.partition(':')[0].rpartition('/')[2]} {split}, {' '.join(within)}"


def front(points: Mapping) -> list:
    """The lines that no other line on the same datasets and model reaches in both and beats in one.

    Args:
      points: mean FCM at home and abroad by `forgetting.Line`.
    """

    def beaten(line) -> bool:
        home, abroad = points[line]
        return any(
            _panel_of(other) == _panel_of(line)
            and x >= home
            and y >= abroad
            and (x > home or y > abroad)
            for other, (x, y) in points.items()
        )

    return [line for line in points if not beaten(line)]


def picture(path: pathlib.Path, points: Mapping) -> None:
    """Draws points by `forgetting.Line`, abroad over home, and the front: a panel per model and datasets.

    Numbers name the settings beside each panel. Panels of fewer than `LEAST` points are left to the table,
    where others have as many.

    Raises:
      OSError: the file cannot be written.
    """
    counts = collections.Counter(map(_panel_of, points))
    panels = [panel for panel, n in counts.items() if n >= min(LEAST, max(counts.values()))]
    best, rows = front(points), -(-len(panels) // COLUMNS)
    with matplotlib.rc_context({"svg.hashsalt": "vprjax", "text.parse_math": False}):
        figure = Figure(figsize=(8 * COLUMNS, 3.9 * rows), layout="constrained")
        axes = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
        for axis in axes[len(panels) :]:
            axis.remove()
        for axis, panel in zip(axes[: len(panels)], panels, strict=True):
            own = {line: point for line, point in points.items() if _panel_of(line) == panel}
            _panel(axis, panel, own, best)
        figure.savefig(path, metadata={"Date": None})


def _panel(axis, panel: tuple[str, str, str], points: dict, best: list) -> None:
    settings = list(dict.fromkeys(line.setting for line in points))
    key = "\n".join(f"{i} {setting}" for i, setting in enumerate(settings, start=1))
    axis.text(1.03, 1, key, transform=axis.transAxes, va="top", fontsize=7.5)
    for line, (x, y) in points.items():
        shape = "o" if line.loss else "*"
        axis.plot(x, y, shape, color=COLOURS.get(line.loss, OTHER), ms=9 if shape == "*" else 6)
        number = str(1 + settings.index(line.setting))
        axis.annotate(number, (x, y), xytext=(5, 4), textcoords="offset points", fontsize=7.5)
    edge = sorted(points[line] for line in points if line in best)
    axis.plot(*zip(*edge, strict=True), color="#8b949e", lw=1, zorder=0)
    for loss in dict.fromkeys(line.loss for line in points if line.loss):
        axis.plot([], [], "o", color=COLOURS.get(loss, OTHER), label=NAMES[loss])
    cell, home, abroad = panel
    axis.set(
        xlabel=f"{named(home)}, FCM (%)",
        ylabel=f"{named(abroad)}, FCM (%)",
        title=model_name(*cell.split("-")),
    )
    axis.margins(0.16)
    axis.legend(frameon=False)
