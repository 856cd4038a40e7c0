"""What every backbone's file states, and a made-up backbone that one file and one line add."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from configs import base, synthetic
from tests.helpers.random_variables import random_variables
from vprjax import models
from vprjax.config import checks
from vprjax.errors import WeightsError
from vprjax.models.backbones import BACKBONES
from vprjax.models.backbones.layers import Conv, Layers
from vprjax.models.backbones.sources import keras_leaf
from vprjax.models.backbones.variant import Backbone, Source
from vprjax.weights import names, pretrained

SOURCES = {"torch", "keras", "caffe", "overfeat", "tensorflow"}


@pytest.mark.parametrize("name", BACKBONES)
def test_a_variant_answers_for_every_source_and_names_its_own_stages(name):
    variant = BACKBONES[name]
    assert variant.sources and variant.sources.keys() | variant.refused.keys() <= SOURCES
    assert not variant.sources.keys() & variant.refused.keys()
    assert set(variant.cut_for.values()) <= variant.stages.keys()
    # Two stages may end in the same groups, as VGG16's before and behind its last ReLU.
    groups = list(itertools.chain(*dict.fromkeys(variant.stages.values())))
    assert list(dict.fromkeys(groups)) == [g for g, _ in itertools.groupby(groups)]
    variables = jax.eval_shape(
        models.backbone(name).init, jax.random.key(0), jnp.zeros((1, 64, 64, 3))
    )
    assert variables["params"].keys() == set(groups)
    assert ("batch_stats" in variables) == variant.batch_norm


def test_titles_are_unique():
    titles = [variant.title for variant in BACKBONES.values()]
    assert len(set(titles)) == len(titles)


@pytest.mark.parametrize("name", BACKBONES)
def test_every_array_of_a_file_has_its_own_name(name):
    for source in BACKBONES[name].sources:
        table = names.names_and_shapes(name, source)
        assert len({array for array, _ in table.values()}) == len(table)


def test_the_cuts_of_the_small_image_configs():
    cuts = {
        "vgg16": ("conv5", "conv3"),
        "resnet50": ("conv4", "conv3"),
        "resnet50_v1": ("conv4", "conv3"),
        "mobilenetv2": ("block_13_expand", "block_6_expand"),
    }
    cuts |= {f"resnet{depth}": ("conv4", "conv3") for depth in (18, 34, 101, 152)}
    for name, stages in cuts.items():
        assert (base.STRIDE_16[name], synthetic.STAGE[name]) == stages


def test_vgg16_without_its_last_relu_is_the_map_before_it():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(1, 17, 20, 3)), jnp.float32)
    linear, rectified = (models.backbone("vgg16", stage) for stage in ("conv5_linear", ""))
    variables = random_variables(rectified, x)
    found = linear.apply(variables, x)
    assert (found < 0).any()
    np.testing.assert_array_equal(nn.relu(found), rectified.apply(variables, x))


@pytest.mark.parametrize("train_from", ["conv5", "conv5_linear"])
def test_stages_that_share_groups_train_together(train_from):
    config = base.get_config().model
    config.update(backbone="vgg16", stage="conv5_linear", train_from=train_from)
    before = ("conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1", "conv3_2", "conv3_3")
    before += ("conv4_1", "conv4_2", "conv4_3")
    assert models.frozen_prefixes(config) == tuple(f"backbone/{group}/" for group in before)
    x = jnp.zeros((1, 16, 16, 3), jnp.float32) + 100
    module = models.build(config)
    variables = random_variables(module, x)

    def first(params):
        return module.apply({**variables, "params": params}, x)[0, 0]

    moves = {
        group: any(np.any(g) for g in jax.tree.leaves(of))
        for group, of in jax.jit(jax.grad(first))(variables["params"])["backbone"].items()
    }
    assert {group for group, moved in moves.items() if moved} == {"conv5_1", "conv5_2", "conv5_3"}


class Tiny(nn.Module):
    stage: str = "late"
    train_from: str = ""
    layers: Layers = Layers()

    @nn.compact
    def __call__(self, x, train=False):
        x = nn.relu(self.layers.conv("stem", Conv(4, 3, 2, bias=True))(x))
        if self.stage == "early":
            return x
        return nn.relu(self.layers.conv("body", Conv(8, 3, 2, bias=True))(x))


TINY = Backbone(
    title="Tiny",
    module=Tiny,
    stages={"early": ("stem",), "late": ("body",)},  # "body" sorts in front of "stem"
    batch_norm=False,
    sources={
        "keras": Source(
            lambda path: f"tiny_{path[1]}/{keras_leaf(path)}",
            lambda arrays: {"mean": (len(arrays),) * 3, "std": (2.0,) * 3},
            flip_first=True,
            head="tiny_head/kernel",
        )
    },
)


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setitem(BACKBONES, "tiny", TINY)
    config = base.get_config()
    config.model.update(backbone="tiny", pooling="spoc", batch_norm="train", train_from="late")
    return config


@pytest.fixture
def arrays(tiny):
    rng = np.random.default_rng(0)
    table = names.names_and_shapes("tiny", "keras").values()
    found = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in table}
    return found | {"tiny_head/kernel": np.ones((8, 2), np.float32)}


def test_a_made_up_backbone_loads_its_weights(tiny, arrays, tmp_path):
    np.savez(tmp_path / "w.npz", **arrays)
    loaded = pretrained.load(tmp_path / "w.npz", "tiny")
    kernels = {name: loaded["params"][name]["kernel"] for name in ("stem", "body")}
    np.testing.assert_array_equal(kernels["stem"], arrays["tiny_stem/kernel"][:, :, ::-1])
    np.testing.assert_array_equal(kernels["body"], arrays["tiny_body/kernel"])
    np.testing.assert_array_equal(loaded["preprocess"]["mean"], [5.0] * 3)
    module, x = models.build(tiny.model), np.zeros((2, 9, 9, 3), np.uint8)
    variables = jax.jit(module.init)(jax.random.key(0), x)
    variables = pretrained.insert(variables, loaded)
    assert module.apply(variables, x).shape == (2, 8)
    assert models.frozen_prefixes(tiny.model) == ("backbone/stem/",)


def test_a_made_up_backbone_refuses_files_of_other_families(tiny, tmp_path):
    (tmp_path / "w.safetensors").write_bytes(b"")
    with pytest.raises(WeightsError, match=r"tiny: it has no names for files of torch; .*keras"):
        pretrained.load(tmp_path / "w.safetensors", "tiny")


def test_accumulation_asks_the_backbone_for_its_batch_norm(tiny):
    assert checks.against_accumulation(tiny) == []
    tiny.model.backbone = "resnet50"
    assert "batch_norm" in checks.against_accumulation(tiny)[0]


def test_a_source_without_a_layout_is_an_error(monkeypatch):
    unknown = {"onnx": TINY.sources["keras"]}
    monkeypatch.setitem(BACKBONES, "tiny", dataclasses.replace(TINY, sources=unknown))
    with pytest.raises(KeyError, match="onnx"):
        names.names_and_shapes("tiny", "onnx")
    with pytest.raises(KeyError, match="onnx"):
        names.convert(("params", "stem", "bias"), np.ones(3), "onnx")
