"""The change of cosines on the keep images: values and gradients against PyTorch, on 1 and 2 devices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vprjax.losses import kept

torch = pytest.importorskip("torch")

AXIS = "batch"
N, D = 6, 5
RNG = np.random.default_rng(0)
DESCRIPTORS = RNG.normal(size=(N, D)).astype(np.float32)  # of any length
UNTRAINED = np.corrcoef(RNG.normal(size=(N, 4))).astype(np.float32)


def by_torch():
    f = torch.tensor(DESCRIPTORS, dtype=torch.float64, requires_grad=True)
    u = f / f.norm(dim=1, keepdim=True)
    values = []
    for i in range(N):
        others = [j for j in range(N) if j != i]
        change = torch.stack([(u[i] @ u[j] - float(UNTRAINED[i, j])) ** 2 for j in others])
        values.append(change.mean())
    torch.stack(values).mean().backward()
    return [float(v.detach()) for v in values], f.grad.numpy()


@pytest.mark.parametrize("devices", [1, 2])
def test_values_and_gradients_are_torchs(devices):
    def step(descriptors, untrained):
        def mean(d):
            found = kept.similarity_change(d, untrained, AXIS)
            return found.mean(), found

        grads, found = jax.grad(mean, has_aux=True)(descriptors)
        return grads / devices, found  # the mean over the devices is the loss

    split = lambda x: x.reshape(devices, -1, x.shape[-1])  # noqa: E731
    grads, found = jax.pmap(step, axis_name=AXIS)(split(DESCRIPTORS), split(UNTRAINED))
    values, wanted = by_torch()
    np.testing.assert_allclose(np.asarray(found).ravel(), values, rtol=1e-5)
    np.testing.assert_allclose(np.asarray(grads).reshape(N, D), wanted, atol=1e-6)


def test_the_models_own_cosines_cost_nothing_and_a_zero_descriptor_has_finite_gradients():
    rows = jnp.asarray(DESCRIPTORS).at[2].set(0.0)
    unit = rows / jnp.maximum(jnp.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
    own = unit @ unit.T
    change = functools.partial(kept.similarity_change, axis=AXIS)
    mapped = jax.vmap(change, axis_name=AXIS)
    np.testing.assert_allclose(mapped(rows[None], own[None])[0], np.zeros(N), atol=1e-12)
    grads = jax.grad(lambda x: mapped(x[None], UNTRAINED[None]).sum())(rows)
    assert np.isfinite(grads).all() and np.abs(grads).sum() > 0


def test_a_batchs_own_images_count_beside_the_loss():
    def loss(descriptors, batch, classes, step):
        return {"loss": jnp.ones(descriptors.shape[0]), "active": jnp.zeros(3)}

    made = kept.with_kept_similarities(loss, 10.0, AXIS)
    batch = {"untrained": UNTRAINED.reshape(3, 2, N)}
    mapped = jax.vmap(lambda d, b: made(d, b, (), 0), axis_name=AXIS)
    batches = jax.tree.map(lambda x: x[None], batch)
    found = mapped(DESCRIPTORS.reshape(1, 3, 2, D), batches)["loss"][0]
    wanted = 1 + 10 * np.array(by_torch()[0]).reshape(3, 2).mean(axis=1)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"must be \(6, 6\)"):
        jax.vmap(lambda d, u: kept.similarity_change(d, u, AXIS), axis_name=AXIS)(
            DESCRIPTORS[None], UNTRAINED[None, :, :5]
        )
