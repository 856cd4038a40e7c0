"""Heads of maxima, means and regions against PyTorch and the original code: values and gradients.

The PyTorch forms are written out from the formulas, region by region.
"""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers import goldens
from vprjax.models.heads import (
    crow,
    flatten,
    gem,
    gem_linear,
    learned_rmac,
    mac,
    regional_gem,
    rmac,
    spatial_pyramid,
    spoc,
)
from vprjax.models.heads.vectors import l2_normalize

C = 6
SIZES = [(5, 9), (4, 4), (9, 4)]
MAPS = ("24x32", "7x7", "10x23", "32x24", "6x60", "13x14", "3x4")
TIES = ("10x18", "15x55")  # there float64 takes another number of regions


def _map(shape, seed=0, lowest=0.0):
    return np.maximum(np.random.default_rng(seed).normal(0.2, 1.0, shape), lowest)


def _torch_regions(torch, h, w, levels):
    short, long, more = min(h, w), max(h, w), torch.arange(1.0, 7.0)
    apart = (long - short) / more
    extra = int(((short * short - short * apart) / (short * short) - 0.4).abs().argmin()) + 1
    found = [(0, 0, h, w)]
    for level in range(1, levels + 1):
        side, starts = 2 * short // (level + 1), []
        for size in (h, w):
            count = level + extra * (size == long > short)
            step = (size - side) / (count - 1) if count > 1 else 0
            half = side // 2 - 1
            starts.append((torch.floor(half + torch.arange(float(count)) * step) - half).int())
        found += [(int(i), int(j), side, side) for i in starts[0] for j in starts[1] if side]
    return found


def _unit(x):
    return x / (x.norm(dim=1, keepdim=True) + 1e-6)


def _parts(torch, x, levels=3):
    x = x.permute(0, 3, 1, 2)
    for i, j, h, w in _torch_regions(torch, *x.shape[2:], levels):
        yield x[:, :, i : i + h, j : j + w]


def _torch_rmac(torch, x):
    return sum(_unit(part.amax(dim=(2, 3))) for part in _parts(torch, x))


def _torch_regional(torch, x, p, kernel, bias):
    pools = (part.clamp(min=1e-6).pow(p).mean(dim=(2, 3)).pow(1 / p) for part in _parts(torch, x))
    return sum(_unit(_unit(pool) @ kernel + bias) for pool in pools)


def _torch_learned(torch, x, kernel, bias):
    maxima = (part.amax(dim=(2, 3)) for part in _parts(torch, x))
    return sum(_unit(_unit(vector) @ kernel + bias) for vector in maxima)


def _torch_pyramid(torch, x):
    x = x.permute(0, 3, 1, 2)
    pooled = (torch.nn.functional.adaptive_max_pool2d(x, side).flatten(2) for side in range(1, 5))
    return torch.cat(list(pooled), dim=2).flatten(1)


def _torch_crow(torch, x):
    at = x.sum(dim=3)
    at = (at / at.flatten(1).norm(dim=1)[:, None, None]).sqrt()
    share = (x > 0).float().mean(dim=(1, 2))
    rare = (share.sum(dim=1, keepdim=True) / share).log()
    rare[share == 0] = 0
    return (x * at[..., None]).sum(dim=(1, 2)) * rare


def _regional(x, p, kernel, bias):
    module = regional_gem.RegionalGeM(3, 3.0)
    return module.apply({"params": {"p": p, "whiten": {"kernel": kernel, "bias": bias}}}, x)


def _learned(x, kernel, bias):
    module = learned_rmac.LearnedRMAC(3)
    return module.apply({"params": {"whiten": {"kernel": kernel, "bias": bias}}}, x)


def _torch_linear(torch, x, p, kernel, bias):
    return x.clamp(min=1e-6).pow(p).mean(dim=(1, 2)).pow(1 / p) @ kernel + bias


def _linear(x, p, kernel, bias):
    module = gem_linear.GeMLinear(C, 3.0)
    return module.apply({"params": {"p": p, "linear": {"kernel": kernel, "bias": bias}}}, x)


def _dense(x):
    x[:, :, :, 1] = 0  # a dead channel
    x[:, :, :, 0] += 0.1  # no dead position: PyTorch's gradient is NaN there
    return x


