"""The heads of the paper's related work learn on both of its backbones, with its three losses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from tests.helpers.random_variables import random_variables
from vprjax import losses, models

HEADS = ("mac", "spoc", "crow", "rmac", "learned_rmac")
BACKBONES = {"vgg16": "conv1", "resnet50": "conv1"}  # an early stage compiles in little time
LOSSES = ("triplet", "contrastive", "arcface")
PLACES = {
    "group": np.zeros(2, np.int32),
    "group_size": np.full(2, 3, np.int32),
    "labels": np.array([0, 2], np.int32),
}


def config(backbone, pooling):
    c = base.get_config()
    c.model.update(backbone=backbone, stage=BACKBONES[backbone], pooling=pooling)
    c.model.rmac.levels = c.model.learned_rmac.levels = 2
    c.loss.triplet.margin = 2.0  # every tuple is active
    c.loss.contrastive.margin = 2.0
    return c


@pytest.mark.parametrize("pooling", HEADS)
@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_step_along_the_gradient_lowers_every_loss(backbone, pooling):
    c = config(backbone, pooling)
    module = models.build(c.model)
    x = np.random.default_rng(0).integers(0, 256, (8, 25, 33, 3), np.uint8)
    variables = random_variables(module, x)
    rest = {kind: tree for kind, tree in variables.items() if kind != "params"}
    d = jax.eval_shape(module.apply, variables, x).shape[-1]
    classes = jnp.asarray(np.random.default_rng(1).normal(size=(1, 3, d)), jnp.float32)

    def values(params):
        f = module.apply({"params": params, **rest}, x).reshape(2, 4, d)
        found = []
        for name in LOSSES:
            c.loss.name = name
            parts = losses.make(c.loss, c.tuples, "batch")(f, PLACES, classes, 0)
            found.append(parts["loss"].mean())
        return jnp.stack(found)

    @jax.jit
    def stepped(params):
        """The losses before and behind a step of each."""
        before, back = jax.vjp(values, params)
        after, lengths = [], []
        for one in jnp.eye(len(LOSSES)):
            (gradient,) = back(one)
            squared = sum(jnp.sum(g * g) for g in jax.tree.leaves(gradient))
            rate = 1e-3 / jnp.maximum(squared, 1e-12)  # lowers a linear loss by 1e-3
            after.append(values(jax.tree.map(lambda p, g, r=rate: p - r * g, params, gradient)))
            lengths.append(
                [squared, *(jnp.sum(g * g) for g in jax.tree.leaves(gradient.get("pooling", {})))]
            )
        return before, jnp.stack(after), lengths

    before, after, lengths = stepped(variables["params"])
    assert np.isfinite(before).all() and np.isfinite(after).all()
    for i, name in enumerate(LOSSES):
        assert -3e-3 < after[i, i] - before[i] < -2e-4, name
        assert all(length > 0 for length in lengths[i]), name  # learned R-MAC's layer moves too
