"""The descriptor module: its variables, its normalisation, its errors."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from vprjax import models
from vprjax.models.heads import HEADS, netvlad
from vprjax.models.heads.variant import Head

KEY = jax.random.key(0)


def config(**changes):
    c = base.get_config().model
    c.update({"backbone": "mobilenetv2", "stage": "Conv1"} | changes)
    return c


def images(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


@pytest.mark.parametrize(
    ("changes", "size", "head"),
    [
        ({"pooling": "mac"}, 32, {}),
        ({"pooling": "spoc"}, 32, {}),
        ({"pooling": "gem", "gem": {"p": 2.5}}, 32, {"p": ()}),
        ({"pooling": "gem", "gem": {"per_channel": True}}, 32, {"p": (32,)}),
        (
            {"pooling": "netvlad", "netvlad": {"clusters": 5}},
            160,
            {"weights": (5, 32), "biases": (5,), "centers": (5, 32)},
        ),
        ({"pooling": "gem", "projection": 7}, 7, {"p": ()}),
    ],
)
def test_variables_and_unit_length(changes, size, head):
    c = config(**changes)
    module, x = models.build(c), images(3, 17, 22, 3)
    variables = module.init(KEY, x)
    params = variables["params"]
    assert jax.tree.map(jnp.shape, params.get("pooling", {})) == head
    if "p" in head:
        assert (params["pooling"]["p"] == c.gem.p).all()
    assert ("projection" in params) == (c.projection > 0)
    f = module.apply(variables, x)
    assert f.shape == (3, size) and f.dtype == jnp.float32
    np.testing.assert_allclose(np.linalg.norm(f, axis=1), 1, rtol=1e-6)


def test_descriptor_is_what_its_parts_say():
    module, x = models.build(config(pooling="gem", projection=6)), images(2, 17, 22, 3)
    variables = module.init(KEY, x)
    params = variables["params"]
    params["pooling"]["p"] = jnp.array(2.2)
    params["projection"]["bias"] = jnp.linspace(-1, 1, 6)
    local = np.asarray(module.apply(variables, x, method="features"), np.float64)
    f = np.mean(np.maximum(local, 1e-6) ** 2.2, axis=(1, 2)) ** (1 / 2.2)
    f /= np.linalg.norm(f, axis=1, keepdims=True)
    f = f @ np.asarray(params["projection"]["kernel"], np.float64) + np.linspace(-1, 1, 6)
    f /= np.linalg.norm(f, axis=1, keepdims=True)
    np.testing.assert_allclose(module.apply(variables, x), f, rtol=1e-5, atol=1e-6)


SUBSETS = [
    names for n in range(len(models.NORMS) + 1) for names in itertools.combinations(models.NORMS, n)
]


def test_lengths_become_1_where_the_norms_say():
    x = images(2, 17, 22, 3)
    variables = models.build(config(projection=6)).init(KEY, x)
    params = variables["params"]
    params["projection"]["bias"] = jnp.linspace(-1, 1, 6)
    kernel = np.asarray(params["projection"]["kernel"], np.float64)
    mapped = np.asarray(models.build(config()).apply(variables, x, method="features"), np.float64)

    def unit(v, where, norms):
        return v / np.linalg.norm(v, axis=-1, keepdims=True) if where in norms else v

    for norms in SUBSETS:
        local = unit(mapped, "local", norms)
        f = np.mean(np.maximum(local, 1e-6) ** 3, axis=(1, 2)) ** (1 / 3)
        f = unit(unit(f, "pooled", norms) @ kernel + np.linspace(-1, 1, 6), "descriptor", norms)
        ours = models.build(config(projection=6, norms=norms)).apply(variables, x)
        np.testing.assert_allclose(ours, f, rtol=1e-5, atol=1e-6)


def test_images_are_normalised_with_the_weights_statistics():
    """The default is torchvision's; other statistics in "preprocess" replace it."""
    module, x = models.build(config()), images(2, 17, 22, 3)
    variables = module.init(KEY, x)
    backbone = models.backbone("mobilenetv2", "Conv1")
    inner = {k: variables[k]["backbone"] for k in ("params", "batch_stats")}

    def expected(mean, std):
        return backbone.apply(inner, ((x - np.array(mean)) / np.array(std)).astype(np.float32))

    def features(variables, x):
        return module.apply(variables, x, method="features")

    imagenet = expected(np.multiply(255, [0.485, 0.456, 0.406]), [58.395, 57.12, 57.375])
    np.testing.assert_allclose(features(variables, x), imagenet, rtol=1e-5, atol=1e-5)
    other = {"mean": jnp.array([1.0, 2.0, 3.0]), "std": jnp.array([10.0, 20.0, 30.0])}
    changed = features({**variables, "preprocess": other}, x)
    np.testing.assert_allclose(changed, expected([1, 2, 3], [10, 20, 30]), rtol=1e-5, atol=1e-4)
    np.testing.assert_array_equal(features(variables, x), features(variables, x.astype(np.float32)))


