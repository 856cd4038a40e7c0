"""`report.html` of one run: figures, where they are right and wrong, training, provenance."""

import importlib.metadata
import pathlib
from collections.abc import Sequence

import jax

from vprjax.data import protocol, source
from vprjax.evaluation.elsewhere import Elsewhere
from vprjax.evaluation.result import MODEL_NAMES, Figures, Result, Results, shown
from vprjax.report import (
    abroad,
    blend_page,
    figures,
    forgotten,
    gallery,
    pictures,
    published,
    render,
    titles,
    training_page,
)
from vprjax.report.result_files import facing, warnings
from vprjax.runtime import memory

FILE = "report.html"
PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def page(
    trained_in: pathlib.Path | None,
    config,
    dataset: source.Dataset,
    results: Results,
    provenance: dict,
    others: Sequence[Elsewhere] = (),
) -> str:
    """Returns the text of `report.html`.

    Args:
      trained_in: folder with the training's `metrics.jsonl` and its companions, each of which may be
        missing; None for a model that never trained.
      config: the whole config of the evaluation.
      dataset: the evaluated dataset.
      results: by model and query split.
      provenance: where the numbers come from.
      others: other datasets with their results.

    Raises:
      DataError: an image that the page shows cannot be read.
    """
    trained = provenance["trained_with"]
    cell = published.Cell(
        trained["loss"]["name"], trained["model"]["pooling"], trained["model"]["backbone"]
    )
    study = published.study(dataset.name) if provenance["steps"] else None  # of trained models
    references = source.load(config, (config.dataset.reference_split,))
    with pictures.style():
        splits = [
            _split(config, split, references, results, study.ladder(cell, split) if study else {})
            for split in config.dataset.query_splits
        ]
        curves = training_page.curves(trained_in) if trained_in else []
        blended = blend_page.section(provenance.get("blend"))
    return render.text(
        "run.html",
        title=_title(cell, config, provenance) + f" on {dataset.name}",
        splits=splits,
        warnings=warnings(config, results, provenance, others),
        both=both(config, dataset, results, others),
        forgotten=forgotten.sections(others),
        blended=blended,
        study=study.title if study else "",
        trained_on=provenance["trained_on"],
        dataset=f"{dataset.name}:{dataset.version}",
        unit=config.dataset.position_unit,
        facing=facing(config),
        recall_radius=protocol.radius(config),
        listed=protocol.listed(dataset),
        curves=curves,
        cost=[*(training_page.times(trained_in) if trained_in else ()), *peaks()],
        environment=environment(dataset, provenance),
        config=flatten(provenance["config"]),
    )


def both(config, dataset, results: Results, others: Sequence[Elsewhere]) -> dict:
    """The table of the model at home and abroad; no row where one model was evaluated at home alone."""
    there = len(results) > 1 or others
    rows = abroad.rows(config, dataset, results, others) if there else []
    title = abroad.title(others)
    return {"title": title, "head": abroad.head(), "rows": rows, "note": abroad.NOTE}


def _title(cell: published.Cell, config, provenance: dict) -> str:
    if method := titles.baseline(config):
        return method.title
    loss, pooling, backbone = map(published.NAMES.get, cell)
    return (
        f"{backbone} + {pooling}, {loss if provenance['steps'] else MODEL_NAMES['off_the_shelf']}"
    )


def _split(
    config, split: str, references: source.Places, results: Results, paper: dict[float, float]
) -> dict:
    """The template's fields for one query split."""
    by_model = {model: by_split[split] for model, by_split in results.items()}
    last = list(by_model)[-1]  # fine-tuned where there is such a model
    found = by_model[last]
    queries = source.load(config, (split,))
    answered, known = found.figures.with_position, queries.located
    route = queries.positions[known], references.positions, found.matches.errors[known]
    return {
        "name": split,
        "model": MODEL_NAMES[last],
        "summary": _summary(config, split, by_model),
        "table": table(config, by_model, paper),
        "paper": paper,
        "lacking": answered < found.figures.queries,
        "intervals": intervals(config, by_model),
        "recall": recall_table(by_model),
        "labels": label_table(config, found.figures),
        "curves": [
            *([figures.fcm_curves(config, split, by_model, paper)] if answered else ()),
            *([figures.precision_recall(split, by_model)] if answered else ()),
            figures.distance_strip(split, found),
        ],
        "maps": figures.route_maps(config, split, *route) if len(known) else [],
        "gallery": gallery.groups(config, queries, references, found.matches),
    }


def _summary(config, split: str, by_model: dict[str, Result]) -> str:
    """The finding at the narrowest tolerance, one sentence."""
    narrow = f"{min(config.dataset.tolerances):g}"
    first = next(iter(by_model.values())).figures
    if not first.with_position:
        return f"{split}: {first.position_words()}."
    shares = [f"{r.figures.fcm[narrow]:.1f} % {MODEL_NAMES[m]}" for m, r in by_model.items()]
    counted = f"{first.with_position:,} queries"
    if first.with_position < first.queries:
        counted += f" with a position (of {first.queries:,})"
    return (
        f"{split}: {', '.join(shares)} of {counted} are answered within {narrow} "
        f"{config.dataset.position_unit}; {first.oracle_fcm[narrow]:.1f} % could be."
    )


