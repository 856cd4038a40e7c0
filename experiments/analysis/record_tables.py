"""The results tables by name, from `runs.csv`, `configs.jsonl` and `speed.csv`."""

import dataclasses
from collections.abc import Callable

from analysis import baselines, conclusions, forgetting, scores, speed, sweep
from analysis.baselines import Row
from analysis.record_scores import as_scores, chosen, lines, model_name, unit
from analysis.rows import Record
from analysis.scores import Mean
from analysis.side_by_side import compare
from analysis.speed import Measured
from analysis.text_table import NAMES, Table, difference

WHITENED = "+eval.pca=512+eval.pca_whiten=True"
HARD, RANDOM = "+tuples.mining=hard", "+tuples.mining=random"
# Losses and settings are compared without keep images, where a set has such runs; the first row counts.
NORDLAND, CORRIDOR = ((f"{name}{forgetting.UNKEPT}", name) for name in ("nordland", "corridor"))
LOSSES = ("triplet", "contrastive", "arcface")


@dataclasses.dataclass(frozen=True)
class Records:
    """The record: runs, speed, runs at home and abroad, and baselines."""

    runs: Record
    speed: list[Measured]
    abroad: list[forgetting.Row] = dataclasses.field(default_factory=list)
    baselines: list[Row] = dataclasses.field(default_factory=list)


def overview(records: Records, name: str, tolerances: tuple[str, ...]) -> Table:
    """One row per model and query split: off the shelf and each loss, means over seeds."""
    rows = [row for row in chosen(records.runs, [name]) if row.tolerance in tolerances]
    found = lines(records.runs, rows)
    plain = [NAMES[scores.OFF_THE_SHELF], *(NAMES[loss] for loss in LOSSES)]
    splits = list(dict.fromkeys(line.split for line in found))
    several = len(splits) > 1
    out: dict = {}
    for line, means in found.items():
        # A shipped config may whiten a trained model; off the shelf the plain model counts.
        what = line.what if line.what in plain else line.what.partition(",")[0]
        if what != line.what and what == plain[0]:
            continue
        text = " / ".join(f"{mean.mean:.1f}" for mean in means.values())
        out.setdefault((line.model, line.split), {})[what] = text
    table = [
        [model, *([split] * several), *(by_what.get(what, "") for what in plain)]
        for (model, split), by_what in out.items()
    ]
    head = ["", *(["queries"] * several), *plain]
    return Table("", head, table, 1 + several, [])


def detail(records: Records, *names: str) -> Table:
    """One row per variant of a model: mean over seeds, half width of Student's 95 % interval."""
    rows = chosen(records.runs, names)
    found = lines(records.runs, rows)
    several = len({line.split for line in found}) > 1
    tolerances = sorted({float(row.tolerance) for row in rows}, reverse=True)
    out = []
    for line, means in found.items():
        words = [line.model, *([line.split] * several), line.what]
        out.append([*words, *(_plus_minus(means[tolerance]) for tolerance in tolerances)])
    head = ["model", *(["queries"] * several), "", *(f"{t:g}" for t in tolerances)]
    head[-len(tolerances)] += f" {unit(records.runs, rows)}"
    return Table("", head, out, 2 + several, [])


def by_set(records: Records, *names: str) -> Table:
    """One row per set and trained model: number of seeds, their mean and its half width."""
    out, rows = [], chosen(records.runs, names)
    trained = [row for row in rows if row.model == "fine_tuned"]
    tolerances = sorted({float(row.tolerance) for row in rows}, reverse=True)
    for name in names:
        own = [row for row in trained if row.set == name]
        for line, means in lines(records.runs, own).items():
            figures = [means[tolerance] for tolerance in tolerances]
            words = [f"`{name}`", line.model, line.what, str(figures[0].n)]
            out.append([*words, *map(_plus_minus, figures)])
    head = ["set", "model", "", "seeds", *(f"{t:g}" for t in tolerances)]
    head[-len(tolerances)] += f" {unit(records.runs, rows)}"
    return Table("", head, out, 3, [])


def _plus_minus(mean: Mean) -> str:
    half = f" ± {mean.interval[1] - mean.mean:.1f}" if mean.interval else ""
    return f"{mean.mean:.1f}{half}"


