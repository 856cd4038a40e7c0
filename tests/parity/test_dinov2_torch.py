"""DINOv2 against PyTorch: values, gradients, the position table and resized images."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from vprjax.models import Layers
from vprjax.models.backbones import dinov2, resample
from vprjax.models.backbones.dinov2 import DINOv2, Size
from vprjax.models.heads.vlad import vlad
from vprjax.weights import kmeans
from vprjax.weights.names import torch_array

torch = pytest.importorskip("torch")
from tests.parity import torch_dinov2  # noqa: E402

SIZES = {
    "plain": Size(24, 2, 3),
    "reg": Size(24, 1, 3, registers=4),
    "gated": Size(24, 1, 3, gated=True),
    "tokens": Size(24, 2, 3, registers=4, tokens=3, tokens_from=2),
}


def relative(a, b):
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    assert a.shape == b.shape
    return np.linalg.norm(a - b) / np.linalg.norm(b)


def both(size, seed=0):
    """A random network in PyTorch, and its parameters as ours."""
    network = torch_dinov2.DINOv2(**dataclasses.asdict(size))
    network = torch_dinov2.randomise(network, seed)
    image = jax.ShapeDtypeStruct((1, 28, 28, 3), jnp.float32)
    shapes = jax.eval_shape(DINOv2(size).init, jax.random.key(0), image)
    state = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    names = {path: dinov2.torch_name(path) for path in traverse_util.flatten_dict(shapes)}
    assert sorted(names.values()) == sorted(state)
    flat = {path: torch_array(path, state[name]) for path, name in names.items()}
    return network, traverse_util.unflatten_dict(flat), names


def images(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def as_torch(x):
    return torch.tensor(x.transpose(0, 3, 1, 2).copy(), requires_grad=True)


# 5 x 3 patches; 43 and 61 become 42 and 56, 35 and 49 are half way: 28 (to even) and 56.
@pytest.mark.parametrize(
    ("name", "sides"),
    [("plain", (70, 42)), ("reg", (43, 61)), ("gated", (35, 49)), ("tokens", (70, 42))],
)
def test_values_and_gradients(name, sides):
    network, variables, names = both(SIZES[name])
    x = images(2, *sides, 3)
    theirs = as_torch(x)
    expected = network(theirs)
    cotangents = [torch.tensor(images(*e.shape, seed=1)) for e in expected]
    sum((e * c).sum() for e, c in zip(expected, cotangents, strict=True)).backward()
    patches, token = (c.numpy() for c in cotangents)
    module = DINOv2(SIZES[name], class_token=True)

    @jax.jit
    def step(variables, x):
        def projected(variables, x):
            f, t = module.apply(variables, x)
            return jnp.sum(f * patches.transpose(0, 2, 3, 1)) + jnp.sum(t * token), (f, t)

        return jax.value_and_grad(projected, argnums=(0, 1), has_aux=True)(variables, x)

    (_, (f, t)), (gradients, of_x) = step(variables, x)
    assert relative(f, expected[0].detach().numpy().transpose(0, 2, 3, 1)) <= 1e-5
    assert relative(t, expected[1].detach().numpy()) <= 1e-5
    assert relative(of_x, theirs.grad.numpy().transpose(0, 2, 3, 1)) <= 1e-4
    wanted = {n: p.grad.numpy() for n, p in network.named_parameters()}
    errors = {
        names[path]: relative(g, torch_array(path, wanted[names[path]]))
        for path, g in traverse_util.flatten_dict(gradients).items()
    }
    worst = max(errors, key=errors.get)
    assert len(errors) == len(wanted) and errors[worst] <= 1e-4, (worst, errors[worst])


def test_stages_end_in_front_of_the_final_norm():
    network, variables, _ = both(SIZES["plain"])
    x = images(1, 28, 42, 3)
    ends = {
        "patch": (0, False),
        "block1": (1, False),
        "block2": (2, False),
        "norm": (2, True),
    }

    @jax.jit
    def stages(variables, x):
        return {
            stage: (
                *DINOv2(SIZES["plain"], stage, class_token=True).apply(variables, x),
                DINOv2(SIZES["plain"], stage).apply(variables, x),
            )
            for stage in ends
        }

    for stage, (f, t, alone) in stages(variables, x).items():
        with torch.no_grad():
            expected = network(as_torch(x), *ends[stage])
        assert relative(f, expected[0].numpy().transpose(0, 2, 3, 1)) <= 1e-5
        assert relative(t, expected[1].numpy()) <= 1e-5
        np.testing.assert_array_equal(alone, f)
    with pytest.raises(ValueError, match="no stage 'block3'"):
        jax.eval_shape(DINOv2(SIZES["plain"], "block3").apply, variables, x)


def test_the_value_facet_under_vlad_is_anyloc_s():
    """Values of the last block, k-means on them, residuals to the most similar of the centres."""
    network, variables, _ = both(SIZES["plain"])
    x = images(4, 70, 56, 3)
    last = dict(variables["params"]["block2"])
    assert set(last) == {"norm1", "attn", "ls1", "norm2", "mlp", "ls2"}
    module = DINOv2(SIZES["plain"], "block2_value")
    shapes = jax.eval_shape(module.init, jax.random.key(0), x[:1])["params"]
    assert set(shapes) == {"patch", "block1", "block2"}
    assert set(shapes["block2"]) == {"norm1", "attn"} and set(shapes["block2"]["attn"]) == {"qkv"}
    f = jax.jit(module.apply)(variables, x)
    with torch.no_grad():
        expected = network.values(as_torch(x), 1)
    assert relative(f.reshape(4, 20, 24), expected.numpy()) <= 1e-5
    local = torch.nn.functional.normalize(expected, dim=2)
    centers = np.asarray(kmeans.kmeans(local.reshape(-1, 24).numpy(), 5, seed=0))
    wanted = []
    for image in local:
        nearest = torch.cosine_similarity(image[:, None], torch.tensor(centers)[None], dim=2)
        nearest = nearest.argmax(dim=1)
        parts = [(image[nearest == k] - c).sum(dim=0) for k, c in enumerate(torch.tensor(centers))]
        parts = [torch.nn.functional.normalize(part, dim=0) for part in parts]
        wanted.append(torch.nn.functional.normalize(torch.cat(parts), dim=0).numpy())
    assert relative(jax.jit(vlad)(f, centers), np.stack(wanted)) <= 1e-5


def test_tokens_join_in_front_of_their_block():
    size = SIZES["tokens"]
    network, variables, _ = both(size)
    x = images(2, 28, 42, 3)
    for stage in ("block1", "block2"):
        module = DINOv2(size, stage, class_token=True)
        f, t = jax.jit(module.apply)(variables, x)
        with torch.no_grad():
            patches, tokens = network(as_torch(x), int(stage[-1]), norm=False)
        assert relative(f, patches.numpy().transpose(0, 2, 3, 1)) <= 1e-5
        if stage == "block1":  # the class token, as the others have not joined
            assert t.shape == (2, 24)
        else:
            assert relative(t, tokens.numpy()) <= 1e-5
    own = {path[1] for path in traverse_util.flatten_dict(variables)}
    assert own == {"patch", "block1", "tokens", "block2", "norm"}


@pytest.mark.parametrize("train_from", ["block2", "block2_value"])
def test_no_gradient_passes_the_first_stage_that_trains(train_from):
    """The value facet of a frozen block's successor trains, and nothing in front of it."""
    module = DINOv2(SIZES["plain"], "block2_value", train_from)
    x = images(1, 28, 42, 3)
    variables = module.init(jax.random.key(0), x)
    gradients = jax.grad(lambda v: module.apply(v, x).sum())(variables)["params"]
    moved = {
        name: max(float(jnp.abs(g).max()) for g in jax.tree.leaves(part)) > 0
        for name, part in gradients.items()
    }
    assert moved == {"patch": False, "block1": False, "block2": True}


