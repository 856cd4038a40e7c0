"""CRN, VLAD and NetVLAD's second order against PyTorch in float32, values and gradients.

Kim et al. 2017 in the form of Berton et al. 2022 and AnyLoc's VLAD, written from the formulas with the
residuals of each cluster apart.
"""

import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vprjax.models.heads import HEADS, crn, netvlad, supervlad, vlad

torch = pytest.importorskip("torch")
F = torch.nn.functional

B, C, K = 2, 12, 5


def _variables(module, x, spread):
    """Random parameters, those of the assignment large enough for uneven shares."""
    shapes = jax.eval_shape(module.init, jax.random.key(0), x)["params"]
    rng = np.random.default_rng(3)
    return {
        path: rng.normal(0, spread.get(path[-1], 0.3), shape.shape).astype(np.float32)
        for path, shape in flax.traverse_util.flatten_dict(shapes).items()
    }


def _tensor(path, array):
    axes = (3, 2, 0, 1) if path[-1] == "kernel" else range(array.ndim)
    return torch.tensor(array.transpose(*axes).copy(), requires_grad=True)


def _clusters(local, shares, centers):
    v = [((local - c) * shares[..., k, None]).sum(1) for k, c in enumerate(centers)]
    return F.normalize(torch.stack(v, 1), dim=2)


def _netvlad(x, p):
    local = F.normalize(x, dim=3).flatten(1, 2)
    shares = (local @ p["weights",].T + p["biases",]).softmax(2)
    return local, shares


def torch_netvlad(x, p):
    v = _clusters(*_netvlad(x, p), p["centers",])
    return F.normalize(v.transpose(1, 2).flatten(1), dim=1)


