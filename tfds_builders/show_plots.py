"""The pictures of `show`: the routes, and the same places across splits."""

import pathlib

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt

PLACES, SPLITS = 8, 8  # columns and rows of a contact sheet at most
DOTS = 5000  # positions drawn per split at most
ARROWS = 30  # headings drawn per split, about
LITERAL = {"text.parse_math": False}  # a $ in a name or unit is a $


@matplotlib.rc_context(LITERAL)
def routes(splits, unit: str, path: pathlib.Path) -> None:
    """Draws the routes of all splits over each other, wider lines below, as a PNG."""
    figure, axis = plt.subplots(figsize=(8, 7), layout="constrained")
    lines = []
    for number, split in enumerate(splits):
        every = max(1, len(split.positions) // DOTS)
        x, y = split.positions[::every].T
        width = 1.2 + 1.8 * (len(splits) - 1 - number) / max(1, len(splits) - 1)
        (line,) = axis.plot(x, y, linewidth=width, label=f"{split.name} ({len(split.positions)})")
        lines.append(line)
        axis.plot(x[:1], y[:1], "o", color=line.get_color(), markersize=4 + 2 * width)
        _arrows(axis, split, line.get_color())
    spans = np.ptp(np.concatenate([split.positions[split.located] for split in splits]), axis=0)
    if spans.min() > 0.02 * spans.max():
        axis.set_aspect("equal", adjustable="datalim")
    axis.ticklabel_format(style="plain", useOffset=False)
    axis.tick_params(axis="x", rotation=30)
    axis.set(
        xlabel=f"easting / x ({unit})",
        ylabel=f"northing / y ({unit})",
        title="routes (dot: start; arrows: headings)",
    )
    axis.grid(alpha=0.3)
    axis.legend(
        handles=lines
    )  # Matplotlib leaves out labels that begin with _ unless it gets the lines
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _arrows(axis, split, colour: str) -> None:
    """Draws some headings of a split, so that a turned or mirrored map shows."""
    known = split.located[np.isfinite(split.headings[split.located])]
    some = known[:: max(1, len(known) // ARROWS)]
    turns, (x, y) = split.headings[some], split.positions[some].T
    axis.quiver(x, y, np.sin(turns), np.cos(turns), color=colour, scale=24, width=0.003)


@matplotlib.rc_context(LITERAL)
def contact_sheet(splits, unit: str, path: pathlib.Path) -> None:
    """Draws one row per split and one column per place of the reference split, as a PNG.

    A cell holds the split's nearest image. It stays empty where another column's place is nearer.
    """
    shown = splits[:SPLITS]
    known = [split for split in splits if len(split.located)]
    anchor = next((split for split in known if split.name == "reference"), known[0])
    indices, reach = spread_along(anchor.positions[anchor.located])
    indices = anchor.located[indices]
    height, width = shown[0].image(0).shape[:2]
    size = (2.0 * len(indices), (2.0 * height / width + 0.35) * len(shown) + 0.4)
    figure, axes = plt.subplots(
        len(shown), len(indices), figsize=size, squeeze=False, layout="constrained"
    )
    for row, split in zip(axes, shown, strict=True):
        for axis, index in zip(row, indices, strict=True):
            nearest, distance = nearest_image(
                split, anchor.positions[index], anchor.headings[index]
            )
            axis.set(xticks=[], yticks=[])
            if distance > reach:
                axis.set_title("none near", fontsize=8, color="grey")
                continue
            axis.imshow(split.image(nearest)[..., ::-1])
            axis.set_title(f"{distance:.2f} {unit}", fontsize=8)
        row[0].set_ylabel(split.name)
    figure.suptitle(f"same places across splits (distance to the place in {anchor.name!r})")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def spread_along(positions: np.ndarray) -> tuple[np.ndarray, float]:
    """Indices of `PLACES` images evenly spaced along the route, and half their distance."""
    steps = np.linalg.norm(np.diff(positions, axis=0), axis=1)
    run = np.concatenate([[0.0], np.cumsum(steps)])
    count = min(PLACES, len(positions))
    wanted = (np.arange(count) + 0.5) / count * run[-1]
    return np.minimum(np.searchsorted(run, wanted), len(positions) - 1), run[-1] / count / 2


def nearest_image(split, position: np.ndarray, heading: float) -> tuple[int, float]:
    """Index and distance of the nearest image, within 60 degrees where headings are known.

    The distance is infinite where no position of the split is known.
    """
    distances = np.linalg.norm(split.positions - position, axis=1)
    distances = np.where(np.isnan(distances), np.inf, distances)
    turn = np.abs(np.angle(np.exp(1j * (split.headings - heading))))
    facing = ~(turn > np.pi / 3)  # NaN counts as facing
    if facing.any():
        distances = np.where(facing, distances, np.inf)
    index = int(np.argmin(distances))
    return index, float(distances[index])
