"""Descriptors of the field's models in float32, against PyTorch: SALAD, MixVPR, ResNet101 + GeM.

    python experiments/benchmark.py --json=FILE field

As `extract`, on a batch of four images in each model's own size, with random weights that both sides read
from one file of the released layout.
"""

import argparse
import pathlib
import tempfile
from collections.abc import Callable, Iterator

import jax
import ml_collections
import numpy as np

from benchmarks import extract, flops, models
from vprjax.weights.released import load

# Case -> the rival's function in `torch_field`, what stands in front of a backbone's names in the released
# file, and the images' height and width.
CASES = {
    "dinov2_vitb14-salad-322x322": ("salad", "backbone.model.", (322, 322)),
    "resnet50-mixvpr-320x320": ("mixvpr", "backbone.model.", (320, 320)),
    "resnet101-gem-480x640": ("gem", "backbone.", (480, 640)),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of this sub-command."""
    parser.add_argument("--batch", type=int, default=4, help="images per step")
    parser.add_argument("--only", default="", help="only rows whose name holds this")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    parser.set_defaults(dtype="float32")


def measure(args, interleaved: Callable, row: Callable) -> Iterator[dict]:
    """Yields the table's rows; stops where the sides do not agree."""
    chosen = {name: case for name, case in CASES.items() if args.only in name}
    peak = flops.peaks(args.dtype) if chosen else 0.0
    for name, case in chosen.items():
        yield extract.compare(name, pair(*case, args.batch), args, peak, interleaved, row)
        jax.clear_caches()


def pair(make: str, prefix: str, size: tuple[int, int], batch: int) -> models.Pair:
    """Both sides of a case: PyTorch's random weights, which ours reads as the released file."""
    import torch

    from benchmarks import torch_field

    torch.manual_seed(0)
    network = getattr(torch_field, make)().eval()
    with torch.no_grad():
        for name, tensor in network.named_parameters():
            if tensor.ndim == 4:
                torch.nn.init.kaiming_normal_(tensor)
            elif name.endswith("bn3.weight"):  # keeps the scale of the sum over blocks
                tensor.fill_(0.2)
    state = {released_name(name, prefix): tensor for name, tensor in network.state_dict().items()}
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "model.pth"
        torch.save(state, file)
        found = load.read(str(file))
    images = np.random.default_rng(0).integers(0, 256, (batch, *size, 3), np.uint8)
    config = ml_collections.ConfigDict({"model": found.config})
    return models.Pair(config, found.variables, network.to(models.torch_device()), images)


def released_name(name: str, prefix: str) -> str:
    """The name in the released file of an array of `torch_field`."""
    if name.startswith("backbone."):
        return prefix + name.removeprefix("backbone.")
    return name
