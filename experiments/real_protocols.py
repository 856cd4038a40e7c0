"""The main job on real images: every backbone x loss on Nordland, then the same models on Corridor.

    python experiments/real_protocols.py --real=../shared/real --runs=runs/real

Prepares the raw folders, builds both datasets, trains (a killed call goes on where it was), evaluates on
Corridor and writes one JSON file a run and a table into `--records`.
"""

import argparse
import json
import os
import pathlib
import shlex
import subprocess
import sys

LOSSES = ("triplet", "contrastive", "arcface")
WEIGHTS = {
    "mobilenetv2": "mobilenetv2_1.00_224_imagenet_notop.npz",
    "vgg16": "vgg16_imagenet_block1-3_only.npz",
}
EXTRA = {
    "mobilenetv2": [],
    # Blocks 1 to 3 are real and stay as they are; blocks 4 and 5, of which no real weight is at hand,
    # start from random values and train. Few steps, since each costs two CPU cores seconds.
    "vgg16": [
        "--config.model.partial_weights=True",
        "--config.model.train_from=conv4",
        "--config.train.steps=100",
    ],
}
NAMES = {"off_the_shelf": "off the shelf", "fine_tuned": "fine-tuned"}


def call(*words: str | os.PathLike) -> None:
    """Runs a Python command as a user would type it, and says so."""
    command = [sys.executable, *map(str, words)]
    print("$ " + shlex.join(["python", *command[1:]]), flush=True)
    subprocess.run(command, check=True)


def prepare(real: pathlib.Path, runs: pathlib.Path) -> pathlib.Path:
    """Builds both datasets; returns their data_dir."""
    data = runs / "datasets"
    settings = [
        ("nordland", {"name": "nordland", "height": 64, "width": 128}),
        ("corridor", {"name": "corridor"}),
    ]
    for name, config in settings:
        raw = runs / "raw" / name
        words = ["--drop_still"] if name == "nordland" else []
        call("experiments/real_images.py", name, f"--images={real / name}", f"--raw={raw}", *words)
        call(
            *("-m", "tfds_builders", "build", "places_csv", f"--manual_dir={raw}"),
            *(f"--data_dir={data}", f"--config={json.dumps(config)}"),
        )
    return data


def run(
    backbone: str, loss: str, real: pathlib.Path, runs: pathlib.Path, data: pathlib.Path
) -> dict:
    """Trains and evaluates one cell; returns its results on both datasets."""
    workdir = runs / f"{backbone}-gem-{loss}"
    if not (workdir / "results.json").exists():
        call(
            *("-m", "vprjax.main", f"--config=configs/nordland.py:{backbone},gem,{loss}"),
            *(f"--workdir={workdir}", f"--config.dataset.data_dir={data}"),
            f"--config.model.weights={real / 'weights' / WEIGHTS[backbone]}",
            *EXTRA[backbone],
        )
    corridor = workdir / "corridor"
    if not (corridor / "results.json").exists():
        call(
            *("-m", "vprjax.main", "--mode=evaluate", f"--checkpoint={workdir}"),
            *(f"--workdir={corridor}", "--config=configs/corridor.py"),
            f"--config.dataset.data_dir={data}",
        )
    return {
        "nordland": json.loads((workdir / "results.json").read_text()),
        "corridor": json.loads((corridor / "results.json").read_text()),
    }


def table(dataset: str, split: str, results: dict[str, dict]) -> str:
    """Markdown rows of one dataset: every cell off the shelf and fine-tuned."""
    first = next(iter(results.values()))[dataset]
    tolerances = [f"{t:g}" for t in first["tolerances_m"]]
    lines = [
        "| backbone, loss | model | "
        + " | ".join(f"FCM {t}" for t in tolerances)
        + " | R@1 | R@5 |",
        "| --- | --- |" + " ---: |" * (len(tolerances) + 2),
    ]
    for cell, found in results.items():
        for model, by_split in found[dataset]["results"].items():
            figures = by_split[split]
            values = [figures["fcm"][t] for t in tolerances]
            values += [figures["recall"]["1"], figures["recall"]["5"]]
            shown = " | ".join(f"{v:.1f}" for v in values)
            lines.append(f"| {cell} | {NAMES[model]} | {shown} |")
    return "\n".join(lines)


def main() -> None:
    """Runs the cells that were asked for and writes the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--real", type=pathlib.Path, required=True, help="folder of images and weights"
    )
    parser.add_argument("--runs", type=pathlib.Path, default=pathlib.Path("runs/real"))
    parser.add_argument("--records", type=pathlib.Path, default=pathlib.Path("experiments/records"))
    parser.add_argument("--backbones", default=",".join(WEIGHTS), help="comma list")
    parser.add_argument("--losses", default=",".join(LOSSES), help="comma list")
    args = parser.parse_args()
    data = prepare(args.real, args.runs)
    results = {}
    args.records.mkdir(parents=True, exist_ok=True)
    for backbone in args.backbones.split(","):
        for loss in args.losses.split(","):
            found = run(backbone, loss, args.real, args.runs, data)
            results[f"{backbone}, {loss}"] = found
            record = args.records / f"real_{backbone}_gem_{loss}.json"
            record.write_text(json.dumps(found, indent=1) + "\n")
    text = [
        "# Real images: Nordland (trained across seasons) and Corridor (evaluation only)",
        "",
        f"Command: `python experiments/real_protocols.py {shlex.join(sys.argv[1:])}`; every JSON file "
        "beside this one holds the commands, configs, weights and machine of its run.",
        "",
        "## Nordland test02 (winter against summer), tolerances in frames",
        "",
        table("nordland", "test02", results),
        "",
        "## Corridor test01, tolerances in frames (models trained on Nordland)",
        "",
        table("corridor", "test01", results),
    ]
    (args.records / "real_protocols.md").write_text("\n".join(text) + "\n")
    print("\n".join(text))


if __name__ == "__main__":
    main()