@pytest.mark.parametrize("sides", [(1, 3), (16, 16), (20, 28), (37, 23), (37, 37), (40, 52)])
@pytest.mark.parametrize("registers", [0, 4])
def test_the_position_table_is_pytorch_s(sides, registers):
    network = torch_dinov2.DINOv2(6, 0, 1, registers).double()
    with torch.no_grad():
        network.pos_embed.normal_(generator=torch.Generator().manual_seed(3))
        expected = network.positions(*sides).numpy()
    table = network.pos_embed.detach().numpy()
    got = dinov2.position_table(jnp.asarray(table, jnp.float32), *sides, registers > 0)
    assert np.abs(got - expected).max() <= 1e-6 * np.abs(expected).max()


@pytest.mark.parametrize(("size", "count"), [(300, 294), (410, 406), (37, 42), (99, 14), (7, 14)])
def test_images_are_resized_as_pytorch_s_are(size, count):
    x = torch.tensor(images(1, 3, size, 5), dtype=torch.float64)
    expected = torch.nn.functional.interpolate(
        x, size=(count, 5), mode="bilinear", antialias=True
    ).numpy()
    got = resample.antialiased_linear(size, count) @ x.numpy()
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12)


def test_bfloat16_leaves_the_softmax_and_the_tokens_in_float32():
    _, variables, _ = both(SIZES["gated"])
    x = images(2, 42, 42, 3)
    half, full = (DINOv2(SIZES["gated"], layers=Layers(t)) for t in (jnp.bfloat16, jnp.float32))
    text = str(jax.make_jaxpr(half.apply)(variables, x))
    exponents = [line for line in text.splitlines() if " = exp " in line]
    assert exponents and all("f32[" in line for line in exponents)
    f, g = jax.jit(lambda v, x: (half.apply(v, x), full.apply(v, x)))(variables, x)
    assert f.dtype == jnp.bfloat16 and g.dtype == jnp.float32
    between = DINOv2(SIZES["gated"], "block1", layers=Layers(jnp.bfloat16))
    assert jax.eval_shape(between.apply, variables, x).dtype == jnp.float32
    assert relative(f.astype(jnp.float32), g) < 0.05


