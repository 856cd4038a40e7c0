"""Losses on all pairs of a batch, and CosFace: values and gradients against loops in PyTorch."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vprjax.losses import circle, cosface, multi_similarity, supcon
from vprjax.losses.batch import batch_loss
from vprjax.losses.variant import OfBatch

torch = pytest.importorskip("torch")

AXIS = "batch"
P, K, D = 5, 3, 7
MULTI = {"alpha": 1.0, "beta": 50.0, "base": 0.0, "epsilon": 0.1}


def descriptors(seed=0):
    """Places of alike images, some nearer to another place than to their own."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(P, 1, D)) + 0.9 * rng.normal(size=(P, K, D))
    return (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(np.float32)


def torch_multi_similarity(s, i, labels):
    others = torch.arange(len(labels)) != i
    positive, negative = (labels == labels[i]) & others, labels != labels[i]
    if not positive.any() or not negative.any():
        return 0 * s[i].sum()
    kept = positive & (s[i] - 0.1 < s[i][negative].max())
    against = negative & (s[i] + 0.1 > s[i][positive].min())
    pull = torch.log1p(torch.exp(-(s[i][kept])).sum())
    return pull + torch.log1p(torch.exp(50 * s[i][against]).sum()) / 50


def torch_supcon(s, i, labels):
    others = torch.arange(len(labels)) != i
    positive = (labels == labels[i]) & others
    if not positive.any():
        return 0 * s[i].sum()
    total = torch.log(torch.exp(s[i][others] / 0.1).sum())
    return (total - s[i][positive] / 0.1).mean()


def torch_circle(s, i, labels):
    others = torch.arange(len(labels)) != i
    p, n = s[i][(labels == labels[i]) & others], s[i][labels != labels[i]]
    if not len(p) or not len(n):
        return 0 * s[i].sum()
    push = torch.exp(80 * (n.detach() + 0.4).clamp(min=0) * (n - 0.4)).sum()
    pull = torch.exp(-80 * (1.4 - p.detach()).clamp(min=0) * (p - 0.6)).sum()
    return torch.log1p(push * pull)


CASES = {
    "multi_similarity": (
        functools.partial(multi_similarity.multi_similarity, **MULTI),
        torch_multi_similarity,
    ),
    "supcon": (functools.partial(supcon.supcon, temperature=0.1), torch_supcon),
    "circle": (functools.partial(circle.circle, scale=80.0, margin=0.4), torch_circle),
}


def ours(value, x, devices=1):
    """Mean loss and gradient, with the places split over so many devices."""
    loss = batch_loss(OfBatch(value), AXIS)

    def mean(x, labels):
        return loss(x, {"labels": labels}, (), 0)["loss"].mean()

    step = jax.pmap(jax.value_and_grad(mean), axis_name=AXIS)
    split = x.reshape(devices, -1, *x.shape[1:])
    values, gradients = step(split, np.arange(len(x), dtype=np.int32).reshape(devices, -1))
    return np.mean(values), np.asarray(gradients).reshape(x.shape) / devices


def theirs(value, x):
    t = torch.from_numpy(x).double().requires_grad_()
    flat = torch.nn.functional.normalize(t.reshape(-1, D), dim=1)
    labels = torch.arange(len(x)).repeat_interleave(x.shape[1])
    total = torch.stack([value(flat @ flat.T, i, labels) for i in range(len(flat))]).mean()
    total.backward()
    return float(total.detach()), t.grad.numpy()


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients(name):
    value, expected = CASES[name]
    x = descriptors()
    (got, gradient), (wanted, slope) = ours(value, x), theirs(expected, x)
    assert wanted > 0.1
    assert got == pytest.approx(wanted, rel=1e-5)
    np.testing.assert_allclose(gradient, slope, rtol=0, atol=1e-4 * np.abs(slope).max())


@pytest.mark.parametrize("name", CASES)
def test_pairs_come_from_all_devices(name):
    value, expected = CASES[name]
    x = descriptors(3)[:4]
    (got, gradient), (wanted, slope) = ours(value, x, devices=2), theirs(expected, x)
    assert got == pytest.approx(wanted, rel=1e-5)
    np.testing.assert_allclose(gradient, slope, rtol=0, atol=1e-4 * np.abs(slope).max())


@pytest.mark.parametrize("name", CASES)
def test_an_anchor_without_pairs_counts_nothing(name):
    similar = jnp.full((2, 3), 0.5)
    none = jnp.zeros((2, 3), bool)
    value, gradient = jax.value_and_grad(lambda s: CASES[name][0](s, none, none).sum())(similar)
    assert float(value) == 0 and not np.asarray(gradient).any()


def test_cosface():
    rng = np.random.default_rng(0)
    x, w = (rng.normal(size=(n, D)).astype(np.float32) for n in (6, 4))
    labels = np.array([0, 1, 2, 0, 1, 1], np.int32)
    mask = np.array([True, True, True, False])

    def loss(x, w):
        return cosface.cosface(x, w, labels, 30.0, 0.4, mask).mean()

    got, gradients = jax.value_and_grad(loss, (0, 1))(x, w)
    leaves = [torch.from_numpy(a).double().requires_grad_() for a in (x, w)]
    unit = [torch.nn.functional.normalize(leaf, dim=1) for leaf in leaves]
    cosines = unit[0] @ unit[1].T
    own = torch.nn.functional.one_hot(torch.from_numpy(labels).long(), 4)
    wanted = torch.nn.functional.cross_entropy(
        (30 * (cosines - 0.4 * own))[:, :3], torch.from_numpy(labels).long()
    )
    wanted.backward()
    assert float(got) == pytest.approx(float(wanted.detach()), rel=1e-5)
    for g, leaf in zip(gradients, leaves, strict=True):
        expected = leaf.grad.numpy()
        np.testing.assert_allclose(g, expected, rtol=0, atol=1e-4 * np.abs(expected).max())
