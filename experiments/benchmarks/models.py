"""The study's models for the sub-commands, with the same weights on both sides or ours alone."""

import argparse
import copy
import dataclasses
import tempfile
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from configs import base
from vprjax import models
from vprjax.runtime import parallel
from vprjax.weights import initialise, pretrained

MODELS = ("vgg16-gem", "resnet50-gem", "vgg16-netvlad", "resnet50-netvlad")
SOFTER = 0.1  # clusters of random weights are close; sharp assignments would show rounding only
# Relative differences of losses, gradient norms and descriptors; a GPU multiplies float32 in TF32.
TOLERANCES = {"cpu": 1e-3, "cuda": 2e-2}  # one rounding flips a ReLU here and there
HALF = 0.1  # where the backbone computes in bfloat16
DEVICES = {"cpu": "cpu", "gpu": "cuda"}  # JAX's name -> PyTorch's


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of the sub-commands with a rival in PyTorch."""
    add_batch_arguments(parser)
    parser.add_argument("--only", default="", help="only rows whose name holds this")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")


def add_batch_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of every sub-command that runs a model."""
    parser.add_argument("--size", type=int, default=224, help="height and width of the images")
    parser.add_argument("--batch", type=int, default=8, help="images per step")
    parser.add_argument("--dtype", default="float32", help="compute dtype, or bfloat16")


@dataclasses.dataclass
class Pair:
    """One model on both sides: our `variables`, and `torch` with the same weights or None."""

    config: Any
    variables: dict
    torch: Any
    images: np.ndarray


def pair(name: str, args) -> Pair:
    """Both sides with PyTorch's random weights, read as its `state_dict`; NetVLAD's from our k-means."""
    import torch

    from benchmarks import torch_rival

    device = torch_device()
    if device == "cuda":  # JAX's defaults: float32 products in TF32, the fastest algorithms
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        torch.backends.cudnn.benchmark = True
    torch.manual_seed(0)
    backbone_name, pooling_name = name.split("-")
    config, images = _config(f"{backbone_name},{pooling_name}", args), _images(args)
    make, file = {
        "vgg16": (torch_rival.vgg16, "weights.pth"),
        "resnet50": (torch_rival.ResNet50, "weights.pth"),
        "mobilenetv2": (torch_rival.MobileNetV2, "weights.npz"),
    }[backbone_name]
    backbone = make()
    for module in backbone.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)
        if isinstance(module, torch_rival.Bottleneck):  # keeps the scale of the sum over blocks
            torch.nn.init.constant_(module.bn3.weight, 0.25)
    with tempfile.TemporaryDirectory() as folder:
        if file == "weights.pth":
            torch.save(backbone.state_dict(), f"{folder}/{file}")
        else:
            np.savez(f"{folder}/{file}", **torch_rival.keras_arrays(backbone))
        loaded = pretrained.load(f"{folder}/{file}", backbone_name)
    variables, _ = initialise.initialise(config.model, loaded, 0, lambda i: images[i], len(images))
    head = torch_rival.GeM()
    if pooling_name == "netvlad":
        values = variables["params"]["pooling"]
        values |= {key: SOFTER * np.asarray(values[key]) for key in ("weights", "biases")}
        head = torch_rival.NetVLAD(
            *(torch.tensor(values[k]) for k in ("weights", "biases", "centers"))
        )
    model = torch_rival.Descriptor(backbone, head).eval().to(device)
    return Pair(config, variables, model, images)


def torch_device() -> str:
    """PyTorch's name of our side's device.

    Raises:
      SystemExit: PyTorch cannot run on it.
    """
    import torch

    device = DEVICES.get(jax.default_backend())
    if device is None or (device == "cuda" and not torch.cuda.is_available()):
        raise SystemExit(
            f"PyTorch cannot run on {jax.devices()[0].device_kind} here: install its build for that, "
            "or set JAX_PLATFORMS=cpu to compare on the CPU"
        )
    return device


def tolerance(args) -> float:
    """The relative difference that the two sides may have."""
    return HALF if args.dtype == "bfloat16" else TOLERANCES[torch_device()]


def alone(cell: str, args) -> Pair:
    """Our side of a cell such as `resnet50,gem,triplet` with random weights, without PyTorch."""
    config, images = _config(cell, args), _images(args)
    variables, _ = initialise.initialise(config.model, None, 0, lambda i: images[i], len(images))
    return Pair(config, variables, None, images)


def _config(cell: str, args):
    config = base.select(base.get_config(), cell)
    config.model.compute_dtype = args.dtype
    config.optim.learning_rate, config.optim.warmup_steps = 1e-5, 0
    return config


def _images(args) -> np.ndarray:
    shape = (args.batch, args.size, args.size, 3)
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def variants(model, compiled: bool) -> dict[str, Any]:
    """The rival's models by way to run: eager in both layouts, and compiled."""
    import torch

    last = copy.deepcopy(model).to(memory_format=torch.channels_last)
    found = {"torch eager": model, "torch channels_last": last}
    if compiled:
        found["torch.compile"] = torch.compile(copy.deepcopy(last))
    return found


def precision(args):
    """A context in which the rival computes in our side's type."""
    import torch

    return torch.autocast(torch_device(), torch.bfloat16, enabled=args.dtype == "bfloat16")


def mark(args) -> str:
    """The end of a row's name: the compute type unless it is float32."""
    return "" if args.dtype == "float32" else f"-{args.dtype}"


def apply_fn(pair: Pair) -> Callable:
    """Our descriptors `(images) -> (b, d)`, through the product's own extraction."""
    module = models.build_for_platform(pair.config.model, parallel.AXIS)
    mapped = parallel.map_over_devices(module.apply)
    variables = parallel.replicate(pair.variables)
    return lambda images: np.asarray(mapped(variables, parallel.place(images)))[0]


def check_close(what: str, ours, theirs, tolerance: float) -> float:
    """The relative difference `|ours - theirs| / |theirs|`; raises SystemExit beyond `tolerance`."""
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    found = float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))
    if not found <= tolerance:
        raise SystemExit(f"{what}: the sides differ by {found:.1e}, more than {tolerance:.0e}")
    return found
