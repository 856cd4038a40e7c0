"""Sizes, stages, freezing, BatchNorm and types of the backbones (values: parity/)."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from configs import base
from tests.helpers.commands import USERS_OPTIONS
from tests.helpers.random_variables import random_variables
from vprjax import models
from vprjax.models import Layers
from vprjax.runtime import parallel

KEY = jax.random.key(0)


@pytest.fixture
def on_cpu():
    """For what holds there alone, or takes two devices, where a GPU runs the tests."""
    with jax.default_device(jax.devices("cpu")[0]):
        yield


def config(backbone="mobilenetv2", **changes):
    c = base.get_config().model
    c.update({"backbone": backbone} | changes)
    return c


def images(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def shapes(backbone, stage="", size=(64, 64)):
    """Parameter paths -> shapes, and the map's shape, without computing anything."""
    module = models.backbone(backbone, stage)
    f = functools.partial(module.init_with_output, KEY)
    out, variables = jax.eval_shape(f, jnp.zeros((1, *size, 3)))
    return out.shape[1:], traverse_util.flatten_dict(variables)


def count(flat, collection):
    return sum(a.size for path, a in flat.items() if path[0] == collection)


@pytest.mark.parametrize(
    ("backbone", "params", "statistics"),
    [
        ("vgg16", 14_714_688, 0),  # Keras: VGG16(include_top=False).count_params()
        ("resnet50", 23_508_032, 53_120),  # torchvision: 25,557,032 without fc's 2,049,000
        ("resnet50_v1", 23_534_592, 53_120),  # Keras: 23,587,712, of them 53,120 not trainable
        ("mobilenetv2", 2_223_872, 34_112),  # Keras: 2,257,984, of them 34,112 not trainable
    ],
)
def test_parameter_counts(backbone, params, statistics):
    _, flat = shapes(backbone)
    assert count(flat, "params") == params
    assert count(flat, "batch_stats") == statistics


@pytest.mark.parametrize(
    ("backbone", "stage", "shape"),
    [
        ("vgg16", "conv1", (65, 50, 64)),
        ("vgg16", "conv4", (8, 6, 512)),  # pools round down: 65, 32, 16, 8
        ("vgg16", "", (4, 3, 512)),
        ("resnet50", "conv1", (33, 25, 64)),
        ("resnet50", "conv2", (17, 13, 256)),
        ("resnet50_v1", "conv4", (5, 4, 1024)),
        ("resnet50", "", (3, 2, 2048)),
        ("mobilenetv2", "Conv1", (33, 25, 32)),
        ("mobilenetv2", "expanded_conv", (33, 25, 16)),
        ("mobilenetv2", "block_13_expand", (5, 4, 576)),
        ("mobilenetv2", "block_13", (3, 2, 160)),
        ("mobilenetv2", "", (3, 2, 1280)),
    ],
)
def test_a_cut_backbone_holds_nothing_of_later_layers(backbone, stage, shape):
    out, flat = shapes(backbone, stage, (65, 50))
    assert out == shape
    _, full = shapes(backbone)
    assert {p: a.shape for p, a in flat.items()}.items() <= {
        p: a.shape for p, a in full.items()
    }.items()
    stages = models.BACKBONES[backbone].stages
    last = list(stages).index(stage) if stage else len(stages) - 1
    expected = {group for name in list(stages)[: last + 1] for group in stages[name]}
    assert {path[1] for path in flat} == expected
    if stage.endswith("_expand"):
        block = {path[2] for path in flat if path[1] == "block_13"}
        assert block == {"expand", "expand_norm"}


@pytest.mark.parametrize("backbone", ["resnet50", "mobilenetv2"])
def test_the_smallest_image_passes(backbone):
    assert shapes(backbone, size=(1, 1))[0][:2] == (1, 1)


def test_an_image_too_small_for_vgg16_is_refused():
    module = models.build(config("vgg16"))
    with pytest.raises(ValueError, match=r"15 x 40 pixels are too small"):
        jax.eval_shape(module.init, KEY, images(1, 15, 40, 3))
    jax.eval_shape(module.init, KEY, images(1, 16, 40, 3))


