"""`report.html` of one run: what it found, where it is right and wrong, how it was trained."""

import importlib.metadata
import pathlib

import jax
import numpy as np
from scipy.spatial import cKDTree

from vprjax.data import source
from vprjax.report import figures, gallery, pictures, published, render, training_page
from vprjax.report.result_files import NAMES, facing
from vprjax.runtime import memory

FILE = "report.html"
PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def write(
    workdir: pathlib.Path,
    trained_in: pathlib.Path,
    config,
    dataset: source.Dataset,
    results: dict,
    provenance: dict,
) -> None:
    """Writes `report.html` into `workdir`.

    Args:
      workdir: an existing folder.
      trained_in: folder with the training's `metrics.jsonl` and its companions, where there are any.
      config: the whole config of the evaluation.
      dataset: the evaluated dataset.
      results: by model and query split, as `evaluation.evaluate` gives. What it may lack is left out:
        `interval`, `precision` and `pr_recall`, `average_precision`, `recall_at_full_precision`, `strip`,
        `labels`, `sequence`; without `error` and `nearest` positions alone decide.
      provenance: where the numbers come from.

    Raises:
      DataError: an image that the page shows cannot be read.
    """
    trained = provenance["trained_with"]
    cell = published.Cell(
        trained["loss"]["name"], trained["model"]["pooling"], trained["model"]["backbone"]
    )
    study = published.study(dataset.name)
    references = source.load(config, (config.dataset.reference_split,))
    with pictures.style():
        splits = [
            _split(config, split, references, results, study.ladder(cell, split) if study else {})
            for split in config.dataset.query_splits
        ]
        curves = training_page.curves(trained_in)
    render.write(
        workdir / FILE,
        "run.html",
        title="{2} + {1}, {0}".format(*map(published.NAMES.get, cell)) + f" on {dataset.name}",
        splits=splits,
        study=study.title if study else "",
        trained_on=provenance["trained_on"],
        dataset=f"{dataset.name}:{dataset.version}",
        unit=config.dataset.position_unit,
        facing=facing(config),
        recall_radius=config.eval.recall_radius or max(config.dataset.tolerances),
        curves=curves,
        cost=[*training_page.times(trained_in), *peaks()],
        environment=environment(dataset, provenance),
        config=flatten(provenance["config"]),
    )


def _split(config, split: str, references, results: dict, paper: dict[float, float]) -> dict:
    """What the template shows of one query split."""
    by_model = {model: by_split[split] for model, by_split in results.items()}
    last = list(by_model)[-1]  # fine-tuned where there is such a model
    found = by_model[last]
    queries = source.load(config, (split,))
    errors, nearest = _truth(found, queries.positions, references.positions)
    positions = queries.positions, references.positions
    curves = [
        figures.fcm_curves(config, split, by_model, paper),
        figures.precision_recall(split, by_model),
    ]
    if found.get("strip") is not None:
        strip, matched = np.asarray(found["strip"]), np.asarray(found["matched"])
        curves.append(figures.distance_strip(split, strip, matched, nearest, len(references)))
    return {
        "name": split,
        "model": NAMES[last],
        "summary": _summary(config, split, by_model),
        "table": table(config, by_model, paper),
        "paper": paper,
        "recall": recall_table(by_model),
        "labels": label_table(config, found),
        "curves": [found for found in curves if found],
        "maps": figures.route_maps(config, split, *positions, errors),
        "gallery": gallery.build(config, queries, references, found, errors, nearest),
    }


def _truth(found: dict, queries: np.ndarray, references: np.ndarray):
    """How far off the answers are and which reference is nearest, `(q,)` each.

    An evaluation that also minds headings gives both; else positions alone decide.
    """
    if "error" in found and "nearest" in found:
        return np.asarray(found["error"]), np.asarray(found["nearest"])
    errors = np.linalg.norm(queries - references[np.asarray(found["matched"])], axis=1)
    return errors, cKDTree(references).query(queries)[1]


def _summary(config, split: str, by_model: dict) -> str:
    """The finding in a sentence, at the narrowest tolerance."""
    narrow = f"{min(config.dataset.tolerances):g}"
    first = next(iter(by_model.values()))
    shares = [f"{f['fcm'][narrow]:.1f} % {NAMES[m]}" for m, f in by_model.items()]
    return (
        f"{split}: {', '.join(shares)} of {first['queries']:,} queries are answered within {narrow} "
        f"{config.dataset.position_unit}; {first['oracle_fcm'][narrow]:.1f} % could be."
    )


