"""Writes the grid's page, `report.html`: figures of all cells, comparisons and every run."""

import json
import os
import pathlib

from analysis import baselines, conclusions, scores
from analysis.baselines import Row
from analysis.scores import OFF_THE_SHELF, PROJECTED, Key, Scores
from analysis.text_table import NAMES, Table

from vprjax.evaluation.result import MODEL_NAMES
from vprjax.losses import LOSSES
from vprjax.report import pictures, render, training_page
from vprjax.report.pictures import BLUE, FAINT, GREEN, GREY, INK, ORANGE, Picture
from vprjax.report.published import Cell, Study

FILE = "report.html"
COLOURS = {OFF_THE_SHELF: GREY, PROJECTED: FAINT}
COLOURS |= {"triplet": GREEN, "contrastive": ORANGE, "arcface": BLUE}
COLOURS |= {loss: f"C{n}" for n, loss in enumerate(LOSSES) if loss not in COLOURS}  # Matplotlib's


def write(
    folder: pathlib.Path,
    found: Scores,
    study: Study | None,
    tables: list[Table],
    paths: list[pathlib.Path],
    facts: list[tuple[str, str]],
    field: tuple[list[Row], Table] | None = None,
) -> None:
    """Writes `report.html` into `folder`.

    Args:
      folder: the grid's folder.
      found: scores of the finished runs.
      study: the paper's table of this dataset, or None.
      tables: of `study.all_tables`.
      paths: the runs' `results.json`, below `folder`.
      facts: name and value of each fact about the whole grid.
      field: the baselines' rows and table, or None.
    """
    with pictures.style():
        ladders = {
            test: [dots(found, study, test, tolerance) for tolerance in found.tolerances]
            for test in found.tests
        }
        differences = [forest(found, "our runs")]
        differences += [forest(scores.of_study(study), study.title)] if study else []
    render.write(
        folder / FILE,
        "grid.html",
        title=f"The study's grid on {found.dataset}",
        sentences=conclusions.sentences(found),
        claim=conclusions.claim_sentence(study) if study else "",
        ladders=ladders,
        differences=[picture for picture in differences if picture],
        methods=baselines.methods(field[0]) if field else [],
        tables=[*([field[1]] if field else []), *tables],
        runs=[_run(folder, path) for path in paths],
        facts_=facts,
    )


def dots(found: Scores, study: Study | None, test: str, tolerance: float) -> Picture:
    """Draws every model's FCM at one tolerance: interval, ceiling and the paper's value."""
    heads = list(dict.fromkeys((cell.backbone, cell.pooling) for cell in found.cells))
    losses = [x for x in COLOURS if any(cell.loss == x for cell in found.cells)]
    figure = pictures.new_figure(5.0, 1.1 + 0.55 * len(heads))
    axis, shown, paper_shown = figure.subplots(), [], False
    for loss in losses:  # the legend needs it even where the first model lacks it
        axis.plot([], [], "o", color=COLOURS[loss], ms=6, label=NAMES[loss])
    for row, (backbone, pooling) in enumerate(heads):
        for i, loss in enumerate(losses):
            key = Key(Cell(loss, pooling, backbone), test, tolerance)
            own, y = found.mean(key), row + 0.2 * (i - (len(losses) - 1) / 2)
            if own is None:
                continue
            axis.plot(own.mean, y, "o", color=COLOURS[loss], ms=6)
            if own.interval:
                axis.plot(own.interval, [y, y], color=COLOURS[loss], lw=2.2, alpha=0.55)
            shown.append(f"{NAMES[backbone]} {NAMES[pooling]} {NAMES[loss]} {own.mean:.1f}")
            printed = study.ladder(key.cell, test).get(tolerance) if study else None
            if printed is not None:
                axis.plot(printed, y, "D", mfc="none", mec=INK, ms=7, mew=1.1)
                paper_shown = True
    if paper_shown:
        axis.plot([], [], "D", mfc="none", mec=INK, ms=7, ls="", label="paper")
    axis.axvline(found.oracle[test, tolerance], color=INK, lw=1, ls="--", label="oracle")
    axis.set_yticks(range(len(heads)), [f"{NAMES[b]}\n{NAMES[p]}" for b, p in heads])
    axis.set(ylim=(len(heads) - 0.45, -0.55), xlim=(-1.5, 101.5), xlabel="FCM (%)")
    axis.set_title(f"{test}, {tolerance:g} {found.unit}")
    figure.legend(loc="outside lower center", ncols=3, fontsize=8.5)
    return pictures.picture(figure, f"FCM (%), {axis.get_title()}: " + ", ".join(shown))


def forest(found: Scores, whose: str) -> Picture | None:
    """Draws paired differences with their intervals per tolerance; None without a pair."""
    rows = []
    for part, first, second in conclusions.COMPARISONS:
        every = conclusions.trained_pairs(found, part, first, second)
        for tolerance in found.tolerances:
            value = scores.paired_mean([p for p in every if p.key.tolerance == tolerance])
            if value:
                names = f"{NAMES[first]} − {NAMES[second]}"
                rows.append((names, f"{tolerance:g} {found.unit}", value))
    if not rows:
        return None
    figure = pictures.new_figure(5.4, 0.9 + 0.24 * len(rows))
    axis, names = figure.subplots(), list(dict.fromkeys(name for name, *_ in rows))
    places = [i + 0.8 * names.index(name) for i, (name, *_) in enumerate(rows)]
    for y, (name, _, value) in zip(places, rows, strict=True):
        colour = (BLUE, ORANGE, GREEN, GREY)[names.index(name)]
        first = y == min(p for p, row in zip(places, rows, strict=True) if row[0] == name)
        axis.plot(value.mean, y, "o", color=colour, ms=5.5, label=name if first else None)
        if value.interval:
            axis.plot(value.interval, [y, y], color=colour, lw=2.2, alpha=0.55)
    axis.axvline(0, color=INK, lw=1)
    axis.set_yticks(places, [text for _, text, _ in rows])
    axis.set(ylim=(max(places) + 0.7, -0.7), xlabel="points of FCM", title=whose)
    figure.legend(loc="outside lower center", ncols=2, fontsize=8.5)
    shown = [f"{name} at {text} {value.mean:+.1f}" for name, text, value in rows]
    return pictures.picture(figure, f"Paired differences, {whose}: " + "; ".join(shown))


def _figure(fcm: float | None, split: str) -> str:
    """FCM of a query split; "-" where no query has a position."""
    return f"{'-' if fcm is None else f'{fcm:.1f}'} % {split}"


def _run(folder: pathlib.Path, path: pathlib.Path) -> dict:
    """One line of the list of runs."""
    document = json.loads(path.read_text(encoding="utf-8"))
    provenance = document["provenance"]
    trained = provenance.get("trained_with") or provenance["config"]
    narrow = f"{min(document['tolerances_m']):g}"
    page = path.with_name("report.html")
    return {
        "link": os.path.relpath(page, folder) if page.exists() else "",
        "name": f"{NAMES[trained['model']['backbone']]}, {NAMES[trained['model']['pooling']]}, "
        f"{NAMES[trained['loss']['name']]}",
        "seed": trained["seed"],
        "figures": "; ".join(
            f"{MODEL_NAMES[model]} "
            + ", ".join(_figure(f["fcm"][narrow], split) for split, f in by_split.items())
            for model, by_split in document["results"].items()
        ),
        "training": dict(training_page.times(path.parent)).get("training", ""),
        "code": provenance.get("code_version", ""),
        "device": provenance.get("device", ""),
    }