@pytest.mark.parametrize(
    ("backbone", "stage"), [("vgg16", "conv4"), ("resnet50", "conv3"), ("mobilenetv2", "block_6")]
)
def test_random_networks_neither_vanish_nor_explode(backbone, stage):
    module = models.build(config(backbone, stage=stage))
    x = images(2, 48, 64, 3)

    def features(key):
        return module.apply(module.init(key, x), x, method="features")

    quick = {"xla_backend_optimization_level": 0}
    f = np.asarray(jax.jit(features, compiler_options=quick)(KEY))
    assert 0.1 < np.sqrt(np.mean(f**2)) < 10
    assert f.std(axis=(0, 1, 2)).mean() > 0.02  # it tells places apart


@pytest.mark.parametrize(
    ("backbone", "stage", "train_from", "trained"),
    [
        ("vgg16", "conv3", "conv2", {"conv2_1", "conv2_2", "conv3_1", "conv3_2", "conv3_3"}),
        ("resnet50", "conv2", "conv2", {"conv2_1", "conv2_2", "conv2_3"}),
        ("mobilenetv2", "block_3_expand", "block_2", {"block_2", "block_3"}),
        ("mobilenetv2", "block_2", "block_2_expand", {"block_2"}),
        ("mobilenetv2", "block_2_expand", "block_2", {"block_2"}),
    ],
)
def test_train_from(backbone, stage, train_from, trained):
    """In front of it: no gradient, no new BatchNorm statistics; exactly the listed prefixes."""
    c = config(backbone, stage=stage, train_from=train_from, batch_norm="train", pooling="spoc")
    module, x = models.build(c), images(2, 18, 21, 3)
    variables = random_variables(module, x)
    rest = {k: v for k, v in variables.items() if k != "params"}

    def loss(params):
        f, new = module.apply({"params": params, **rest}, x, True, mutable=["batch_stats"])
        return f[:, ::2].sum(), new

    gradients, new = jax.jit(jax.grad(loss, has_aux=True))(variables["params"])
    prefixes = models.frozen_prefixes(c)
    assert prefixes
    for path, gradient in traverse_util.flatten_dict(gradients, sep="/").items():
        frozen = path.startswith(prefixes)
        assert frozen == (path.split("/")[1] not in trained)
        assert (not gradient.any()) == frozen, path
    if models.BACKBONES[backbone].batch_norm:
        before = traverse_util.flatten_dict(variables["batch_stats"], sep="/")
        for path, value in traverse_util.flatten_dict(new["batch_stats"], sep="/").items():
            assert np.array_equal(value, before[path]) == path.startswith(prefixes), path


def test_no_backward_of_frozen_layers_is_even_traced():
    """VGG16's conv1 and conv2: 4 forward, a weight gradient each, an input gradient but for one."""

    def convolutions(train_from):
        module = models.backbone("vgg16", "conv2", train_from)
        x = jnp.ones((1, 8, 8, 3))
        variables = jax.eval_shape(module.init, KEY, x)
        gradient = jax.make_jaxpr(jax.grad(lambda v: module.apply(v, x).sum()))(variables)
        return str(gradient).count("conv_general_dilated[")

    assert convolutions("") == 4 + 4 + 3
    assert convolutions("conv2") == 4 + 2 + 1


@pytest.mark.usefixtures("on_cpu")
def test_frozen_batch_norm_is_the_same_affine_map_in_training():
    module, x = models.build(config(stage="block_2")), images(2, 20, 20, 3)
    variables = random_variables(module, x)
    train = jax.jit(functools.partial(module.apply, train=True, mutable=["batch_stats"]))
    f, new = train(variables, x)
    np.testing.assert_array_equal(f, jax.jit(module.apply)(variables, x))
    jax.tree.map(np.testing.assert_array_equal, new["batch_stats"], variables["batch_stats"])
    assert models.frozen_prefixes(config(stage="block_2")) == ()