def torch_crn(x, p):
    local, shares = _netvlad(x, p)
    h, w = x.shape[1:3]
    context = F.normalize(x, dim=3).permute(0, 3, 1, 2)
    context = F.avg_pool2d(context, 3, 2, ceil_mode=True)
    layers = [
        F.conv2d(context, p[f"context{n}", "kernel"], p[f"context{n}", "bias"], padding=n // 2)
        for n in (3, 5, 7)
    ]
    accumulate = p["accumulate", "kernel"], p["accumulate", "bias"]
    weight = F.conv2d(torch.cat(layers, 1).relu(), *accumulate)
    mask = F.interpolate(weight.relu(), scale_factor=2, mode="bilinear")
    mask = F.pad(mask, (0, 1, 0, 1), mode="replicate")[:, 0, :h, :w]
    v = _clusters(local, shares * mask.flatten(1)[..., None], p["centers",])
    return F.normalize(v.flatten(1), dim=1)


def torch_vlad(x, p):
    local = F.normalize(x, dim=3).flatten(1, 2)
    similar = F.cosine_similarity(local[:, :, None], p["centers",][None, None], dim=3)
    shares = F.one_hot(similar.argmax(2), K).float()
    return F.normalize(_clusters(local, shares, p["centers",]).flatten(1), dim=1)


def torch_supervlad(x, p):
    local = F.normalize(x, dim=3).flatten(1, 2)
    shares = (local @ p["weights",].T).softmax(2)
    v = [(local * shares[..., k, None]).sum(1) for k in range(K)]
    return F.normalize(F.normalize(torch.stack(v, 1), dim=2).flatten(1), dim=1)


CASES = {
    "supervlad": (supervlad.SuperVLAD(K, 2), torch_supervlad, (4, 6)),
    "netvlad": (netvlad.NetVLAD(K, "channels"), torch_netvlad, (5, 4)),
    "crn": (crn.CRN(K), torch_crn, (6, 8)),
    "crn of odd sizes": (crn.CRN(K), torch_crn, (9, 5)),
    "vlad": (vlad.VLAD(K), torch_vlad, (5, 7)),
}


@pytest.mark.parametrize("case", CASES)
def test_values_and_gradients(case):
    module, reference, size = CASES[case]
    rng = np.random.default_rng(1)
    x = rng.normal(0.2, 1.0, (B, *size, C)).astype(np.float32)
    p = _variables(module, x, {"weights": 3.0})
    cotangent = rng.normal(0, 1, (B, K * C)).astype(np.float32)

    @jax.jit
    def run(x, params):
        apply = lambda x, p: module.apply({"params": p}, x)  # noqa: E731
        value, pullback = jax.vjp(apply, x, params)
        return value, *pullback(jnp.asarray(cotangent)), apply(x[:1], params)

    value, dx, dp, alone = run(x, flax.traverse_util.unflatten_dict(p))
    tensors = {path: _tensor(path, array) for path, array in p.items()}
    y = torch.tensor(x, requires_grad=True)
    wanted = reference(y, tensors)
    wanted.backward(torch.tensor(cotangent))
    wanted = wanted.detach().numpy()
    assert np.abs(value - wanted).max() <= 1e-5 * np.abs(wanted).max()
    np.testing.assert_allclose(alone, value[:1], rtol=0, atol=1e-6)
    _close(dx, y.grad)
    for path, gradient in flax.traverse_util.flatten_dict(dp).items():
        axes = (3, 2, 0, 1) if path[-1] == "kernel" else range(gradient.ndim)
        _close(np.transpose(gradient, axes), tensors[path].grad)


def _close(gradient, wanted):
    wanted = wanted.numpy()
    assert np.linalg.norm(gradient - wanted) <= 1e-4 * np.linalg.norm(wanted) > 0


def test_one_mask_for_all_of_a_small_map_changes_nothing():
    x = np.random.default_rng(2).normal(0, 1, (1, 1, 2, C)).astype(np.float32)
    params = flax.traverse_util.unflatten_dict(_variables(crn.CRN(K), x, {"weights": 3.0}))
    params["accumulate"]["bias"] += 10
    shared = {name: params[name] for name in ("weights", "biases", "centers")}

    @jax.jit
    def both(x):
        return crn.CRN(K).apply({"params": params}, x), netvlad.netvlad(x, **shared)

    np.testing.assert_allclose(*both(x), rtol=0, atol=1e-6)


def test_vlad_leaves_a_cluster_without_descriptors_at_zero():
    x = np.zeros((1, 2, 2, 3), np.float32)
    x[..., 0] = 1
    centers = np.float32([[0.8, 0.6, 0], [0, 1, 0], [-1, 0, 0]])
    unit = np.float32([0.2, -0.6, 0]) / np.sqrt(np.float32(0.4))
    got = vlad.vlad(x, centers)[0].reshape(3, 3)
    np.testing.assert_allclose(got, [unit, [0, 0, 0], [0, 0, 0]], atol=1e-6)
    with pytest.raises(ValueError, match=r"centers \(3, 4\) must be \(k, 3\)"):
        vlad.vlad(x, np.ones((3, 4), np.float32))


def test_supervlad_starts_from_all_clusters_and_its_ghosts():
    """`w_k = alpha c_k / |c_k|`, alpha = -ln 0.01 over the mean gap of the two largest cosines."""
    rng = np.random.default_rng(5)
    centers = rng.normal(size=(4, 6)).astype(np.float32)
    local = rng.normal(size=(40, 6)).astype(np.float32)
    start = HEADS["supervlad"].start
    assert (start.key, start.more) == ("clusters", "ghosts")
    found = start.parameters(centers, local)["weights"]
    unit = centers / np.linalg.norm(centers, axis=1, keepdims=True)
    of = local / np.linalg.norm(local, axis=1, keepdims=True)
    first = np.sort(of @ unit.T, axis=1)[:, ::-1]
    alpha = -np.log(0.01) / np.mean(first[:, 0] - first[:, 1])
    np.testing.assert_allclose(found, alpha * unit, rtol=1e-4)
    with pytest.raises(ValueError, match=r"weights \(4, 6\) must be \(5 or more, 12\)"):
        supervlad.supervlad(np.ones((1, 2, 2, 12), np.float32), found, 5)


@pytest.mark.parametrize("name", ["crn", "vlad"])
def test_the_start_takes_the_centres_as_they_are(name):
    rng = np.random.default_rng(4)
    centers, local = rng.normal(size=(3, 6)), rng.normal(size=(40, 6))
    found = HEADS[name].start.parameters(centers.astype(np.float32), local.astype(np.float32))
    np.testing.assert_array_equal(found["centers"], centers.astype(np.float32))
