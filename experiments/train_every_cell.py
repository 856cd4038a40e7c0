"""Every cell of the paper trains a few steps from the shipped defaults: no NaN, no collapse.

    python experiments/train_every_cell.py --runs=runs/cells

Builds a small synthetic dataset, trains all 12 cells of backbone x head x loss as
`configs/synthetic.py` sets them up but for `train.steps`, and writes `every_cell.json` and
`every_cell.md` into `--records`. Exit status 1 where a cell fails. A finished cell is not run again.
"""

import argparse
import json
import math
import pathlib
import shutil
import subprocess
import sys

from configs import synthetic
from vprjax import run, train
from vprjax.errors import VprjaxError

BACKBONES = ("vgg16", "resnet50")
HEADS = ("gem", "netvlad")
LOSSES = ("triplet", "contrastive", "arcface")
DATASET = {"name": "every_cell", "height": 48, "width": 64, "route_length": 150.0, "train": 240}
# Collapsed descriptors share one direction, or one line. A random VGG16 starts with a variance of 0.003.
KEPT_VARIANCE, LEAST_RANK = 0.3, 1.5


def config_of(cell: str, data_dir: pathlib.Path, steps: int):
    """The shipped config of `backbone,head,loss`, cut to `steps`."""
    config = synthetic.get_config(cell)
    config.dataset.update(name=f"synthetic/{DATASET['name']}", data_dir=str(data_dir))
    config.train.update(steps=steps, log_every=1)
    return config


def judged(rows: list[dict], trained: bool) -> dict:
    """First and last figures of a run, and whether it is sound: finite and not collapsed."""
    names = ("loss", "variance", "effective_rank", "grad_norm")
    finite = all(math.isfinite(row[name]) for row in rows for name in names)
    spread = rows[-1]["variance"] > KEPT_VARIANCE * rows[0]["variance"] and all(
        row["effective_rank"] > LEAST_RANK for row in rows
    )
    moved = len({row["loss"] for row in rows}) == len(rows)
    ends = {
        f"{name}_{end}": rows[i][name] for name in names for end, i in (("first", 0), ("last", -1))
    }
    return {**ends, "steps": rows[-1]["step"], "sound": trained and finite and spread and moved}


def train_cell(cell: str, runs: pathlib.Path, data_dir: pathlib.Path, steps: int) -> dict:
    """Trains one cell and judges it."""
    folder = runs / cell.replace(",", "-")
    found = folder / "judged.json"
    if found.exists():
        return json.loads(found.read_text())
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    trained = True
    try:
        train.train(config_of(cell, data_dir, steps), folder, None, {})
    except VprjaxError as error:
        print(f"{cell}: {error}", file=sys.stderr)
        trained = False
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    result = {
        "cell": cell,
        "code": run.code_version(),
        **(judged(rows, trained) if rows else {"sound": False}),
    }
    found.write_text(json.dumps(result))
    shutil.rmtree(folder / "checkpoints")
    return result


def table(results: list[dict]) -> str:
    """Markdown: first and last logged figures of every cell."""
    lines = [
        "| backbone, head, loss | loss | variance | effective rank | sound |",
        "| --- | ---: | ---: | ---: | --- |",
    ]
    for r in results:
        shown = [
            f"{r.get(f'{name}_first', math.nan):.3g} to {r.get(f'{name}_last', math.nan):.3g}"
            for name in ("loss", "variance", "effective_rank")
        ]
        lines.append(f"| {r['cell']} | {' | '.join(shown)} | {'yes' if r['sound'] else 'NO'} |")
    return "\n".join(lines)


def main() -> None:
    """Trains the cells and writes the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=pathlib.Path, default=pathlib.Path("runs/cells"))
    parser.add_argument("--records", type=pathlib.Path, default=pathlib.Path("experiments/records"))
    parser.add_argument("--steps", type=int, default=20)
    args = parser.parse_args()
    data_dir = args.runs / "datasets"
    words = ["-m", "tfds_builders", "build", "synthetic", f"--data_dir={data_dir}"]
    subprocess.run([sys.executable, *words, f"--config={json.dumps(DATASET)}"], check=True)
    cells = [f"{b},{h},{loss}" for b in BACKBONES for h in HEADS for loss in LOSSES]
    results = [train_cell(cell, args.runs, data_dir, args.steps) for cell in cells]
    record = {"dataset": DATASET, "cells": results}
    (args.records / "every_cell.json").write_text(json.dumps(record, indent=1) + "\n")
    codes = dict.fromkeys(result["code"] for result in results)
    text = (
        f"# Every cell of the paper, {args.steps} steps from the shipped defaults\n\n"
        f"Command: `python experiments/train_every_cell.py`; code {', '.join(codes)}; synthetic "
        f"{json.dumps(DATASET)}, random weights, one seed. First and last step. Sound: all figures finite, "
        f"the last variance above {KEPT_VARIANCE} of the first, effective ranks above {LEAST_RANK}. So few "
        "steps show that nothing breaks, not what is learnt.\n\n"
    )
    (args.records / "every_cell.md").write_text(text + table(results) + "\n")
    print(table(results))
    sys.exit(not all(r["sound"] for r in results))


if __name__ == "__main__":
    main()
