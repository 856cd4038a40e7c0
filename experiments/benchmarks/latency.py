"""Time of one and of eight pictures through every way to run a model, against PyTorch.

    python experiments/benchmark.py --json=FILE latency

uint8 images go in, unit descriptors come out. Ours are the exported ONNX file in onnxruntime, the
exported StableHLO file, and the model in memory (`jit`), each as `Model.describe` runs it. The rival is
PyTorch in inference mode with the same weights: eager, channels_last, torch.compile. The benchmark first
compares all descriptors. The fastest way of each side counts; further columns hold each way's median in
milliseconds.
"""

import argparse
import functools
import pathlib
import statistics
import tempfile
from collections.abc import Callable, Iterator

import jax

from benchmarks import models
from vprjax.data.pictures import Form
from vprjax.export.write import write_model
from vprjax.localize.load import load, of_network
from vprjax.localize.network import Network

MODELS = ("mobilenetv2-gem", "resnet50-gem")
BATCHES = (1, 8)
CLOSE = 1e-4  # relative difference of a batch of descriptors


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of this sub-command."""
    parser.add_argument("--size", type=int, default=224, help="height and width of the images")
    parser.add_argument("--only", default="", help="only rows whose name holds this")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    parser.set_defaults(dtype="float32", batch=max(BATCHES))


def measure(args, interleaved: Callable, row: Callable) -> Iterator[dict]:
    """Yields the table's rows; stops where two ways do not agree."""
    for name in MODELS:
        if any(args.only in f"{name}-latency-{batch}" for batch in BATCHES):
            yield from _measure_one(name, args, interleaved, row)


def _measure_one(name: str, args, interleaved: Callable, row: Callable) -> Iterator[dict]:
    pair = models.pair(name, args)
    with tempfile.TemporaryDirectory() as folder:
        ours = _ours(pair, args, pathlib.Path(folder))
        for batch in BATCHES:
            if args.only in f"{name}-latency-{batch}":
                yield _row(f"{name}-latency-{batch}", pair, ours, batch, args, interleaved, row)


def _ours(pair, args, folder: pathlib.Path) -> dict[str, Callable]:
    """Our ways to run the model, images `(b, h, w, 3) -> (b, d)`."""
    model = of_network(
        Network(pair.config.model, pair.variables), None, Form(args.size, args.size), "benchmark"
    )
    ways = {"jit": model.describe}
    for kind, file in {"onnx": folder / "model.onnx", "stablehlo": folder / "model.zip"}.items():
        write_model(model, kind, file, False)
        ways[kind] = load(file).describe
    return ways


def _row(name: str, pair, ours: dict, batch: int, args, interleaved: Callable, row: Callable):
    import torch

    images = pair.images[:batch]
    tensor = torch.from_numpy(images)

    def describe(model):
        with torch.inference_mode():
            return model(tensor).numpy()

    rivals = models.variants(pair.torch, not args.no_compile)
    theirs = {kind: functools.partial(describe, model) for kind, model in rivals.items()}
    mine = {kind: functools.partial(run, images) for kind, run in ours.items()}
    expected = describe(pair.torch)
    for kind, run in {**mine, **theirs}.items():
        models.check_close(f"{name}, {kind}", run(), expected, CLOSE)
    seconds = interleaved({**theirs, **mine}, args.rounds, settle=True)
    jax.clear_caches()
    medians = {kind: statistics.median(times) for kind, times in seconds.items()}
    best, rival = (min(side, key=medians.__getitem__) for side in (mine, theirs))
    more = {f"{kind} ms": round(1000 * value, 1) for kind, value in medians.items()}
    more["best"] = best
    return row(name, rival, seconds[best], seconds[rival], 0, **more)