WHITEN = np.random.default_rng(3).normal(0, C**-0.5, (C, C))
# PyTorch shares the gradient among equal maxima, as zeros are, and we give it to the first: none here.
CASES = {
    "mac": (mac.mac, lambda torch, x: x.amax(dim=(1, 2)), (_map((2, 3, 5, C), lowest=-9.0),)),
    "spoc": (spoc.spoc, lambda torch, x: x.mean(dim=(1, 2)), (_map((2, 3, 5, C), lowest=-9.0),)),
    **{
        f"rmac{h}x{w}": (rmac.rmac, _torch_rmac, (_map((2, h, w, C), lowest=-9.0),))
        for h, w in SIZES
    },
    "crow": (crow.crow, _torch_crow, (_dense(_map((2, 6, 5, C))),)),
    "gem_linear": (
        _linear,
        _torch_linear,
        (_map((2, 3, 4, C), lowest=0.01), np.array(2.7), WHITEN, np.linspace(-0.1, 0.1, C)),
    ),
    "learned_rmac": (
        _learned,
        _torch_learned,
        (_map((2, 5, 9, C), lowest=-9.0), WHITEN, np.linspace(-0.1, 0.1, C)),
    ),
    "flatten": (
        flatten.flatten,
        lambda torch, x: x.permute(0, 3, 1, 2).flatten(1),
        (_map((2, 3, 5, C)),),
    ),
    **{
        f"spatial_pyramid{h}x{w}": (
            spatial_pyramid.spatial_pyramid,
            _torch_pyramid,
            (_map((2, h, w, C), lowest=-9.0),),
        )
        for h, w in ((13, 13), (5, 9), (3, 2))
    },
    "regional_gem": (
        _regional,
        _torch_regional,
        (_map((2, 3, 4, C), lowest=0.01), np.array(2.7), WHITEN, np.linspace(-0.1, 0.1, C)),
    ),
}


def _error(got, wanted):
    return np.linalg.norm(np.asarray(got, np.float64) - wanted) / np.linalg.norm(wanted)


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_are_pytorchs(name):
    torch = pytest.importorskip("torch")
    pool, reference, arguments = CASES[name]
    arguments = [jnp.asarray(a, jnp.float32) for a in arguments]
    shape = jax.eval_shape(pool, *arguments).shape
    cotangent = np.random.default_rng(1).normal(0, 1, shape).astype(np.float32)

    @jax.jit
    def run(x, *rest):
        value, back = jax.vjp(pool, x, *rest)
        return value, back(jnp.asarray(cotangent)), pool(x[:1], *rest)

    value, gradients, alone = run(*arguments)
    np.testing.assert_allclose(alone, value[:1], rtol=1e-5, atol=1e-6)
    tensors = [torch.tensor(np.asarray(a), requires_grad=True) for a in arguments]
    wanted = reference(torch, *tensors)
    wanted.backward(torch.tensor(cotangent))
    assert _error(value, wanted.detach().numpy()) <= 1e-5
    for gradient, tensor in zip(gradients, tensors, strict=True):
        assert _error(gradient, tensor.grad.numpy()) <= 1e-4


def _tables(folder):
    facts = json.loads((folder / "cir_pooling.json").read_text())
    return facts["rmac_regions"] | facts["rmac_regions_where_f32_matters"]


def test_the_regions_are_the_originals(shared_goldens):
    for size, wanted in _tables(shared_goldens).items():
        assert [list(r) for r in rmac.regions(*map(int, size.split("x")), 3)] == wanted


def test_a_grid_in_float64_is_another(shared_goldens, monkeypatch):
    monkeypatch.setattr(rmac, "GRID", np.float64)
    others = [
        size
        for size, wanted in _tables(shared_goldens).items()
        if [list(r) for r in rmac.regions(*map(int, size.split("x")), 3)] != wanted
    ]
    assert {"5x9", "9x5", "10x18", "15x27", "15x55"} <= set(others)


