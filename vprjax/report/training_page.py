"""Training on the page: curves, health metrics and times from the files of the workdir."""

import pathlib
from typing import NamedTuple

import numpy as np
from matplotlib.ticker import FormatStrFormatter, MaxNLocator, NullFormatter

from vprjax.report.pictures import BLUE, GREEN, GREY, ORANGE, Picture, new_figure, picture
from vprjax.storage.json_lines import read_rows

COLOURS = (BLUE, ORANGE, GREEN, GREY)


class Panel(NamedTuple):
    """One chart over steps: labels of metrics.jsonl's columns, on a linear or log axis."""

    title: str
    series: dict[str, str]
    log: bool = False


PANELS = (
    Panel("loss", {"loss": "loss"}),
    Panel("share of active terms", {"active": "active"}),
    Panel(
        "descriptor distance",
        {"positive_distance": "to positives", "negative_distance": "to negatives"},
    ),
    Panel(
        "gradient norm",
        {
            "grad_norm": "all",
            "grad_norm_backbone": "backbone",
            "grad_norm_head": "head",
            "grad_norm_classes": "class weights",
        },
        log=True,
    ),
    Panel("variance of descriptors (0: collapsed)", {"variance": "variance"}),
    Panel("effective rank of descriptors", {"effective_rank": "rank"}),
    Panel("learning rate", {"learning_rate": "rate"}),
    Panel("GeM exponent p", {"gem_p": "p"}),
)


def curves(workdir: pathlib.Path) -> list[Picture]:
    """Charts of `metrics.jsonl` and `validation.jsonl`; empty where both are missing."""
    metrics = read_rows(workdir / "metrics.jsonl")
    pictures = [_panel(panel, metrics) for panel in PANELS]
    pictures += [_histogram(metrics), _validation(read_rows(workdir / "validation.jsonl"))]
    return [found for found in pictures if found]


def _panel(panel: Panel, metrics: list[dict]) -> Picture | None:
    found = {}
    for name, label in panel.series.items():
        points = [(row["step"], row[name]) for row in metrics if _is_number(row.get(name))]
        if points and (not panel.log or any(value > 0 for _, value in points)):
            found[label] = np.array(points, np.float64).T
    if not found:
        return None
    figure = new_figure(4.2, 2.6)
    axis = figure.subplots()
    for (label, (steps, values)), colour in zip(found.items(), COLOURS, strict=False):
        mark = "." if len(steps) < 30 else ""
        axis.plot(steps, values, color=colour, label=label, marker=mark, lw=1.4)
    axis.set(xlabel="step", title=panel.title)
    axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    if panel.log:
        axis.set_yscale("log")
        axis.yaxis.set_major_formatter(FormatStrFormatter("%g"))  # the default writes TeX
        axis.yaxis.set_minor_formatter(NullFormatter())
    if len(found) > 1:
        axis.legend()
    ranges = [f"{label} from {v[0]:.3g} to {v[-1]:.3g}" for label, (_, v) in found.items()]
    return picture(figure, f"{panel.title} over training steps: " + "; ".join(ranges))


def _is_number(value) -> bool:
    return isinstance(value, int | float) and np.isfinite(value)


def _histogram(metrics: list[dict]) -> Picture | None:
    """Distances to positives and negatives in the first and the last tenth of training."""
    kinds = {"positive_histogram": "to positives", "negative_histogram": "to negatives"}
    usable = [row for row in metrics if all(row.get(name) for name in kinds)]
    if not usable:
        return None
    figure = new_figure(4.2, 2.6)
    axis = figure.subplots()
    tenth = max(1, len(usable) // 10)
    for (name, label), colour in zip(kinds.items(), COLOURS, strict=False):
        for part, alpha, word in ((usable[:tenth], 0.35, "first"), (usable[-tenth:], 1.0, "last")):
            counts = np.sum([row[name] for row in part], axis=0, dtype=np.float64)
            edges = np.linspace(0, 2, len(counts) + 1)
            share = counts / max(1.0, counts.sum())
            axis.stairs(share, edges, color=colour, alpha=alpha, label=f"{label}, {word} tenth")
    axis.set(xlabel="descriptor distance", ylabel="share", title="distances within tuples")
    axis.legend(fontsize=8)
    return picture(figure, "Histogram of descriptor distances early and late in training")


def _validation(found: list[dict]) -> Picture | None:
    points = [(row["step"], row["mean"]) for row in found if _is_number(row.get("mean"))]
    if not points:
        return None
    figure = new_figure(4.2, 2.6)
    axis = figure.subplots()
    steps, values = np.array(points, np.float64).T
    best = int(np.argmax(values))
    axis.plot(steps, values, color=BLUE, marker=".", lw=1.4)
    axis.plot(steps[best], values[best], "D", color=ORANGE, label=f"best, step {steps[best]:.0f}")
    axis.set(xlabel="step", ylabel="%", title="validation: FCM, mean over tolerances")
    axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axis.legend()
    alt = f"Validation FCM over steps, best {values[best]:.1f} % at step {steps[best]:.0f}"
    return picture(figure, alt)


def times(workdir: pathlib.Path) -> list[tuple[str, str]]:
    """Names and values of `timing.jsonl`; empty where the file is missing."""
    found = read_rows(workdir / "timing.jsonl")
    if not found:
        return []
    steps = [row["step"] for row in found]
    counts = np.diff([0, *steps])
    a_step = [row["step_seconds"] / n for row, n in zip(found, counts, strict=True) if n > 0]

    def total(name: str) -> float:
        return sum(row.get(name, 0.0) for row in found)

    return [
        ("steps", f"{steps[-1]:,}"),
        ("training", duration(total("seconds"))),
        ("of it steps", duration(total("step_seconds"))),
        ("of it mining", duration(total("mining_seconds"))),
        ("of it validation", duration(total("validation_seconds"))),
        ("of it waiting for images", duration(total("data_seconds"))),
        ("a step, median", f"{1000 * float(np.median(a_step)):,.1f} ms"),
    ]


def duration(seconds: float) -> str:
    """Seconds as `12.3 s`, `4 min 05 s` or `2 h 03 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"