def comparisons(records: Records, *names: str) -> Table:
    """Paired differences over all models and per model; of equal models the first set's counts."""
    found = as_scores(records.runs, chosen(records.runs, names))
    table = conclusions.comparison_table(found, names[-1])
    rows = list(table.rows)
    for part, first, second in conclusions.COMPARISONS:
        title = f"{NAMES[first]} − {NAMES[second]}"
        every = conclusions.trained_pairs(found, part, first, second)
        for cell in dict.fromkeys(pair.key.cell for pair in every):
            own = [pair for pair in every if pair.key.cell == cell]
            by_tolerance = [
                scores.paired_mean([p for p in own if p.key.tolerance == t])
                for t in found.tolerances
            ]
            model = model_name(cell.backbone, cell.pooling)
            whose = f"{NAMES[cell.backbone]}, {NAMES[cell.loss]}" if part == "pooling" else model
            rows.append([title, whose, "1", *map(difference, by_tolerance)])
    return dataclasses.replace(table, rows=rows)


def against(records: Records, first: tuple[str, ...], second: tuple[str, ...], cell="") -> Table:
    """Two grids side by side, paired by seed; the last set names each."""
    pair = [as_scores(records.runs, chosen(records.runs, names, cell)) for names in (first, second)]
    return compare(*pair, (first[-1], second[-1]))


def gains(records: Records, name: str) -> Table:
    """Fine-tuned minus off the shelf on the only query split, paired by seed."""
    rows = chosen(records.runs, [name])
    values: dict = {}
    for row in rows:
        by_model = values.setdefault((row.cell, float(row.tolerance), row.seed, row.split), {})
        by_model[row.model] = float(row.fcm)
    tolerances = sorted({tolerance for _, tolerance, *_ in values}, reverse=True)
    out = []
    for cell in dict.fromkeys(row.parts for row in rows):
        key = f"{cell.backbone}-{cell.pooling}-{cell.loss}"
        found = [
            scores.mean(
                [
                    two["fine_tuned"] - two[scores.OFF_THE_SHELF]
                    for (of, tolerance, *_), two in values.items()
                    if of == key and tolerance == wanted
                ]
            )
            for wanted in tolerances
        ]
        words = [model_name(cell.backbone, cell.pooling), NAMES[cell.loss]]
        out.append([*words, *map(difference, found)])
    head = ["model", "loss", *(f"{t:g}" for t in tolerances)]
    head[2] += f" {unit(records.runs, rows)}"
    return Table("", head, out, 2, [])


def home_and_abroad(records: Records) -> list[forgetting.Row]:
    """The rows of runs at home and abroad: the recipe that ships, then `forgetting.csv`."""
    return forgetting.merged(forgetting.of_record(records.runs), records.abroad)


def runs(records: Records, *chosen_sets: tuple) -> Table:
    """The sweep of the runs of each `(set[, cell[, seed]])`."""
    rows = [row for name, *rest in chosen_sets for row in chosen(records.runs, [name], *rest)]
    return sweep.table(records.runs, rows)


def field(records: Records, name: str) -> Table:
    """One row per baseline and query split of the set, above the grid's models."""
    own = [row for row in records.baselines if row.set == name]
    grid = [row for row in records.runs.rows if row.set == name]
    return baselines.table(own, as_scores(records.runs, grid) if grid else None)


def _seed_0(backbone: str) -> list[tuple[str, str, str]]:
    """The grid's own runs of seed 0, beside a sweep's."""
    return [
        ("synthetic", f"{backbone}-{pooling}-{loss}", "0")
        for pooling in ("gem", "netvlad")
        for loss in LOSSES
    ]


