"""What every backbone's file states, and a made-up backbone that one file and one line add."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from configs import base, synthetic
from vprjax import models
from vprjax.config import checks
from vprjax.errors import WeightsError
from vprjax.models.backbones import BACKBONES
from vprjax.models.backbones.layers import Conv, Layers
from vprjax.models.backbones.sources import keras_leaf
from vprjax.models.backbones.variant import Backbone, Source
from vprjax.weights import names, pretrained

SOURCES = {"torch", "keras"}


@pytest.mark.parametrize("name", BACKBONES)
def test_a_variant_answers_for_every_source_and_names_its_own_stages(name):
    variant = BACKBONES[name]
    assert variant.sources.keys() | variant.refused.keys() == SOURCES
    assert not variant.sources.keys() & variant.refused.keys()
    assert set(variant.cut_for.values()) <= variant.stages.keys()
    groups = list(itertools.chain(*variant.stages.values()))
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
    assert base.STRIDE_16 == {
        "vgg16": "conv5",
        "resnet50": "conv4",
        "resnet50_v1": "conv4",
        "mobilenetv2": "block_13_expand",
    }
    assert synthetic.STAGE == {
        "vgg16": "conv3",
        "resnet50": "conv3",
        "resnet50_v1": "conv3",
        "mobilenetv2": "block_6_expand",
    }


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
