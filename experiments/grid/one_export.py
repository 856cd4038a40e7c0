"""Exports one backbone with several heads, and compares each file with its model on pictures.

`experiments/exports.py` runs it per backbone: `python experiments/grid/one_export.py FOLDER`, where
`job.json` names `backbone`, `heads`, `stage`, `pictures` and `size`. Every file's row comes at once, as a
line of `rows.jsonl`, so that a killed process loses one file.
"""

import functools
import gc
import importlib
import json
import logging
import pathlib
import resource
import subprocess
import sys
from importlib import metadata

import jax
import numpy as np
from analysis.export_table import JOB, ROWS, WHOLE, Row
from flax import traverse_util

from configs import base
from vprjax import models
from vprjax.data.pictures import Form, Pictures
from vprjax.export import FORMATS, check
from vprjax.localize.load import of_network
from vprjax.localize.model import Model
from vprjax.localize.network import Network
from vprjax.models.backbones import BACKBONES
from vprjax.report.provenance import code_version
from vprjax.weights import initialise

READER = pathlib.Path(__file__).with_name("read_export.py")
SUFFIXES = {"onnx": ".onnx", "stablehlo": ".zip"}
PACKAGES = ("jax", "jax2onnx", "onnxruntime")


def model_of(job: dict, head: str, start: dict, size: tuple[int, int]) -> Model:
    """The model: the backbone of `start`, and random values for the head."""
    config = config_of(job, head)
    image = jax.ShapeDtypeStruct((1, *size, 3), np.uint8)
    init = functools.partial(models.build(config).init, jax.random.key(0))
    shapes = traverse_util.flatten_dict(jax.eval_shape(init, image))
    known, rng = traverse_util.flatten_dict(start), np.random.default_rng(0)
    values = {
        path: known[path] if path in known and "pooling" not in path else _drawn(path, leaf, rng)
        for path, leaf in shapes.items()
    }
    network = Network(config, traverse_util.unflatten_dict(values))
    return of_network(network, None, Form(*size), f"{job['backbone']} + {head}", check.BATCH)


def start_of(job: dict, images: np.ndarray) -> dict:
    """The backbone's untrained values, whose BatchNorm statistics are those of the images."""
    config = config_of(job, "gem")
    if BACKBONES[job["backbone"]].class_token:  # layers of a transformer normalise by themselves
        init = jax.jit(models.build(config).init)
        return jax.tree.map(np.asarray, init(jax.random.key(0), images[:1]))
    return initialise.initialise(config, None, 0, lambda i: images[i], len(images))[0]


def config_of(job: dict, head: str):
    """The model's config, with the head's usual keys."""
    config = base.get_config().model
    config.update(backbone=job["backbone"], pooling=head, stage=job["stage"])
    return config


def _drawn(path: tuple, leaf, rng: np.random.Generator) -> np.ndarray:
    """Values of a head: kernels that keep the scale, scales near 1, powers near 3, the rest small."""
    if path[-1] == "kernel":
        values = rng.normal(0, np.sqrt(1 / np.prod(leaf.shape[:-1])), leaf.shape)
    elif path[-1] in ("scale", "var"):
        values = rng.uniform(0.8, 1.2, leaf.shape)
    else:
        values = rng.normal(3.0 if path[-1] == "p" else 0.0, 0.1, leaf.shape)
    return values.astype(leaf.dtype)


def rows_of(model: Model, job: dict, head: str, folder: pathlib.Path):
    """Yields the row of each format."""
    wanted: dict[tuple[int, int], np.ndarray] = {}
    for name in FORMATS:
        file, note = folder / f"model{SUFFIXES[name]}", ""
        facts = {"images": len(job["pictures"]), "packages": packages()}
        try:
            free, note = _write(model, name, file)
            exported, own, foreign, sizes = _compared(model, job, file, free, wanted)
        except Exception as error:  # of any library: its row tells it
            exported, own, foreign, sizes = np.nan, 0, "", ()
            note = f"{type(error).__name__}: {error}"
            note = note.splitlines()[0][:200]
        facts |= {"mib": round(file.stat().st_size / 2**20, 1) if file.exists() else 0}
        facts |= {"peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10}
        facts |= {"sizes": " ".join(f"{h}x{w}" for h, w in sizes), "note": note}
        facts |= {"exported": f"{exported:.2e}", "own": f"{own:.2e}", "foreign": foreign}
        cell = {"backbone": job["backbone"], "head": head, "format": name}
        row = {
            **cell,
            "stage": job["stage"] or WHOLE,
            "files": 1,
            **facts,
            "code_version": code_version(),
        }
        yield Row(**{key: str(value) for key, value in row.items()})
        file.unlink(missing_ok=True)


def _write(model: Model, name: str, file: pathlib.Path) -> tuple[bool, str]:
    """Writes the file, for any size where the network allows it: whether it does, and why not."""
    module = importlib.import_module(FORMATS[name])
    try:
        module.write(model, None, file)
        return True, ""
    except Exception as error:  # a converter raises anything
        reason = f"one size alone ({type(error).__name__})"
    module.write(model, model.size, file)
    return False, reason


def _compared(model: Model, job: dict, file: pathlib.Path, free: bool, wanted: dict):
    """Differences as in `check.Difference`, foreign packages and sizes; `wanted` keeps the model's rows."""
    asked = {}
    for more in check.FREE if free else check.FREE[:1]:
        size = tuple(side + by for side, by in zip(model.size, more, strict=True))
        asked[size] = Pictures(job["pictures"], Form(*size)).images(range(len(job["pictures"])))
        if size not in wanted:
            wanted[size] = check.describe(model, asked[size])
    given, out = file.with_name("given.npz"), file.with_name("found.npz")
    np.savez(given, **{"{}x{}".format(*size): images for size, images in asked.items()})
    done = subprocess.run(
        [sys.executable, "-I", READER, file, given, out],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    with np.load(out) as found:
        differences = {
            size: check.largest(found["{}x{}".format(*size)], wanted[size]) for size in asked
        }
    worst, own = max(differences.values()), 0.0
    if not worst <= check.MOST:
        own = max(
            check.largest(check.describe(model, asked[size], models.build_for_cpu), wanted[size])
            for size in asked
        )
    return worst, own, done.stdout.strip(), [*asked]


def packages() -> str:
    """Names and versions of what exports and reads."""
    return " ".join(f"{name}={metadata.version(name)}" for name in PACKAGES)


def main() -> None:
    """Runs the job of a folder."""
    folder = pathlib.Path(sys.argv[1])
    job = json.loads((folder / JOB).read_text())
    size = tuple(job["size"])
    images = Pictures(job["pictures"], Form(*size)).images(range(len(job["pictures"])))
    start = start_of(job, images)
    for head in job["heads"]:
        model = model_of(job, head, start, size)
        for row in rows_of(model, job, head, folder):
            with (folder / ROWS).open("a", encoding="utf-8") as file:
                file.write(json.dumps(row._asdict()) + "\n")
            print(*row.key, row.exported, row.own, row.sizes, row.note, file=sys.stderr, flush=True)
        del model
        jax.clear_caches()
        gc.collect()


if __name__ == "__main__":
    for library in ("absl", "onnx_ir"):  # hides their own lines
        logging.getLogger(library).setLevel(logging.ERROR)
    main()
