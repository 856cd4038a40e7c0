"""A released model's file of random values: a small CosPlace, by the names and shapes of its own code."""

import re

import numpy as np
import safetensors.numpy

from vprjax.weights import names

_PARTS = {"conv1": "0", "bn1": "1"} | {f"layer{i}": str(i + 3) for i in range(1, 5)}


def backbone(name="resnet18", seed=0):
    """Arrays by name of a backbone alone, as torchvision's file has them."""
    rng = np.random.default_rng(seed)
    table = names.names_and_shapes(name, "torch").values()
    return {n: _values(rng, n.rpartition(".")[2], shape) for n, shape in table}


def cosplace(dimension=32, backbone="resnet18", seed=0):
    """Arrays by name: torchvision's backbone as a sequence, GeM's exponent and a linear layer."""
    rng = np.random.default_rng(seed)
    found = {}
    for name, shape in names.names_and_shapes(backbone, "torch").values():
        part, _, rest = name.partition(".")
        found[f"backbone.{_PARTS[part]}.{rest}"] = _values(rng, rest, shape)
        if rest.endswith("running_mean"):
            counter = re.sub("running_mean$", "num_batches_tracked", rest)
            found[f"backbone.{_PARTS[part]}.{counter}"] = np.array(7, np.int64)
    width = shape[0]
    found["aggregation.1.p"] = np.array([2.7], np.float32)
    found["aggregation.3.weight"] = _values(rng, "weight", (dimension, width))
    found["aggregation.3.bias"] = _values(rng, "bias", (dimension,))
    return found


def _values(rng, name, shape):
    if name.endswith("running_var"):
        values = rng.uniform(0.5, 1.5, shape)
    elif len(shape) > 1:
        values = rng.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape)
    else:
        values = rng.normal(0.5 if name.endswith("weight") else 0.0, 0.1, shape)
    return values.astype(np.float32)


def write(file, arrays):
    """Writes arrays as safetensors; returns the path."""
    safetensors.numpy.save_file(arrays, file)
    return file