SEEDS_0_TO_5 = ("synthetic", "synthetic_more_seeds")
RANDOM_0_TO_5 = (f"synthetic{RANDOM}", f"synthetic_more_seeds{RANDOM}")
TABLES: dict[str, Callable[[Records], Table]] = {
    "default": lambda r: detail(r, "default"),
    "default_h200": lambda r: detail(r, "default_h200"),
    # The grid on real images.
    "nordland": lambda r: overview(r, "nordland", ("10", "1", "0")),
    "nordland_detail": lambda r: detail(
        r, *NORDLAND, f"nordland{WHITENED}", "nordland+eval.pca=0+eval.pca_whiten=False"
    ),
    "nordland_comparisons": lambda r: comparisons(r, *NORDLAND),
    "nordland_gains": lambda r: gains(r, "nordland"),
    "whitening_gem": lambda r: against(
        r, (f"nordland{WHITENED}",), NORDLAND[:1], "mobilenetv2-gem-contrastive"
    ),
    "whitening_netvlad": lambda r: against(
        r,
        ("nordland",),
        ("nordland+eval.pca=0+eval.pca_whiten=False",),
        "mobilenetv2-netvlad-triplet",
    ),
    "nordland_resnet50": lambda r: detail(r, "nordland_resnet50"),
    "nordland_earlier": lambda r: by_set(
        r,
        "nordland_again",
        "nordland_hard_9ea892a",
        "nordland_hard_338f0d7",
        "nordland_a93b051",
        f"nordland_a93b051{WHITENED}",
        "nordland_base_classes",
        "nordland_1e-4",
        "nordland_4_tuples",
        "nordland_4_tuples_400_steps",
        "nordland_resnet50_1e-3",
    ),
    "corridor_earlier": lambda r: by_set(
        r, "corridor_a93b051", "corridor_base_classes", "corridor_1e-4", "corridor_4_tuples"
    ),
    "nordland_tune": lambda r: runs(r, ("nordland_tune",)),
    "nordland_tune_wide": lambda r: runs(r, ("nordland_tune_wide",)),
    "corridor": lambda r: overview(r, "corridor", ("5", "2", "1")),
    "corridor_detail": lambda r: detail(r, *CORRIDOR),
    "corridor_comparisons": lambda r: comparisons(r, *CORRIDOR),
    "corridor_gains": lambda r: gains(r, "corridor"),
    "corridor_resnet50": lambda r: detail(r, "corridor_resnet50"),
    # The grid on a rendered town.
    "synthetic": lambda r: overview(r, "synthetic", ("25", "10", "5", "2")),
    "synthetic_detail": lambda r: detail(r, "synthetic"),
    "synthetic_comparisons": lambda r: comparisons(r, "synthetic"),
    "synthetic_arcface_sweep": lambda r: runs(r, ("synthetic_arcface_sweep",)),
    "synthetic_vgg16_rates": lambda r: runs(r, ("synthetic_vgg16_rates",), *_seed_0("vgg16")),
    "synthetic_resnet50_gem_triplet": lambda r: runs(
        r, ("synthetic_resnet50_gem_triplet",), ("synthetic", "resnet50-gem-triplet", "0")
    ),
    "synthetic_variants": lambda r: runs(
        r,
        ("synthetic_resnet50_gem_arcface",),
        ("synthetic_resnet50_netvlad_triplet",),
        ("synthetic_augmented",),
    ),
    "synthetic_mining_sweep": lambda r: runs(r, ("synthetic_mining_sweep",)),
    # Released models' heads on MobileNetV2.
    "nordland_heads": lambda r: detail(r, "nordland-heads"),
    "synthetic_heads": lambda r: detail(r, "synthetic-heads"),
    # Two settings side by side.
    "mining_nordland": lambda r: against(r, NORDLAND, (f"nordland{RANDOM}",)),
    "mining_synthetic": lambda r: against(r, ("synthetic",), (f"synthetic{RANDOM}",)),
    "mining_six_seeds": lambda r: against(
        r, SEEDS_0_TO_5[::-1], RANDOM_0_TO_5[::-1], "resnet50-netvlad-contrastive"
    ),
    "mining_paper": lambda r: against(
        r, ("synthetic",), (f"synthetic{HARD}+tuples.positive=best",)
    ),
    "mining_paper_random": lambda r: against(
        r, (f"synthetic{HARD}+tuples.positive=best",), (f"synthetic{RANDOM}",)
    ),
    "mining_hard": lambda r: against(r, ("synthetic",), (f"synthetic{HARD}",)),
    "mining_contrastive_before": lambda r: against(
        r, ("synthetic",), ("synthetic_contrastive_before",)
    ),
    "bfloat16": lambda r: against(
        r, ("synthetic_float32",), ("synthetic_float32+model.compute_dtype=bfloat16",)
    ),
    "forgetting": lambda r: forgetting.table(home_and_abroad(r)),
    # Methods that the paper's models replaced.
    "field_corridor": lambda r: field(r, "corridor"),
    "field_nordland": lambda r: field(r, "nordland"),
    "field_synthetic": lambda r: field(r, "synthetic"),
    "field_methods": lambda r: baselines.methods_table(r.baselines),
    # Speed and memory.
    "search": lambda r: speed.rivals(r.speed, "retrieval"),
    "train_step": lambda r: speed.rivals(r.speed, "train_step"),
    "extract": lambda r: speed.rivals(r.speed, "extract"),
    "field": lambda r: speed.rivals(r.speed, "field"),
    "latency": lambda r: speed.figures(r.speed, "latency"),
    "search_scale": lambda r: speed.figures(r.speed, "search_scale"),
    "input": lambda r: speed.figures(r.speed, "input"),
    "startup": lambda r: speed.rivals(r.speed, "startup"),
    "build": lambda r: speed.figures(r.speed, "build"),
}
