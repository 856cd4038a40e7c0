"""The losses against PyTorch in float32 and against float64 NumPy, values and gradients.

Both references are written from the formulas, ArcFace with a true `acos`. NumPy's gradients are
central differences along random directions.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vprjax.losses import arcface, contrastive, triplet

B, D, N, CLASSES = 6, 10, 4, 7
S, M = 12.0, 0.3
MATCH = np.array([True, False, True, False, False, True])
LABELS = np.array([0, 3, 6, 2, 2, 5])


def _arguments(*shapes, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(0, 0.4, shape) for shape in shapes]


def _pairs():
    return _arguments((B, D), (B, D))


def _tuples():
    """The first triple is violated by every negative, the last by none."""
    query, positive, negatives = _arguments((B, D), (B, D), (B, N, D))
    positive[-1] = query[-1] + 0.1
    negatives[0] = query[0] + 0.1 * negatives[0]
    return [query, positive, negatives]


def _contrastive(xp, a, b, squared):
    distance = xp.sqrt(((a - b) ** 2).sum(-1))
    apart = (MARGIN - distance) * (distance < MARGIN)
    match = distance * 0 + 1.0 * xp.asarray(MATCH)
    if squared:
        distance, apart = distance**2 / 2, apart**2 / 2
    return match * distance + (1 - match) * apart


MARGIN = 2.0  # between the pairs' distances, so that both sides of the hinge are met


def _triplet(xp, query, positive, negatives):
    gap = ((query - positive) ** 2).sum(-1)[:, None] - ((query[:, None] - negatives) ** 2).sum(-1)
    return ((gap + 0.1) * (gap + 0.1 > 0)).sum(-1)


def _unit(xp, x):
    return x / xp.sqrt((x**2).sum(-1))[..., None]


def _arcface(xp, descriptors, weights):
    cosines = _unit(xp, descriptors) @ _unit(xp, weights).T
    rows = np.arange(B)
    own = xp.cos(xp.arccos(cosines[rows, LABELS]) + M)
    every = xp.exp(S * cosines).sum(-1) - xp.exp(S * cosines[rows, LABELS])
    return -xp.log(xp.exp(S * own) / (xp.exp(S * own) + every))


def _arcface_pair(xp, query, positive, negatives):
    query, positive, negatives = (_unit(xp, x) for x in (query, positive, negatives))
    own = xp.exp(S * xp.cos(xp.arccos((query * positive).sum(-1)) + M))
    others = xp.exp(S * (query[:, None] * negatives).sum(-1)).sum(-1)
    return -xp.log(own / (own + others))


LABELS_JAX, MATCH_JAX = jnp.asarray(LABELS), jnp.asarray(MATCH)
CASES = {
    "contrastive": (
        lambda a, b: contrastive.contrastive(a, b, MATCH_JAX, MARGIN),
        lambda xp, *a: _contrastive(xp, *a, squared=False),
        _pairs(),
    ),
    "contrastive_squared": (
        lambda a, b: contrastive.contrastive(a, b, MATCH_JAX, MARGIN, squared=True),
        lambda xp, *a: _contrastive(xp, *a, squared=True),
        _pairs(),
    ),
    "triplet": (lambda *a: triplet.triplet(*a, 0.1), _triplet, _tuples()),
    "arcface": (
        lambda d, w: arcface.arcface(d, w, LABELS_JAX, S, M),
        _arcface,
        _arguments((B, D), (CLASSES, D)),
    ),
    "arcface_pair": (lambda *a: arcface.arcface_pair(*a, S, M), _arcface_pair, _tuples()),
}


def _error(got, wanted):
    return np.linalg.norm(np.asarray(got, np.float64) - wanted) / np.linalg.norm(wanted)


def _value_and_gradients(loss, arguments):
    """The losses, random weights, and the gradients of their weighted sum."""
    cotangent = np.random.default_rng(1).uniform(0.5, 1.5, B).astype(np.float32)

    @jax.jit
    def run(*arguments):
        value, pullback = jax.vjp(loss, *arguments)
        return value, pullback(jnp.asarray(cotangent))

    value, gradients = run(*(jnp.asarray(a, jnp.float32) for a in arguments))
    return value, cotangent, gradients


@pytest.mark.parametrize("name", CASES)
def test_pytorch(name):
    torch = pytest.importorskip("torch")
    loss, reference, arguments = CASES[name]
    value, cotangent, gradients = _value_and_gradients(loss, arguments)
    tensors = [torch.tensor(a, dtype=torch.float32, requires_grad=True) for a in arguments]
    wanted = reference(torch, *tensors)
    wanted.backward(torch.tensor(cotangent))
    assert _error(value, wanted.detach().numpy()) <= 1e-5
    for gradient, tensor in zip(gradients, tensors, strict=True):
        assert _error(gradient, tensor.grad.numpy()) <= 1e-4


@pytest.mark.parametrize("name", CASES)
def test_numpy_float64(name):
    loss, reference, arguments = CASES[name]
    value, cotangent, gradients = _value_and_gradients(loss, arguments)
    assert _error(value, reference(np, *arguments)) <= 1e-5
    rng = np.random.default_rng(2)
    for i, gradient in enumerate(gradients):
        for _ in range(3):
            direction = rng.normal(0, 1, arguments[i].shape)
            moved = [
                reference(np, *arguments[:i], arguments[i] + step * direction, *arguments[i + 1 :])
                for step in (1e-6, -1e-6)
            ]
            wanted = np.sum(cotangent * (moved[0] - moved[1])) / 2e-6
            slope = np.sum(np.asarray(gradient, np.float64) * direction)
            scale = np.linalg.norm(gradient) * np.linalg.norm(direction)
            assert abs(slope - wanted) <= 1e-4 * scale


def test_the_cases_meet_both_sides_of_every_hinge():
    a, b = _pairs()
    distance = np.linalg.norm(a - b, axis=1)[~MATCH]
    assert (distance < MARGIN).any()
    assert (distance > MARGIN).any()
    value = _triplet(np, *_tuples())
    assert (value == 0).any()
    assert (value > 0).any()