def table(config, by_model: dict[str, Result], paper: dict[float, float]) -> dict:
    """One row per tolerance: every model with its interval, the ceiling, the paper, the difference."""
    every = [result.figures for result in by_model.values()]
    first, last = every[0], every[-1]
    sequence = last.sequence
    head = [f"tolerance ({config.dataset.position_unit})", *(MODEL_NAMES[m] for m in by_model)]
    head += [f"{sequence.length} frames together"] if sequence else []
    head += ["oracle"]
    head += ["paper", "difference"] if paper else []
    rows = []
    for tolerance in config.dataset.tolerances:
        text = f"{tolerance:g}"
        row = [(text, "")]
        for one in every:
            ends = " to ".join(shown(end, 1) for end in one.interval[text])
            row.append((shown(one.fcm[text]), ends if one.with_position else ""))
        if sequence:
            row.append((shown(sequence.fcm[text]), ""))
        row.append((shown(first.oracle_fcm[text]), ""))
        if paper:
            own, printed = last.fcm[text], paper.get(tolerance)
            there = printed is not None
            row.append((f"{printed:.2f}" if there else "", ""))
            row.append((f"{own - printed:+.2f}" if there else "", ""))
        rows.append(row)
    return {"head": head, "rows": rows}


def intervals(config, by_model: dict[str, Result]) -> list[str]:
    """Sentences on the intervals below the shares: the queries that they rest on, and the exact ones."""
    first = next(iter(by_model.values())).figures
    if not first.with_position:
        return []
    words = [f"Small figures: 95 % interval over {first.with_position:,} queries."]
    for model, result in by_model.items():
        exact = result.figures.exact_words(config.dataset.position_unit)
        words += [f"{MODEL_NAMES[model].capitalize()}: {exact}."] if exact else []
    return words


def recall_table(by_model: dict[str, Result]) -> dict:
    """Recall@N, average precision and recall at full precision of every model, percent."""
    every = [result.figures for result in by_model.values()]
    shares = {f"recall @{n}": [one.recall[n] for one in every] for n in every[0].recall}
    shares["average precision"] = [one.average_precision for one in every]
    shares["recall at 100 % precision"] = [one.recall_at_full_precision for one in every]
    rows = [[(name, ""), *((shown(v), "") for v in values)] for name, values in shares.items()]
    return {"head": ["", *(MODEL_NAMES[model] for model in by_model)], "rows": rows}


def label_table(config, found: Figures) -> dict:
    """One row per label of the queries (a room, say) with its FCM; no row without labels."""
    head = [
        "label",
        "queries",
        *(f"{t:g} {config.dataset.position_unit}" for t in config.dataset.tolerances),
    ]
    rows = [
        [
            (label, ""),
            (f"{part.queries:,}", ""),
            *((f"{v:.2f}", "") for v in part.fcm.values()),
        ]
        for label, part in found.labels.items()
    ]
    return {"head": head, "rows": rows}


def peaks() -> list[tuple[str, str]]:
    """Peak memory of this process and of the devices that measure theirs, name and value."""
    peak = memory.measured_peak() / 2**20
    out = [("peak memory of the process that wrote this", f"{peak:,.0f} MiB")]
    for device in jax.local_devices():
        measured = device.memory_stats() or {}
        if "peak_bytes_in_use" in measured:
            mib = measured["peak_bytes_in_use"] / 2**20
            out.append((f"peak memory of {device.device_kind} {device.id}", f"{mib:,.0f} MiB"))
    return out


def environment(dataset: source.Dataset, provenance: dict) -> list[tuple[str, str]]:
    """Provenance of the figures, name and value."""
    counts = ", ".join(f"{name} {n:,}" for name, n in dataset.counts.items())
    packages = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    return [
        ("dataset", f"{dataset.name} {dataset.version}"),
        ("images", counts),
        ("poses", str(dataset.metadata.get("pose_source", "not recorded"))),
        ("protocol", protocol.words(provenance.get("protocol", {}))),
        ("trained on", provenance["trained_on"] or "nothing here"),
        *titles.images_beside(provenance),
        ("denominator", provenance["denominator"]),
        *_origin(provenance),
        ("seed", str(provenance["seed"])),
        ("device", provenance["device"]),
        ("machine", provenance["machine"]),
        ("packages", packages),
        ("code", provenance["code_version"]),
        ("command", provenance["command"]),
        ("written", provenance["written"]),
    ]


def _origin(provenance: dict) -> list[tuple[str, str]]:
    """Where the model comes from: weights and step, or a baseline's method; and its post-processing."""
    config = provenance["config"]
    if method := titles.baseline(config):
        cost = ", ".join(
            f"{key.replace('_', ' ')} {value}" for key, value in provenance["cost"].items()
        )
        out = [("method", method.about), ("reference", method.reference), ("cost", cost)]
        if words := titles.own_settings(config):
            out.append(("here, other than by default", words))
    else:
        out = [
            ("weights", provenance["trained_with"]["model"]["weights"] or "random"),
            ("weights' SHA-256", provenance["weights_sha256"]),
            ("step evaluated", str(provenance["steps"])),
            *[("start", start) for start in [provenance.get("start")] if start],
        ]
    if cost := provenance.get("cost"):
        out.append(("descriptors", titles.cost_words(cost)))
    if words := provenance.get("post_processing"):
        out.append(("post-processing", "; ".join(words)))
    return out


def flatten(config: dict, prefix: str = "") -> list[tuple[str, str]]:
    """Every key of a config, joined by dots, with its value."""
    out = []
    for name, value in config.items():
        if isinstance(value, dict):
            out += flatten(value, f"{prefix}{name}.")
        else:
            out.append((prefix + name, repr(value)))
    return out
