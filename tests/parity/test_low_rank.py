"""Low-rank additions: the released model at first, merged kernels at last, gradients as PyTorch's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import traverse_util

from configs import base
from tests.helpers.random_variables import random_variables
from vprjax import models
from vprjax.models.backbones.low_rank import LowRankDense, merged
from vprjax.training import state
from vprjax.weights import pretrained

torch = pytest.importorskip("torch")

KEY = jax.random.key(0)
IMAGES = np.random.default_rng(0).integers(0, 256, (2, 28, 42, 3)).astype(np.uint8)


def test_gradients_of_the_additions_are_torchs_and_the_kernels_have_none():
    layer = LowRankDense(5, rank=2)
    rng = np.random.default_rng(1)
    x = rng.normal(size=(3, 4, 6)).astype(np.float32)
    variables = random_variables(layer, jnp.asarray(x))
    assert (layer.init(KEY, x)["params"]["lora_b"] == 0).all()

    def value(params):
        return (layer.apply({"params": params}, x) ** 3).sum()

    grads = jax.grad(value)(variables["params"])
    t = {
        k: torch.tensor(np.asarray(v), dtype=torch.float64) for k, v in variables["params"].items()
    }
    for name in ("lora_a", "lora_b"):
        t[name].requires_grad_()
    inputs = torch.tensor(x, dtype=torch.float64)
    y = inputs @ t["kernel"] + t["bias"] + inputs @ t["lora_a"] @ t["lora_b"]
    np.testing.assert_allclose(layer.apply(variables, x), y.detach(), rtol=1e-5, atol=1e-5)
    (y**3).sum().backward()
    for name in ("lora_a", "lora_b"):
        wanted = t[name].grad.numpy()
        largest = np.abs(wanted).max()
        np.testing.assert_allclose(grads[name] / largest, wanted / largest, atol=1e-5)
    assert not grads["kernel"].any() and not grads["bias"].any()
    plain = nn.Dense(5).apply({"params": merged({"layer": variables["params"]})["layer"]}, x)
    np.testing.assert_allclose(plain, y.detach(), rtol=1e-5, atol=1e-5)


def section(rank):
    c = base.get_config()
    c.model.update(backbone="dinov2_vits14", stage="block1", pooling="gem", lora_rank=rank)
    c.optim.update(weight_decay=0.1, keep_start=1.0)
    return c


@pytest.fixture(scope="module")
def plain():
    return random_variables(models.build(section(0).model), jnp.asarray(IMAGES[:1]))


@pytest.fixture(scope="module")
def started(plain):
    """The model with additions as it starts from a file's backbone."""
    fresh = jax.jit(models.build(section(3).model).init)(KEY, IMAGES[:1])
    loaded = {"params": plain["params"]["backbone"], "preprocess": plain["preprocess"]}
    assert pretrained.missing(fresh, loaded) == ()
    return {**pretrained.insert(fresh, loaded)}


def test_it_starts_as_the_model_of_the_weights_and_merges_back(plain, started):
    head = {**started, "params": {**started["params"], "pooling": plain["params"]["pooling"]}}
    wanted = models.build(section(0).model).apply(plain, IMAGES)
    found = models.build(section(3).model).apply(head, IMAGES)
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    moved = jax.tree_util.tree_map_with_path(
        lambda path, x: x + 0.3 if path[-1].key == "lora_b" else x, head["params"]
    )
    trained = {**head, "params": moved}
    after = models.build(section(3).model).apply(trained, IMAGES)
    assert np.abs(after - wanted).max() > 5e-3
    config, variables = models.merged(section(3).model, trained)
    assert config.lora_rank == 0 and jax.tree.structure(variables) == jax.tree.structure(plain)
    np.testing.assert_allclose(models.build(config).apply(variables, IMAGES), after, atol=2e-6)


def test_the_additions_and_the_head_alone_train(started):
    c = section(3)
    params = {"model": jax.tree.map(jnp.asarray, started["params"]), "classes": ()}
    optimiser = state.optimiser(c, params)
    shifted = jax.tree.map(lambda x: x + 0.1, params)
    updates, _ = optimiser.update(
        jax.tree.map(jnp.ones_like, params), optimiser.init(params), shifted
    )
    flat = traverse_util.flatten_dict(updates["model"], sep="/")
    moved = {name for name, update in flat.items() if np.any(np.asarray(update) != 0)}
    added = {name for name in flat if name.endswith(("lora_a", "lora_b"))}
    assert len(added) == 2 * 4  # qkv, proj, fc1 and fc2 of one block
    assert moved == added | {name for name in flat if name.startswith("pooling")}


def test_a_backbone_without_dense_layers_refuses_additions():
    c = section(3).model
    c.update(backbone="mobilenetv2", stage="")
    with pytest.raises(ValueError, match=r"lora_rank=3 .* take one of 'dinov2"):
        models.check(c)