def test_nothing_in_front_of_train_from_has_a_gradient():
    _, variables, _ = both(SIZES["plain"])
    module = DINOv2(SIZES["plain"], train_from="block2")
    loss = jax.jit(jax.grad(lambda v: module.apply(v, images(1, 28, 28, 3)).sum()))
    trained = {name for name, g in loss(variables)["params"].items() if _any(g)}
    assert trained == {"block2", "norm"}


def _any(tree):
    return any(leaf.any() for leaf in jax.tree.leaves(tree))


def test_remat_repeats_every_stage():
    _, variables, _ = both(SIZES["plain"])
    x, modules = (
        images(2, 28, 28, 3),
        [DINOv2(SIZES["plain"], layers=Layers(remat=r)) for r in (0, 1)],
    )
    texts = [str(jax.make_jaxpr(module.apply)(variables, x)) for module in modules]
    assert [text.count("remat2[") + text.count("checkpoint[") for text in texts] == [0, 4]

    @jax.jit
    def gradients(v):
        return [jax.grad(lambda v, m=m: (m.apply(v, x) ** 3).sum())(v) for m in modules]

    for a, b in zip(*map(jax.tree.leaves, gradients(variables)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * np.abs(a).max())


def test_an_image_smaller_than_half_a_patch_is_refused():
    module = DINOv2(SIZES["plain"])
    with pytest.raises(ValueError, match=r"images of 7 x 42 pixels .* patches have 14 x 14"):
        jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, 7, 42, 3)))
    jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, 8, 42, 3)))
