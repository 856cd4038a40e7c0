"""SALAD against PyTorch, whose transport is computed without logarithms: values and gradients."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base, nordland
from vprjax import models
from vprjax.models.heads import salad
from vprjax.weights.released.salad import name

torch = pytest.importorskip("torch")
from tests.parity import torch_dinov2  # noqa: E402

C, K, L, T, HIDDEN = 20, 6, 5, 7, 11


@pytest.fixture(scope="module")
def both():
    """A random head in PyTorch, ours, and our parameters by PyTorch's names."""
    network = torch_dinov2.randomise(torch_dinov2.SALAD(C, K, L, T, HIDDEN))
    state = {n: a.detach().numpy() for n, a in network.named_parameters()}
    head = salad.SALAD(K, L, T, HIDDEN)
    shapes = jax.eval_shape(head.init, jax.random.key(0), jnp.ones((1, 4, 5, C)), jnp.ones((1, C)))
    flat = {
        name(("params", "pooling", *(key.key for key in path)), "", ""): path
        for path, _ in jax.tree_util.tree_leaves_with_path(shapes["params"])
    }
    assert flat.keys() == state.keys()
    params = jax.tree_util.tree_map_with_path(
        lambda path, s: ours(state[name(("params", "pooling", *(k.key for k in path)), "", "")], s),
        shapes["params"],
    )
    return network, head, params


def ours(array, like):
    """PyTorch's array in our layout: 1x1 convolutions are matrices, and matrices transposed."""
    array = array.reshape(array.shape[:2])
    return array.T if array.ndim == 2 else array.reshape(like.shape)


def relative(a, b):
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    assert a.shape == b.shape
    return np.linalg.norm(a - b) / np.linalg.norm(b)


def inputs(h=4, w=5):
    rng = np.random.default_rng(1)
    return tuple(rng.standard_normal(s).astype(np.float32) for s in ((2, h, w, C), (2, C)))


def test_values_and_gradients(both):
    network, head, params = both
    x, token = inputs()
    theirs = [torch.tensor(a, requires_grad=True) for a in (x, token)]
    expected = network(theirs[0].permute(0, 3, 1, 2), theirs[1])
    cotangent = np.random.default_rng(2).standard_normal(expected.shape).astype(np.float32)
    network.zero_grad()
    expected.backward(torch.tensor(cotangent))

    @jax.jit
    def step(*arguments):
        apply = lambda p, x, t: head.apply({"params": p}, x, t)  # noqa: E731
        value, pull = jax.vjp(apply, *arguments)
        return value, pull(cotangent), apply(arguments[0], *(a[:1] for a in arguments[1:]))

    got, (of_params, *of_inputs), alone = step(params, x, token)
    np.testing.assert_allclose(alone, got[:1], rtol=0, atol=1e-6)
    assert got.shape == (2, T + L * K)
    assert relative(got, expected.detach().numpy()) <= 1e-5
    for g, tensor in zip(of_inputs, theirs, strict=True):
        assert relative(g, tensor.grad.numpy()) <= 1e-4
    wanted = {n: p.grad.numpy() for n, p in network.named_parameters()}
    for path, g in jax.tree_util.tree_leaves_with_path(of_params):
        own = name(("params", "pooling", *(k.key for k in path)), "", "")
        if own in ("dust_bin", "score.3.bias"):  # the iterations scale whole rows: no effect
            assert max(np.abs(g).max(), np.abs(wanted[own]).max()) <= 1e-5
        else:
            assert relative(g, ours(wanted[own], g)) <= 1e-4, path


def test_shares_are_those_of_the_transport():
    """Columns sum to 1 exactly, rows nearly after three iterations, and the dustbin keeps the rest."""
    scores = np.random.default_rng(3).standard_normal((2, K, 20)).astype(np.float32)
    shares = np.asarray(jax.jit(salad.assign)(scores, jnp.float32(0.3)), np.float64)
    np.testing.assert_allclose(shares.sum(axis=2), 1, atol=0.02)
    assert (shares.sum(axis=1) < 1).all()
    assert abs(shares.sum() - 2 * K) < 0.02
    expected = torch_dinov2.transport(torch.tensor(scores).double(), torch.tensor(0.3).double())
    np.testing.assert_allclose(shares, expected, rtol=1e-5)


def test_scores_far_apart_stay_finite():
    scores = jnp.asarray([[[300.0, -300, 0, 5], [-300, 300, 1, 2]]])
    shares = jax.jit(jax.value_and_grad(lambda s: salad.assign(s, jnp.float32(1)).sum()))
    assert all(np.isfinite(a).all() for a in shares(scores))


def test_as_many_patches_as_clusters_are_too_few():
    """112 x 112 pixels have 64 patches, for 64 clusters."""
    config = base.get_config().model
    config.update(backbone="dinov2_vits14", stage="patch", pooling="salad")
    module = models.build(config)
    with pytest.raises(ValueError, match=re.escape("has 64 positions for 64 clusters")):
        jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, 112, 112, 3)))
    found, _ = jax.eval_shape(
        module.init_with_output, jax.random.key(0), jnp.zeros((1, 112, 126, 3))
    )
    assert found.shape == (1, 256 + 128 * 64)


def test_without_a_token_the_clusters_stand_alone(both):
    """Any backbone serves then, as the shipped configs set for one without a class token."""
    _, head, params = both
    x, token = inputs()
    alone = {name: leaf for name, leaf in params.items() if not name.startswith("token")}
    got, whole = jax.jit(
        lambda: (
            head.clone(token_dim=0).apply({"params": alone}, x),
            head.apply({"params": params}, x, token),
        )
    )()
    np.testing.assert_array_equal(got, whole[:, T:])
    config = nordland.get_config("mobilenetv2,salad,multi_similarity").model
    module = models.build(config)
    image = jax.ShapeDtypeStruct((1, 64, 128, 3), jnp.uint8)
    found, variables = jax.eval_shape(module.init_with_output, jax.random.key(0), image)
    assert found.shape == (1, 128 * 16) and "token1" not in variables["params"]["pooling"]


def test_a_backbone_without_class_token_is_refused():
    config = base.get_config().model
    config.update(backbone="resnet50", pooling="salad")
    with pytest.raises(ValueError, match=r"takes a class token, .*'resnet50'.*'dinov2_vits14'"):
        models.build(config)
