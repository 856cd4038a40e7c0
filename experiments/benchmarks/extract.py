"""Descriptors of a batch of images from the four models, against PyTorch.

    python experiments/benchmark.py --json=FILE extract

uint8 images go in, unit descriptors come out; the benchmark first compares both sides' descriptors. The
rival is PyTorch in inference mode on the same device: eager, eager in channels_last, and torch.compile; the
fastest counts. The time includes the transfers to and from a GPU.
"""

import argparse
import functools
import statistics
from collections.abc import Callable, Iterator

import jax

from benchmarks import flops, models

CLOSE = 1e-4  # relative difference of whole batches of descriptors in float32 on a CPU


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of this sub-command."""
    models.add_arguments(parser)


def measure(args, interleaved: Callable, row: Callable) -> Iterator[dict]:
    """Yields the table's rows; stops where the sides do not agree."""
    peak = flops.peaks(args.dtype)
    for name in models.MODELS:
        if args.only in name:
            yield compare(name, models.pair(name, args), args, peak, interleaved, row)
            jax.clear_caches()


def compare(
    name: str, pair: models.Pair, args, peak: float, interleaved: Callable, row: Callable
) -> dict:
    """The row of one model: both sides' descriptors compared, then their times."""
    import torch

    work = flops.of_extraction(pair)
    ours = models.apply_fn(pair)
    images, device = torch.from_numpy(pair.images), models.torch_device()
    exact = device == "cpu" and args.dtype == "float32"
    close = CLOSE if exact else models.tolerance(args)

    def describe(model):
        with torch.inference_mode(), models.precision(args):
            return model(images.to(device)).float().cpu()

    rivals = models.variants(pair.torch, not args.no_compile)
    theirs = {kind: functools.partial(describe, model) for kind, model in rivals.items()}
    found = ours(pair.images)
    for kind, run in theirs.items():
        models.check_close(f"{name} descriptors, {kind}", found, run().numpy(), close)
    contestants = theirs | {"vprjax": functools.partial(ours, pair.images)}
    seconds = interleaved(contestants, args.rounds, settle=True)
    best = min(theirs, key=lambda kind: statistics.median(seconds[kind]))
    more = flops.share(work, seconds["vprjax"], peak)
    more["images_s"] = round(len(images) / statistics.median(seconds["vprjax"]), 1)
    return row(
        f"{name}-extract{models.mark(args)}",
        best,
        seconds["vprjax"],
        seconds[best],
        work,
        **more,
    )
