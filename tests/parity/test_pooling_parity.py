"""GeM and NetVLAD against PyTorch in float32 and against float64 NumPy, values and gradients.

The PyTorch forms are those of the public ports: `avg_pool2d(x.clamp(min=eps).pow(p)).pow(1/p)`, and
NetVLAD with its residuals written out, one cluster at a time. NumPy's gradients are central
differences along random directions.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vprjax.models.heads import gem, netvlad

B, H, W, C, K = 2, 5, 4, 12, 6


def _error(got, wanted):
    return np.linalg.norm(np.asarray(got, np.float64) - wanted) / np.linalg.norm(wanted)


def _gem_arguments(per_channel, seed=0):
    rng = np.random.default_rng(seed)
    p = rng.uniform(1.5, 6.0, C) if per_channel else np.asarray(3.0)
    return rng.normal(0.3, 1.0, (B, H, W, C)), p


def _netvlad_arguments(seed=0):
    rng = np.random.default_rng(seed)
    centers = rng.normal(0, 0.3, (K, C))
    return rng.normal(0, 2.0, (B, H, W, C)), 8.0 * centers, rng.normal(0, 1.0, K), centers


def _gem_numpy(x, p, eps=1e-6):
    return np.mean(np.maximum(x, eps) ** p, axis=(1, 2)) ** (1 / p)


def _netvlad_numpy(x, weights, biases, centers):
    descriptors = []
    for local in x.reshape(len(x), -1, x.shape[-1]):
        local = local / np.linalg.norm(local, axis=1, keepdims=True)
        scores = np.exp(local @ weights.T + biases)
        assignment = scores / scores.sum(1, keepdims=True)
        residuals = local[:, None] - centers[None]
        v = np.einsum("nk,nkd->kd", assignment, residuals)
        v = (v / np.linalg.norm(v, axis=1, keepdims=True)).ravel()
        descriptors.append(v / np.linalg.norm(v))
    return np.stack(descriptors)


def _gem_torch(torch):
    functional = torch.nn.functional

    def gem(x, p):
        x = x.permute(0, 3, 1, 2)
        p = p.reshape(-1, 1, 1)
        mean = functional.avg_pool2d(x.clamp(min=1e-6).pow(p), (H, W))
        return mean.pow(1 / p)[:, :, 0, 0]

    return gem


def _netvlad_torch(torch):
    functional = torch.nn.functional

    def netvlad(x, weights, biases, centers):
        x = functional.normalize(x.permute(0, 3, 1, 2), dim=1)
        scores = functional.conv2d(x, weights[:, :, None, None], biases).flatten(2)
        assignment = scores.softmax(dim=1)
        clusters = [
            ((x.flatten(2) - centers[k][None, :, None]) * assignment[:, k, None]).sum(-1)
            for k in range(K)
        ]
        v = functional.normalize(torch.stack(clusters, 1), dim=2)
        return functional.normalize(v.flatten(1), dim=1)

    return netvlad


CASES = [
    pytest.param(gem.gem, _gem_numpy, _gem_torch, _gem_arguments(False), id="gem"),
    pytest.param(gem.gem, _gem_numpy, _gem_torch, _gem_arguments(True), id="gem_per_channel"),
    pytest.param(
        netvlad.netvlad, _netvlad_numpy, _netvlad_torch, _netvlad_arguments(), id="netvlad"
    ),
]


def _value_and_gradients(pool, arguments):
    """The descriptor, a random cotangent, and the gradients of their product."""
    arguments = [jnp.asarray(a, jnp.float32) for a in arguments]
    shape = jax.eval_shape(pool, *arguments).shape
    cotangent = np.random.default_rng(1).normal(0, 1, shape).astype(np.float32)

    @jax.jit
    def run(*arguments):
        value, pullback = jax.vjp(pool, *arguments)
        return value, pullback(jnp.asarray(cotangent))

    value, gradients = run(*arguments)
    return value, cotangent, gradients


@pytest.mark.parametrize(("pool", "_", "reference", "arguments"), CASES)
def test_pytorch(pool, _, reference, arguments):
    torch = pytest.importorskip("torch")
    value, cotangent, gradients = _value_and_gradients(pool, arguments)
    tensors = [torch.tensor(a, dtype=torch.float32, requires_grad=True) for a in arguments]
    wanted = reference(torch)(*tensors)
    wanted.backward(torch.tensor(cotangent))
    assert _error(value, wanted.detach().numpy()) <= 1e-5
    for gradient, tensor in zip(gradients, tensors, strict=True):
        assert _error(gradient, tensor.grad.numpy()) <= 1e-4


@pytest.mark.parametrize(("pool", "reference", "_", "arguments"), CASES)
def test_numpy_float64(pool, reference, _, arguments):
    value, cotangent, gradients = _value_and_gradients(pool, arguments)
    assert _error(value, reference(*arguments)) <= 1e-5
    rng = np.random.default_rng(2)
    for i, gradient in enumerate(gradients):
        for _ in range(3):
            direction = rng.normal(0, 1, np.shape(arguments[i]))
            moved = [
                reference(*arguments[:i], arguments[i] + step * direction, *arguments[i + 1 :])
                for step in (1e-6, -1e-6)
            ]
            wanted = np.sum(cotangent * (moved[0] - moved[1])) / 2e-6
            slope = np.sum(np.asarray(gradient, np.float64) * direction)
            scale = np.linalg.norm(gradient) * np.linalg.norm(direction)
            assert abs(slope - wanted) <= 1e-4 * scale