@pytest.mark.usefixtures("on_cpu")
def test_trained_batch_norm_averages_over_the_named_axis():
    x = jnp.asarray(images(4, 12, 12, 3), jnp.float32) / 99
    layers = Layers(batch_norm="train")
    one = models.backbone("mobilenetv2", "expanded_conv", layers=layers)
    variables = random_variables(one, x)
    train = jax.jit(functools.partial(one.apply, train=True, mutable=["batch_stats"]))
    expected, statistics = train(variables, x)
    alone, _ = train(variables, x[:2])
    layers = Layers(batch_norm="train", batch_norm_axis="batch")
    split = models.backbone("mobilenetv2", "expanded_conv", layers=layers)
    apply = functools.partial(split.apply, variables, train=True, mutable=["batch_stats"])
    mapped = jax.pmap(apply, axis_name="batch", devices=jax.devices("cpu")[:2])
    f, split_statistics = mapped(x.reshape(2, 2, 12, 12, 3))
    np.testing.assert_allclose(f.reshape(expected.shape), expected, rtol=0, atol=1e-5)
    assert np.abs(f[0] - alone).max() > 1e-3
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a[0], b, rtol=1e-5, atol=1e-6),
        split_statistics,
        statistics,
    )


@pytest.mark.usefixtures("on_cpu")
@pytest.mark.parametrize(
    ("backbone", "stage"),
    [("vgg16", "conv3"), ("resnet50", "conv3"), ("mobilenetv2", "block_3_expand")],
)
def test_remat_changes_memory_alone(backbone, stage):
    """Same parameters, gradients and new BatchNorm statistics, from less memory."""
    x, found = images(4, 48, 64, 3), []
    for remat in (False, True):
        c = config(backbone, stage=stage, batch_norm="train", pooling="spoc", remat=remat)
        module = models.build(c)
        variables = random_variables(module, x)

        def loss(params, rest, x, module=module):
            f, new = module.apply({"params": params, **rest}, x, True, mutable=["batch_stats"])
            return f[:, ::2].sum(), new

        params, rest = variables["params"], {k: v for k, v in variables.items() if k != "params"}
        step = jax.jit(jax.grad(loss, has_aux=True)).lower(params, rest, x)
        # Gradients that are zero but for round-off are compared to their own size.
        step = step.compile({**USERS_OPTIONS, **parallel.compiler_options(remat)})
        found.append((step(params, rest, x), step.memory_analysis().temp_size_in_bytes))
    (plain, bytes_plain), (again, bytes_again) = found
    assert jax.tree.structure(plain) == jax.tree.structure(again)
    for a, b in zip(jax.tree.leaves(plain), jax.tree.leaves(again), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * np.abs(a).max())
    assert bytes_again < 0.8 * bytes_plain


def test_an_injected_convolution_makes_every_convolution():
    calls = []

    def convolution(lhs, rhs, *args, **kwargs):
        calls.append(rhs.shape)
        return jax.lax.conv_general_dilated(lhs, rhs, *args, **kwargs)

    for backbone, convolutions in (("vgg16", 13), ("resnet50", 53), ("mobilenetv2", 52)):
        calls.clear()
        module = models.build(config(backbone), conv_general_dilated=convolution)
        jax.eval_shape(module.init, KEY, images(1, 32, 32, 3))
        assert len(calls) == convolutions


def test_bfloat16_computes_only_the_backbone():
    seen = set()

    def convolution(lhs, rhs, *args, **kwargs):
        seen.update((lhs.dtype.name, rhs.dtype.name))
        return jax.lax.conv_general_dilated(lhs, rhs, *args, **kwargs)

    c = config(stage="block_3", compute_dtype="bfloat16", projection=7)
    half, x = models.build(c, conv_general_dilated=convolution), images(3, 30, 33, 3)
    full = models.build(config(stage="block_3", projection=7))
    variables = random_variables(full, x)
    a, b = jax.jit(half.apply)(variables, x), jax.jit(full.apply)(variables, x)
    assert seen == {"bfloat16"}
    assert a.dtype == jnp.float32 and np.isfinite(a).all()
    assert 0.99 < np.sum(a * b, axis=1).min() < 1 - 1e-7
    assert {v.dtype.name for v in jax.tree.leaves(variables)} == {"float32"}
    local = jax.eval_shape(functools.partial(half.apply, method="features"), variables, x)
    assert local.dtype == jnp.float32