def table(config, by_model: dict, paper: dict[float, float]) -> dict:
    """One row a tolerance: every model with its interval, the ceiling, the paper and the difference."""
    sequence = list(by_model.values())[-1].get("sequence")
    head = [f"tolerance ({config.dataset.position_unit})", *(NAMES[m] for m in by_model)]
    head += [f"{sequence['length']} frames together"] if sequence else []
    head += ["oracle"]
    head += ["paper", "difference"] if paper else []
    rows = []
    for tolerance in config.dataset.tolerances:
        text = f"{tolerance:g}"
        row = [(text, "")]
        for figures_ in by_model.values():
            bounds = figures_.get("interval", {}).get(text)
            note = "{:.1f} to {:.1f}".format(*bounds) if bounds else ""
            row.append((f"{figures_['fcm'][text]:.2f}", note))
        if sequence:
            row.append((f"{sequence['fcm'][text]:.2f}", ""))
        row.append((f"{next(iter(by_model.values()))['oracle_fcm'][text]:.2f}", ""))
        if paper:
            own, printed = list(by_model.values())[-1]["fcm"][text], paper.get(tolerance)
            there = printed is not None
            row.append((f"{printed:.2f}" if there else "", ""))
            row.append((f"{own - printed:+.2f}" if there else "", ""))
        rows.append(row)
    return {"head": head, "rows": rows}


def recall_table(by_model: dict) -> dict:
    """Recall at N of every model, and of its precision-recall curve what was measured, in percent."""
    first = next(iter(by_model.values()))
    rows = [
        [(f"recall @{n}", ""), *((f"{found['recall'][n]:.2f}", "") for found in by_model.values())]
        for n in first["recall"]
    ]
    for key, name in (
        ("average_precision", "average precision"),
        ("recall_at_full_precision", "recall at 100 % precision"),
    ):
        if key in first:
            rows.append([(name, ""), *((f"{found[key]:.2f}", "") for found in by_model.values())])
    return {"head": ["", *(NAMES[model] for model in by_model)], "rows": rows}


def label_table(config, found: dict) -> dict:
    """One row a label of the queries (rooms, say) with its FCM; no row where there are no labels."""
    head = [
        "label",
        "queries",
        *(f"{t:g} {config.dataset.position_unit}" for t in config.dataset.tolerances),
    ]
    rows = [
        [
            (label, ""),
            (f"{part['queries']:,}", ""),
            *((f"{v:.2f}", "") for v in part["fcm"].values()),
        ]
        for label, part in found.get("labels", {}).items()
    ]
    return {"head": head, "rows": rows}


def peaks() -> list[tuple[str, str]]:
    """Peak memory of this process and, where it is measured, of its devices."""
    peak = memory.measured_peak() / 2**20
    out = [("peak memory of the process that wrote this", f"{peak:,.0f} MiB")]
    for device in jax.local_devices():
        measured = device.memory_stats() or {}
        if "peak_bytes_in_use" in measured:
            mib = measured["peak_bytes_in_use"] / 2**20
            out.append((f"peak memory of {device.device_kind} {device.id}", f"{mib:,.0f} MiB"))
    return out


def environment(dataset: source.Dataset, provenance: dict) -> list[tuple[str, str]]:
    """What the figures rest on, name and value."""
    counts = ", ".join(f"{name} {n:,}" for name, n in dataset.counts.items())
    packages = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    return [
        ("dataset", f"{dataset.name} {dataset.version}"),
        ("images", counts),
        ("poses", str(dataset.metadata.get("pose_source", "not recorded"))),
        ("trained on", provenance["trained_on"]),
        ("denominator", provenance["denominator"]),
        ("weights", provenance["trained_with"]["model"]["weights"] or "random"),
        ("weights' SHA-256", provenance["weights_sha256"]),
        ("step evaluated", str(provenance["steps"])),
        ("seed", str(provenance["seed"])),
        ("device", provenance["device"]),
        ("machine", provenance["machine"]),
        ("packages", packages),
        ("code", provenance["code_version"]),
        ("command", provenance["command"]),
        ("written", provenance["written"]),
    ]


def flatten(config: dict, prefix: str = "") -> list[tuple[str, str]]:
    """Every key of a config in dots, with its value."""
    out = []
    for name, value in config.items():
        if isinstance(value, dict):
            out += flatten(value, f"{prefix}{name}.")
        else:
            out.append((prefix + name, repr(value)))
    return out
