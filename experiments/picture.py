"""Draws one picture of a run: a query with its right match, and one with a wrong match.

    python experiments/picture.py --workdir=runs/synthetic --out=matches.png

The picture shows the surest answers of one query split, those nearest to their match in descriptor space.
One is right at the narrowest tolerance, one wrong at the widest. Beside the wrong match stands the
reference nearest by position.
"""

import argparse
import csv
import dataclasses
import json
import pathlib
import sys

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from ml_collections import ConfigDict

from vprjax.data import source
from vprjax.errors import DataError, VprjaxError
from vprjax.report import gallery

GREY, GREEN, RED = "#57606a", "#1a7f37", "#cf222e"
WIDTHS = (1, 1, 0.12, 1, 1, 1)  # of the columns; the narrow one separates the two queries


@dataclasses.dataclass(frozen=True)
class Panel:
    """An image, uint8 `(h, w, 3)`, with its title, caption and their colour."""

    image: np.ndarray
    title: str
    caption: str
    colour: str


def panels(rows: list[dict], queries, references, config) -> list[Panel]:
    """The five images: query and right match, query, wrong match and nearest reference.

    Args:
      rows: of `matches/MODEL_SPLIT.csv`, one per query in the split's order.
      queries: the query split.
      references: the reference split.
      config: the run's config, whose tolerances define a right match.

    Raises:
      DataError: the run has no right or no wrong match.
    """
    errors, distances = (
        np.array([float(row[name] or "nan") for row in rows]) for name in ("error", "distance")
    )
    chosen = gallery.choose(errors, distances, config.dataset.tolerances)
    best, worst = chosen["Surest right answers"], chosen["Surest wrong answers"]
    if not len(best) or not len(worst):
        raise DataError("the run has no right match or no wrong one; choose another --split")
    number_of = {name: i for i, name in enumerate(references.image_ids)}

    def match(query: int, title: str, colour: str) -> Panel:
        return reference(query, number_of[rows[query]["match"]], title, colour)

    def reference(query: int, number: int, title: str, colour: str) -> Panel:
        away = np.linalg.norm(queries.positions[query] - references.positions[number])
        caption = f"{away:.1f} {config.dataset.position_unit} from the query"
        return Panel(references.images(number), title, caption, colour)

    def asked(query: int) -> Panel:
        return Panel(queries.images(query), "query", str(queries.image_ids[query]), GREY)

    right, wrong = int(best[0]), int(worst[0])
    gaps = np.linalg.norm(references.positions - queries.positions[wrong], axis=1)
    return [
        asked(right),
        match(right, "its match: right", GREEN),
        asked(wrong),
        match(wrong, "its match: wrong", RED),
        reference(wrong, int(gaps.argmin()), "nearest reference", GREY),
    ]


def draw(shown: list[Panel]) -> Figure:
    """Draws the panels side by side, 900 pixels wide."""
    height, width = shown[0].image.shape[:2]
    figure = Figure(figsize=(9, 9 / sum(WIDTHS) * height / width + 0.56), dpi=100)
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(
        1, len(WIDTHS), width_ratios=WIDTHS, left=0.003, right=0.997, wspace=0.03
    )
    columns = [i for i, width in enumerate(WIDTHS) if width == 1]
    for panel, column in zip(shown, columns, strict=True):
        axis = figure.add_subplot(grid[column])
        axis.imshow(panel.image, interpolation="bicubic")
        axis.set(xticks=[], yticks=[])
        axis.set_title(panel.title, color=panel.colour, fontsize=10, weight="bold", pad=4)
        axis.set_xlabel(panel.caption, color=GREY, fontsize=9, labelpad=4, parse_math=False)
        for spine in axis.spines.values():
            spine.set(color=panel.colour, linewidth=1.5)
    return figure


def main() -> int:
    """Draws the picture of one run; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--workdir", type=pathlib.Path, required=True, help="folder of a finished run")
    add("--split", help="query split; the last one by default")
    add("--out", type=pathlib.Path, required=True, help="PNG file to write")
    args = parser.parse_args()
    try:
        results = json.loads((args.workdir / "results.json").read_text(encoding="utf-8"))
        config = ConfigDict(results["provenance"]["config"])
        split = args.split or config.dataset.query_splits[-1]
        path = args.workdir / "matches" / f"fine_tuned_{split}.csv"
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        places = [source.load(config, (name,)) for name in (split, config.dataset.reference_split)]
        draw(panels(rows, *places, config)).savefig(args.out, pil_kwargs={"optimize": True})
        return 0
    except (VprjaxError, OSError) as error:
        print(f"picture: error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