POOLS = {
    "mac": mac.mac,
    "spoc": spoc.spoc,
    "gem": lambda x: gem.gem(x, 3.0),
    "rmac": rmac.rmac,
    "rmac_L1": lambda x: rmac.rmac(x, 1),
    "rmac_L4": lambda x: rmac.rmac(x, 4),
    "l2n_of_rmac": lambda x: rmac.scaled(rmac.rmac(x)),
    "l2n_of_gem": lambda x: rmac.scaled(gem.gem(x, 3.0)),
    "gem_p4.6": lambda x: gem.gem(x, 4.6),
    "rpool_gem": lambda x: rmac.scaled(
        jnp.sum(rmac.scaled(rmac.pooled(x, 3, lambda part: gem.gem(part, 3.0))), axis=1)
    ),
}


def _kind(pool, size):
    """Where float64 has other regions, the original's float32 is the true value."""
    return "f32" if size in TIES and pool.startswith(("rmac", "l2n_of_rmac", "rpool")) else "f64"


@pytest.mark.parametrize("size", [*MAPS, "signed9x12", *TIES])
def test_pooling_equals_the_original_code(shared_goldens, size):
    rule = goldens.rule(shared_goldens)
    with np.load(shared_goldens / "cir_pooling.npz") as outputs:
        wanted = {pool: outputs.get(f"{pool}__{size}__{_kind(pool, size)}") for pool in POOLS}
    wanted = {pool: output for pool, output in wanted.items() if output is not None}
    assert "rmac" in wanted
    if size == "signed9x12":
        x = np.random.default_rng(12).standard_normal((2, 32, 9, 12)).astype(np.float32)
    else:
        x = rule.fmap((*wanted["rmac"].shape, *map(int, size.split("x"))), 11)
    found = jax.jit(lambda x: {pool: POOLS[pool](x) for pool in wanted})(x.transpose(0, 2, 3, 1))
    for pool, output in wanted.items():
        scale = np.abs(output).max()
        np.testing.assert_allclose(
            found[pool] / scale, output / scale, atol=2e-6, rtol=0, err_msg=pool
        )


CROW = {"a": ((64, 12, 17), 0.5), "b": ((64, 7, 7), 1.5), "c": ((512, 15, 20), 1.0)}
CROW_PARTS = {
    "S": crow.position_weights,
    "C": crow.channel_weights,
    "crow": crow.crow,
    "ucrow": lambda x: spoc.spoc(x) * (x.shape[1] * x.shape[2]),  # without weights
    "crow_norm": lambda x: l2_normalize(crow.crow(x)),
}


@pytest.mark.parametrize("tag", CROW)
def test_crow_equals_the_original_code(shared_goldens, tag):
    shape, shift = CROW[tag]
    x = goldens.rule(shared_goldens).fmap(shape, 21, shift)
    x[3] = 0
    with np.load(shared_goldens / "crow.npz") as outputs:
        wanted = {part: outputs[f"{part}_{tag}_f64"] for part in CROW_PARTS}
    found = jax.jit(lambda x: {part: of(x)[0] for part, of in CROW_PARTS.items()})(
        x.transpose(1, 2, 0)[None]
    )
    for part, output in wanted.items():
        scale = np.abs(output).max()
        np.testing.assert_allclose(
            found[part] / scale, output / scale, atol=2e-6, rtol=0, err_msg=part
        )
    assert found["crow"][3] == found["C"][3] == 0


def test_a_map_of_zeros_has_no_nan():
    x = jnp.zeros((1, 2, 3, 3))
    both = jax.jit(
        jax.value_and_grad(
            lambda x: (rmac.rmac(x) + crow.crow(x) + _learned(x, jnp.eye(3), jnp.zeros(3))).sum()
        )
    )
    value, gradient = both(x)
    assert value == 0 and np.isfinite(gradient).all()
    for pool in (rmac.rmac, crow.crow, flatten.flatten, spatial_pyramid.spatial_pyramid):
        with pytest.raises(ValueError, match="expected"):
            pool(x[0])


def test_a_map_of_one_row_has_the_regions_that_fit():
    columns = [0, 0, 1, 2, 2, 3, 4]
    assert rmac.regions(1, 5, 3) == [(0, 0, 1, 5), *((0, i, 1, 1) for i in columns)]
