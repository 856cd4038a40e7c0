"""DINOv2: the tokens of its files equal those of its own code, and the files feed GeM."""

import os

import jax
import numpy as np
import pytest

import vprjax
from tests.helpers import goldens
from vprjax import models
from vprjax.errors import WeightsError
from vprjax.models.backbones import dinov2
from vprjax.weights import pretrained
from vprjax.weights.names import names_and_shapes

TOLERANCE = 5e-6
NAMES = ["dinov2_vits14_224x224", "dinov2_vits14_reg_280x392"]
if os.environ.get("VPRJAX_GOLDENS") == "all":
    NAMES += [
        "dinov2_vits14_322x322",
        "dinov2_vits14_518x518",
        "dinov2_vits14_reg_224x224",
        "dinov2_vitb14_224x224",
        "dinov2_vitb14_280x392",
        "dinov2_vitb14_322x322",
    ]


def check(golden, key, tokens):
    """Compares tokens `(b, n, c)` with the golden's, as its summary rule keeps them."""
    expected = golden.outputs[f"{key}_f64"]
    got = np.asarray(tokens, np.float64).reshape(len(tokens), -1)
    scale = np.abs(expected).max()
    kept = got[:, : expected.shape[1]]
    np.testing.assert_allclose(kept / scale, expected / scale, rtol=0, atol=TOLERANCE)
    weights = np.random.default_rng(99).standard_normal(got.shape[1])
    limit = 20 * TOLERANCE * scale * np.sqrt(got.shape[1])
    sums = golden.outputs[f"{key}_f64_checksum"]
    np.testing.assert_allclose(got @ weights, sums, rtol=0, atol=limit)


def tokens_of(variables, backbone, golden):
    """The tokens behind the norm and in front of it, and the patches' convolution, in one program."""
    scaling = variables["preprocess"]
    x = (golden.images.astype(np.float32) - scaling["mean"]) / scaling["std"]
    last = list(models.BACKBONES[backbone].stages)[-2]
    before, behind = (models.backbone(backbone, s, class_token=True) for s in (last, "norm"))

    @jax.jit
    def tokens(params, x):
        named = {"capture_intermediates": lambda module, _: module.name == "proj"}
        (patches, token), seen = behind.apply({"params": params}, x, **named)
        seen = seen["intermediates"]["patch"]["proj"]["__call__"][0]
        return patches, token, before.apply({"params": params}, x), seen

    return tokens(variables["params"], x)


@pytest.mark.parametrize("name", NAMES)
def test_tokens_equal_the_original_code(shared_goldens, tmp_path, name):
    golden = goldens.golden(shared_goldens, name)
    backbone = name.rpartition("_")[0]
    file = goldens.write_torch(golden.state, tmp_path / f"{backbone}_pretrain.pth")
    assert pretrained.recognise(str(file)) == backbone
    variables = pretrained.load(str(file), backbone)
    patches, token, (before, first), convolved = tokens_of(variables, backbone, golden)
    h, w = patches.shape[1:3]
    check(golden, "cls", token)
    check(golden, "patch", patches)
    registers = variables["params"]["patch"].get("register_tokens")
    if registers is None:
        check(golden, "prenorm", np.concatenate([first[:, None], before.reshape(2, h * w, -1)], 1))
    table = variables["params"]["patch"]["pos_embed"]
    check(
        golden, "pos_embed_interpolated", dinov2.position_table(table, h, w, registers is not None)
    )
    facts = golden.facts["backbone_stats_f64"][0]
    sampled = np.asarray(convolved).reshape(-1)[facts["sample_idx"]]
    limit = TOLERANCE * facts["amax"]
    np.testing.assert_allclose(sampled, facts["sample"], rtol=0, atol=limit)


def test_jax_image_resize_is_no_pytorch_interpolation(shared_goldens, monkeypatch):
    golden = goldens.golden(shared_goldens, "dinov2_vits14_224x224")
    table = golden.state["pos_embed"]

    def resized(size, count, *_):
        return np.asarray(jax.image.resize(np.eye(size, dtype=np.float32), (count, size), "cubic"))

    check(golden, "pos_embed_interpolated", dinov2.position_table(table, 16, 16, False))
    monkeypatch.setattr(dinov2.resample, "cubic", resized)
    with pytest.raises(AssertionError):
        check(golden, "pos_embed_interpolated", dinov2.position_table(table, 16, 16, False))


def state(backbone, seed=0):
    """Random arrays under the names of a released file, with the one that no descriptor needs."""
    rng = np.random.default_rng(seed)
    table = dict(names_and_shapes(backbone, "torch").values())
    table["mask_token"] = (1, table["cls_token"][-1])
    return {n: rng.normal(0, 0.05, shape).astype(np.float32) for n, shape in table.items()}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Files of the smallest transformer, plain and with registers."""
    folder = tmp_path_factory.mktemp("dinov2")
    names = ("dinov2_vits14", "dinov2_vits14_reg")
    return {n: goldens.write_torch(state(n), folder / f"{n}_pretrain.pth") for n in names}


def test_a_file_feeds_gem(files):
    model = vprjax.load(files["dinov2_vits14_reg"], size=(28, 42))
    assert model.title == "DINOv2 ViT-S reg + GeM, off the shelf"
    images = np.random.default_rng(0).integers(0, 256, (2, 28, 42, 3), np.uint8)
    described = model.describe(list(images))
    assert described.shape == (2, 384)
    np.testing.assert_allclose(np.linalg.norm(described, axis=1), 1, atol=1e-5)


def test_a_file_of_another_size_is_refused(files):
    file = str(files["dinov2_vits14"])
    assert pretrained.recognise(file) == "dinov2_vits14"
    with pytest.raises(WeightsError, match=r"missing \(1\): register_tokens"):
        pretrained.load(file, "dinov2_vits14_reg")
    with pytest.raises(WeightsError, match=r"mis-shaped \(174\): .*\(384,\) instead of \(768,\)"):
        pretrained.load(file, "dinov2_vitb14")
    with pytest.raises(WeightsError, match=r"extra \(1\): register_tokens"):
        pretrained.load(str(files["dinov2_vits14_reg"]), "dinov2_vits14")
