"""A map's answers beside the evaluation of the same run: nearest references and FCM of every query."""

import argparse
import csv
import json
import pathlib
import tempfile

import numpy as np

import vprjax
from vprjax.evaluation.fcm import fcm
from vprjax.localize import sources

TITLE = "Every query through a map, beside the run's results.json"
COLUMNS = {
    "queries": lambda f: f["queries"],
    "same nearest reference": lambda f: f["same"],
    "largest difference of distances": lambda f: f"{f['difference']:.1e}",
    "FCM of the map": lambda f: " / ".join(f"{value:.2f}" for value in f["fcm"].values()),
    "FCM of results.json": lambda f: " / ".join(f"{value:.2f}" for value in f["wanted"].values()),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of this sub-command."""
    parser.add_argument("--run", type=pathlib.Path, required=True, help="workdir of a run")
    parser.add_argument(
        "--reference", required=True, help="its references, e.g. synthetic/default:reference"
    )
    parser.add_argument("--split", default="test02", help="its queries (test02)")
    parser.add_argument("--data_dir", help="where prepared datasets are")


def measure(args) -> tuple[str, dict]:
    """The row's name and its facts."""
    model = vprjax.load(args.run)
    dataset = args.reference.rpartition(":")[0]
    queries = sources.read(f"{dataset}:{args.split}", args.data_dir)
    pictures = queries.pictures(model.form)
    with tempfile.TemporaryDirectory() as folder:
        at = pathlib.Path(folder) / "map"
        vprjax.Map.build(model, args.reference, at, args.data_dir)
        places = vprjax.Map.open(at, model)
        answers = places.query([*pictures.images(np.arange(len(pictures)))], k=1)
    document = json.loads((args.run / "results.json").read_text())
    named = "fine_tuned" if "fine_tuned" in document["results"] else "off_the_shelf"
    wanted = document["results"][named][args.split]["fcm"]
    with (args.run / f"matches/{named}_{args.split}.csv").open(newline="") as file:
        rows = [*csv.DictReader(file)]
    found = fcm(
        queries.frames.positions,
        np.stack([answer.positions[0] for answer in answers]),
        [float(tolerance) for tolerance in wanted],
    )
    pairs = [*zip(answers, rows, strict=True)]
    return f"{model.title}, {dataset}:{args.split}", {
        "queries": len(answers),
        "same": sum(answer.image_ids[0] == row["match"] for answer, row in pairs),
        "difference": max(abs(float(a.distances[0]) - float(row["distance"])) for a, row in pairs),
        "fcm": dict(zip(wanted, found.tolist(), strict=True)),
        "wanted": wanted,
    }
