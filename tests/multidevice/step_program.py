"""Runs three train steps of one global batch on all devices it is given; prints a case's figures as JSON.

XLA_FLAGS=--xla_force_host_platform_device_count=2 python step_program.py triplet,frozen,off,1 ...
"""

import json
import sys

import jax
import numpy as np

from configs import base
from vprjax import models, sampling
from vprjax.descriptors.extraction import Extractor
from vprjax.runtime import parallel
from vprjax.sampling.places import PlaceSampler
from vprjax.training import assemble
from vprjax.training.state import create


class NoiseImages:
    """Stands for a dataset: image i is a pattern drawn from i."""

    def images(self, indices):
        flat = np.asarray(indices).ravel()
        drawn = [np.random.default_rng(int(i)).integers(0, 255, (32, 40, 3)) for i in flat]
        return np.stack(drawn).astype(np.uint8).reshape(*np.shape(indices), 32, 40, 3)


def batch_of(config):
    images = NoiseImages()
    if issubclass(sampling.kind(config), PlaceSampler):
        return {
            "images": images.images(np.arange(32).reshape(8, 4)),
            "labels": np.arange(8, dtype=np.int32),
            "group": np.ones(8, np.int32),
            "group_size": np.full(8, 9, np.int32),
        }
    positions = np.random.default_rng(1).uniform(0, 100, (8, 5, 2)).astype(np.float32)
    # A positive is near its query. Far off it would be a negative exactly as near as the positive.
    positions[:, 1] = positions[:, 0] + 1
    return {"images": images.images(np.arange(8 * 5).reshape(8, 5)), "positions": positions}


def kept(images):
    """Cosines of an untrained model with all of the step's images, and keep images with theirs."""
    rng = np.random.default_rng(2)
    b, m = images.shape[:2]
    untrained = rng.uniform(-1, 1, (b, m, b * m)).astype(np.float32)
    similarities = rng.uniform(-1, 1, (8, 8)).astype(np.float32)
    keep = {"images": NoiseImages().images(np.arange(90, 98)), "similarities": similarities}
    return {"untrained": untrained, "keep": keep}


def main(loss, batch_norm, in_batch, accumulate, keep=""):
    config = base.get_config()
    config.model.update(backbone="mobilenetv2", stage="expanded_conv", batch_norm=batch_norm)
    config.loss.name, _, classes = loss.partition("-")
    config.loss.arcface.classes = classes or "places"
    config.augment.update(crop=0.2, mirror=True, brightness=0.1, contrast=0.2, noise=2.0)
    if keep:
        config.augment.update(perspective=0.1, rotate=9.0, hue=0.1, saturation=0.4, grey=0.2)
        config.augment.update(blur=1.0, erase=0.2)
        config.keep.update(images=("a:b",), batch=8, weight=2.0, batch_weight=1.0)
        config.optim.update(keep_start=3.0, depth_rate=0.5)
    config.tuples.in_batch = in_batch
    config.train.accumulate = int(accumulate)
    # SGD: Adam's first step is the gradient's sign, so it blows up round-off where that is near 0.
    config.optim.update(name="sgd", learning_rate=0.01, warmup_steps=0)
    config.lock()
    module = models.build_for_platform(config.model, parallel.AXIS)
    variables = jax.tree.map(
        np.asarray,
        jax.jit(models.build(config.model).init)(jax.random.key(0), NoiseImages().images([0])),
    )
    classes = ()
    if sampling.kind(config).LEARNS_CLASSES:
        classes = np.random.default_rng(0).normal(size=(2, 9, 16)).astype(np.float32)
    state = create(config, variables, classes)
    step = assemble.train_step(config, module, state.params)
    state = parallel.replicate(state)
    losses = []
    for _ in range(3):
        batch = batch_of(config)
        batch |= kept(batch["images"]) if keep else {}
        state, measured = step(state, parallel.split(batch))
        losses.append(float(parallel.unreplicate(measured).compute()["loss"]))
    trained = {"params": state.params["model"], **state.constants}
    described = Extractor(module.apply, 8)(trained, NoiseImages(), np.arange(11), "describe")
    print(
        json.dumps(
            {"devices": jax.device_count(), "losses": losses, "descriptors": described.tolist()}
        )
    )


if __name__ == "__main__":
    for case in sys.argv[1:]:
        main(*case.split(","))