def test_a_black_image_has_finite_gradients():
    module, x = models.build(config(pooling="mac", projection=4)), np.zeros((2, 8, 8, 3), np.uint8)
    variables = module.init(KEY, x)
    variables["preprocess"]["mean"] = jnp.zeros(3)  # so that every local feature is exactly 0
    rest = {k: v for k, v in variables.items() if k != "params"}
    assert not module.apply(variables, x, method="features").any()
    gradient = jax.grad(lambda p: module.apply({"params": p, **rest}, x).sum())
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(gradient(variables["params"])))


def test_netvlad_starts_as_the_pooling_function():
    module, x = (
        models.build(config(pooling="netvlad", netvlad={"clusters": 4})),
        images(2, 17, 22, 3),
    )
    variables = module.init(KEY, x)
    p = variables["params"]["pooling"]
    local = module.apply(variables, x, method="features")
    expected = netvlad.netvlad(local, p["weights"], p["biases"], p["centers"])
    np.testing.assert_allclose(module.apply(variables, x), expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backbone": "vgg19"}, "model.backbone='vgg19'.*'vgg16', 'resnet18', .*'mob"),
        ({"stage": "conv4"}, "model.stage='conv4'.*of mobilenetv2: '', 'Conv1', 'expanded_conv'"),
        ({"backbone": "vgg16"}, "model.stage='Conv1'.*of vgg16: '', 'conv1'"),
        ({"train_from": "block_99"}, "model.train_from='block_99'.*'block_16'.*'head'"),
        ({"train_from": "head", "pooling": "mac"}, "leaves nothing to train: model.pooling='mac'"),
        ({"train_from": "block_2"}, "model.train_from='block_2' lies behind model.stage='Conv1'"),
        ({"pooling": "max"}, "model.pooling='max'.*'mac', 'spoc', 'gem', .*'netvlad'"),
        ({"batch_norm": "eval"}, "model.batch_norm='eval'.*'frozen', 'train'"),
        ({"compute_dtype": "float16"}, "model.compute_dtype='float16'.*'float32', 'bfloat16'"),
        ({"gem": {"p": 0.0}}, "model.gem.p=0.0 must be a number 0.1 or more"),
        (
            {"pooling": "netvlad", "netvlad": {"clusters": 1}},
            "model.netvlad.clusters=1 must be a whole",
        ),
        ({"projection": -1}, "model.projection must be at least 0"),
        (
            {"pooling": "tokens"},
            "model.pooling='tokens' takes a class token, which model.backbone='mobilenetv2' has not; "
            "backbones with one: ",
        ),
    ],
)
def test_values_that_cannot_be_built(changes, message, monkeypatch):
    monkeypatch.setitem(
        HEADS, "tokens", Head("Tokens", lambda section: None, class_token=lambda section: True)
    )
    c = config(**changes)
    for function in (models.build, models.frozen_prefixes):
        with pytest.raises(ValueError, match=message) as e:
            function(c)
        assert "\n" not in str(e.value)


@pytest.mark.parametrize("shape", [(8, 8, 3), (1, 8, 8, 1), (1, 8, 8, 4)])
def test_images_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r"images must be \(b, h, w, 3\), RGB"):
        models.build(config()).init(KEY, images(*shape))


def test_names_of_the_configs_are_the_models():
    assert tuple(models.BACKBONES) == base.BACKBONES
    assert tuple(models.HEADS) == base.POOLINGS
