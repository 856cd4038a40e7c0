"""Heads of released models against PyTorch in float64: values, and gradients of inputs and parameters.

The PyTorch forms come from the papers' formulas and PyTorch's own layers; they know nothing of a file.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import traverse_util
from jax import export

from vprjax.models.descriptor import Descriptor
from vprjax.models.heads.boq import BoQ
from vprjax.models.heads.convap import ConvAP
from vprjax.models.heads.gem import GeM
from vprjax.models.heads.mixvpr import MixVPR

torch = pytest.importorskip("torch")
functional = torch.nn.functional

B, C = 2, 12


def _error(got, wanted):
    return np.linalg.norm(np.asarray(got, np.float64) - wanted) / (np.linalg.norm(wanted) + 1e-30)


def _linear(p, name, x):
    return functional.linear(x, p[f"{name}/kernel"].T, p[f"{name}/bias"])


def _norm(p, name, x):
    return functional.layer_norm(x, x.shape[-1:], p[f"{name}/scale"], p[f"{name}/bias"], 1e-5)


def _mixvpr(p, x):
    x = x.permute(0, 3, 1, 2).flatten(2)
    for i in (1, 2):
        y = _linear(p, f"mixer{i}/wide", _norm(p, f"mixer{i}/norm", x))
        x = x + _linear(p, f"mixer{i}/narrow", y.relu())
    x = _linear(p, "channels_out", x.permute(0, 2, 1))
    return _linear(p, "rows_out", x.permute(0, 2, 1)).flatten(1)


def _convap(rows, columns):
    def pool(p, x):
        kernel = p["conv/kernel"].permute(3, 2, 0, 1)
        x = functional.conv2d(x.permute(0, 3, 1, 2), kernel, p["conv/bias"])
        return functional.adaptive_avg_pool2d(x, (rows, columns)).flatten(1)

    return pool


def _attention(p, name, q, x, heads):
    q, x = q.transpose(0, 1), x.transpose(0, 1)
    kernel, out = p[f"{name}/kernel"].T, p[f"{name}/out/kernel"].T
    bias, out_bias = p[f"{name}/bias"], p[f"{name}/out/bias"]
    rest = (kernel, bias, None, None, False, 0.0, out, out_bias)
    found, _ = functional.multi_head_attention_forward(q, x, x, q.shape[2], heads, *rest)
    return found.transpose(0, 1)


def _boq(p, x):
    x = functional.conv2d(
        x.permute(0, 3, 1, 2), p["reduce/kernel"].permute(3, 2, 0, 1), p["reduce/bias"], padding=1
    )
    x = _norm(p, "norm", x.flatten(2).permute(0, 2, 1))
    answers = []
    for block in ("block1", "block2"):
        e = f"{block}/encoder"
        x = _norm(p, f"{e}/norm1", x + _attention(p, f"{e}/attention", x, x, 2))
        y = _linear(p, f"{e}/narrow", _linear(p, f"{e}/wide", x).relu())
        x = _norm(p, f"{e}/norm2", x + y)
        q = p[f"{block}/queries"].repeat(len(x), 1, 1)
        q = q + _attention(p, f"{block}/self_attention", q, q, 2)
        q = _norm(p, f"{block}/norm_queries", q)
        found = _attention(p, f"{block}/cross_attention", q, x, 2)
        answers.append(_norm(p, f"{block}/norm_found", found))
    return _linear(p, "rows_out", torch.cat(answers, 1).permute(0, 2, 1)).flatten(1)


def _cosplace(p, x):
    x = functional.normalize(x.permute(0, 3, 1, 2), dim=1)
    mean = x.clamp(min=1e-6).pow(p["pooling/p"]).mean(dim=(2, 3))
    return functional.normalize(_linear(p, "projection", mean.pow(1 / p["pooling/p"])), dim=1)


class Given(nn.Module):
    """A backbone whose images are the map."""

    @nn.compact
    def __call__(self, x, train=False):
        return x


def _with_norms(head):
    exact = jax.lax.Precision.HIGHEST
    projection = nn.Dense(7, precision=exact)
    return Descriptor(Given(), head, projection, norms=("local", "descriptor"))


CASES = {
    "mixvpr": (MixVPR(channels=6, rows=3, blocks=2, ratio=2), _mixvpr, (5, 4)),
    "convap": (ConvAP(channels=5, rows=2, columns=3), _convap(2, 3), (6, 6)),
    "convap_overlap": (ConvAP(channels=5, rows=2, columns=3), _convap(2, 3), (5, 7)),
    "convap_small": (ConvAP(channels=5, rows=2, columns=3), _convap(2, 3), (1, 2)),
    "boq": (BoQ(channels=8, heads=2, queries=3, blocks=2, rows=4), _boq, (4, 5)),
    "cosplace": (_with_norms(GeM(3.0, False)), _cosplace, (4, 5)),
}


def _arguments(head, size, channels=C):
    rng = np.random.default_rng(0)
    x = rng.normal(0.3, 1.0, (B, *size, channels)).astype(np.float32)
    shapes = traverse_util.flatten_dict(
        jax.eval_shape(head.init, jax.random.key(0), jnp.asarray(x)), sep="/"
    )
    # Wide attention kernels: where all weights are nearly equal, the queries' gradients vanish.
    values = {
        name: rng.normal(
            name.endswith("/scale"), 1.0 if "attention/kernel" in name else 0.3, a.shape
        )
        for name, a in shapes.items()
    }
    if "params/pooling/p" in values:
        values["params/pooling/p"] = 2.7
        values |= {"preprocess/mean": np.zeros(3), "preprocess/std": np.ones(3)}
    return x, {name: np.asarray(value, np.float32) for name, value in values.items()}


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients(name):
    head, reference, size = CASES[name]
    x, values = _arguments(head, size, 3 if name == "cosplace" else C)
    fixed = {n: v for n, v in values.items() if not n.startswith("params/")}
    own = {n.removeprefix("params/"): v for n, v in values.items() if n.startswith("params/")}

    def apply(own, x):
        flat = fixed | {f"params/{n}": v for n, v in own.items()}
        return head.apply(traverse_util.unflatten_dict(flat, sep="/"), x)

    wanted_of = {
        n: torch.tensor(v, dtype=torch.float64, requires_grad=True) for n, v in own.items()
    }
    image = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    wanted = reference(wanted_of, image)
    cotangent = np.random.default_rng(1).normal(0, 1, wanted.shape).astype(np.float32)
    wanted.backward(torch.tensor(cotangent))

    @jax.jit
    def run(own, x):
        value, pullback = jax.vjp(apply, own, x)
        return value, pullback(jnp.asarray(cotangent)), apply(own, x[1:])

    value, (gradients, of_image), alone = run(own, jnp.asarray(x))
    assert _error(value, wanted.detach().numpy()) <= 1e-5
    np.testing.assert_allclose(alone[0], value[1], rtol=1e-5, atol=1e-6)
    assert _error(of_image, image.grad.numpy()) <= 1e-4
    assert gradients.keys() == wanted_of.keys()
    for parameter, tensor in wanted_of.items():
        assert _error(gradients[parameter], tensor.grad.numpy()) <= 1e-4, parameter


def test_mixvpr_refuses_another_number_of_positions():
    head = CASES["mixvpr"][0]
    shapes = jax.eval_shape(head.init, jax.random.key(0), jnp.zeros((1, 5, 4, 3)))
    variables = jax.tree.map(jnp.zeros_like, shapes)
    with pytest.raises(ValueError, match=r"5 x 5 = 25 positions, but the weights mix 20; feed"):
        head.apply(variables, jnp.zeros((1, 5, 5, 3)))


@pytest.mark.parametrize("name", ["mixvpr", "convap", "boq"])
def test_an_export_s_batch_is_free_and_its_size_where_the_head_allows(name):
    head, _, size = CASES[name]
    x = jnp.zeros((1, *size, C))
    variables = jax.tree.map(jnp.zeros_like, jax.eval_shape(head.init, jax.random.key(0), x))

    def shape(sides):
        free = export.symbolic_shape(f"b, {sides}, {C}")
        return jax.eval_shape(head.apply, variables, jax.ShapeDtypeStruct(free, jnp.float32)).shape

    batch, dimension = shape("{}, {}".format(*size))
    assert (str(batch), dimension) == ("b", {"mixvpr": 18, "convap": 30, "boq": 32}[name])
    if name == "boq":
        assert shape("h, w")[1] == 32
    else:
        with pytest.raises(jax.errors.InconclusiveDimensionOperation):
            shape("h, w")
