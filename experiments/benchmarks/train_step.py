"""One training step (forward, backward, AdamW) of the four models, against PyTorch.

    python experiments/benchmark.py --json=FILE train_step

A step fine-tunes all parameters with frozen BatchNorm. Its tuples of a query, a positive and negatives hold
`--batch` uint8 images in all. The benchmark first compares both sides' loss and gradient norm. The rival is
PyTorch on the same device: eager, eager in channels_last, and torch.compile; the fastest counts. Each takes
an untimed turn ahead of each timed one, since training takes step after step. On a GPU a turn is ten
steps: like a training loop it sends them off one after another and waits at the end. Contrastive and
ArcFace have our own triplet step as rival. FLOPs are the model's, since a loss has few.
"""

import argparse
import statistics
from collections.abc import Callable, Iterator

import jax
import numpy as np

from benchmarks import flops, models
from configs import base
from vprjax.models import build_for_platform
from vprjax.runtime import parallel
from vprjax.training import assemble, state

TUPLES = 2
CLASSES = 100
STEPS = {"cpu": 1, "cuda": 10}  # in a turn


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of this sub-command."""
    models.add_arguments(parser)


class Ours:
    """The product's own mapped step with its own state, on one batch."""

    def __init__(self, pair: models.Pair, loss: str, steps: int = 1):
        """`loss` is one of the config's; a call takes `steps` steps."""
        self.steps = steps
        self.config = pair.config.copy_and_resolve_references()
        self.config.loss.name = loss
        places = loss == "arcface"
        d = parallel_width(pair)
        classes = np.random.default_rng(1).standard_normal((1, CLASSES, d), dtype=np.float32)
        start = state.create(self.config, pair.variables, classes if places else ())
        b, m = TUPLES, len(pair.images) // TUPLES
        batch = {"images": pair.images.reshape(b, m, *pair.images.shape[1:])}
        if places:
            none = np.zeros(b, np.int32)
            batch |= {"labels": np.arange(b, dtype=np.int32), "group": none}
            batch["group_size"] = none + CLASSES
        else:
            batch["positions"] = np.zeros((b, m, 2), np.float32)
        step = assemble.train_step(
            self.config, build_for_platform(self.config.model, parallel.AXIS), start.params
        )
        self.batch = parallel.place(batch)  # ahead of the step, as in the product's loop
        self.compiled = parallel.compile_mapped(step, start, self.batch, self.config.model.remat)
        self.state = parallel.replicate(start)

    def __call__(self):
        """Takes `steps` steps and waits for them."""
        for _ in range(self.steps):
            self.step()
        jax.block_until_ready((self.state, self.measured))

    def step(self):
        """Sends off one step; sets `state` and `measured`."""
        self.state, self.measured = self.compiled(self.state, self.batch)

    def first(self) -> dict[str, float]:
        """Loss and gradient norm of the next step."""
        self.step()
        found = parallel.unreplicate(self.measured).compute()
        return {"loss": float(found["loss"]), "grad_norm": float(found["grad_norm"])}


def parallel_width(pair: models.Pair) -> int:
    """The number of a descriptor's dimensions."""
    module = build_for_platform(pair.config.model, parallel.AXIS)
    return jax.eval_shape(module.apply, pair.variables, pair.images[:1]).shape[-1]


class Theirs:
    """The rival's step on the same batch."""

    def __init__(self, pair: models.Pair, model, args, steps: int = 1):
        """`model` is one of `models.variants`; a call takes `steps` steps."""
        import torch

        self.args, self.steps = args, steps
        self.model, self.margin = model, pair.config.loss.triplet.margin
        self.device = models.torch_device()
        self.images = torch.from_numpy(pair.images).to(self.device)
        self.optimiser = torch.optim.AdamW(
            model.parameters(), 1e-5, weight_decay=1e-4, fused=self.device == "cuda"
        )
        self.clip = pair.config.optim.clip_norm

    def __call__(self):
        """Takes `steps` steps and waits for them."""
        import torch

        for _ in range(self.steps):
            self.step()
        if self.device == "cuda":
            torch.cuda.synchronize()

    def step(self):
        """Sends off one step; sets `loss` and `grad_norm`."""
        import torch

        from benchmarks import torch_rival

        self.optimiser.zero_grad()
        with models.precision(self.args):
            descriptors = self.model(self.images).float()
        tuples = descriptors.reshape(TUPLES, -1, descriptors.shape[-1])
        loss = torch_rival.triplet(tuples, self.margin)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
        self.optimiser.step()
        self.loss, self.grad_norm = loss.detach(), norm

    def first(self) -> dict[str, float]:
        """Loss and gradient norm of the next step."""
        self.step()
        return {"loss": float(self.loss), "grad_norm": float(self.grad_norm)}


def measure(args, interleaved: Callable, row: Callable) -> Iterator[dict]:
    """Yields the table's rows; stops where the sides do not agree."""
    peak = flops.peaks(args.dtype)
    for name in models.MODELS:
        losses = [loss for loss in base.LOSSES if args.only in f"{name}-{loss}"]
        if losses:
            yield from _measure_one(name, losses, args, peak, interleaved, row)
            jax.clear_caches()


def _measure_one(
    name: str, losses: list[str], args, peak: float, interleaved: Callable, row: Callable
) -> Iterator[dict]:
    pair = models.pair(name, args)
    rivals = models.variants(pair.torch, not args.no_compile)
    work, steps = flops.of_step(pair), STEPS[models.torch_device()]
    variants = {kind: Theirs(pair, model, args, steps) for kind, model in rivals.items()}
    ours = {loss: Ours(pair, loss, steps) for loss in dict.fromkeys(["triplet", *losses])}
    found = {kind: side.first() for kind, side in variants.items()}
    own = {loss: side.first() for loss, side in ours.items()}["triplet"]
    close = models.tolerance(args)
    for kind, figures in found.items():
        for what, value in figures.items():
            models.check_close(f"{name} {what}, {kind}", own[what], value, close)
    turns = interleaved(variants | ours, args.rounds, settle=True)
    seconds = {name: [turn / steps for turn in found] for name, found in turns.items()}
    best = min(variants, key=lambda kind: statistics.median(seconds[kind]))
    rivals = {"triplet": (best, seconds[best])}
    rivals |= {loss: ("our triplet", seconds["triplet"]) for loss in list(base.LOSSES)[1:]}
    print({kind: round(statistics.median(seconds[kind]), 4) for kind in variants}, flush=True)
    for loss in losses:
        rival, theirs = rivals[loss]
        more = flops.share(work, seconds[loss], peak)
        more["images_s"] = round(len(pair.images) / statistics.median(seconds[loss]), 1)
        mark = models.mark(args)
        yield row(f"{name}-{loss}{mark}", rival, seconds[loss], theirs, work, **more)
