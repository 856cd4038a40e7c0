"""Weights files of every container, and every way they can be wrong.

Names, shapes and values of the sources are proven in parity/test_backbones_torch.py; here files are
written by the module's own table.
"""

import hashlib
import io
import os
import re
import subprocess
import sys

import h5py
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from flax import traverse_util

from configs import base
from vprjax import models
from vprjax.errors import WeightsError
from vprjax.weights import names, pretrained


@pytest.fixture(scope="module")
def keras():
    """MobileNetV2's arrays under their Keras names, random."""
    rng = np.random.default_rng(0)
    table = names.names_and_shapes("mobilenetv2", "keras").values()
    return {name: rng.uniform(0, 1, shape).astype(np.float32) for name, shape in table}


@pytest.fixture(scope="module")
def npz(keras, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "mobilenetv2.npz"
    np.savez(path, **keras)
    return path


def save(path, arrays):
    np.savez(path, **arrays)
    return path


def shapes_of(**changes):
    c = base.get_config().model
    c.update({"backbone": "mobilenetv2"} | changes)
    module = models.build(c)
    x = jnp.zeros((1, 32, 32, 3), jnp.uint8)
    shapes = jax.eval_shape(module.init, jax.random.key(0), x)
    return jax.tree.map(lambda s: jnp.full(s.shape, 7, s.dtype), shapes)


def test_load_returns_the_arrays_in_our_layout(npz, keras):
    loaded = pretrained.load(str(npz), "mobilenetv2")
    assert sum(a.size for k in ("params", "batch_stats") for a in jax.tree.leaves(loaded[k])) == (
        2_257_984
    )
    block = loaded["params"]["block_3"]
    np.testing.assert_array_equal(
        block["expand"]["kernel"], keras["block_3_expand/kernel"], strict=True
    )
    np.testing.assert_array_equal(
        block["depthwise"]["kernel"][1, 2, 0],
        keras["block_3_depthwise/depthwise_kernel"][1, 2, :, 0],
    )
    np.testing.assert_array_equal(block["project_norm"]["bias"], keras["block_3_project_BN/beta"])
    statistics = loaded["batch_stats"]["Conv_1"]["norm"]
    np.testing.assert_array_equal(statistics["var"], keras["Conv_1_bn/moving_variance"])
    np.testing.assert_array_equal(loaded["preprocess"]["mean"], [127.5] * 3)


def test_a_saved_keras_model_reads_as_its_weights(keras, npz, tmp_path):
    with h5py.File(tmp_path / "model.h5", "w") as f:
        for key, array in keras.items():
            layer, _, leaf = key.partition("/")
            f[f"model_weights/{layer}/{layer}/{leaf}:0"] = array
        f["optimizer_weights/Adam/iterations:0"] = 3
    a = pretrained.load(tmp_path / "model.h5", "mobilenetv2")
    b = pretrained.load(npz, "mobilenetv2")
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_one_error_lists_all_that_does_not_fit(keras, tmp_path):
    arrays = {**keras, "surplus/kernel": np.ones(3), "Logits/kernel": np.ones(3)}
    del arrays["Conv1/kernel"], arrays["block_5_expand_BN/beta"]
    arrays["bn_Conv1/gamma"] = np.ones(31)
    arrays["bn_Conv1/beta"] = np.full(32, np.nan)
    with pytest.raises(WeightsError) as e:
        pretrained.load(save(tmp_path / "w.npz", arrays), "mobilenetv2")
    text = str(e.value)
    assert "w.npz" in text and "mobilenetv2" in text
    assert re.search(r"missing \(2\): (Conv1/kernel|block_5_expand_BN/beta), ", text)
    assert "extra (1): surplus/kernel" in text
    assert "mis-shaped (1): bn_Conv1/gamma (31,) instead of (32,)" in text
    assert "not finite (1): bn_Conv1/beta" in text
    assert "Logits" not in text and "\n" not in text


@pytest.mark.parametrize(
    ("name", "array", "words"),
    [
        ("Conv1/kernel", np.ones((3, 3, 3, 32), np.int8), "whole numbers, as quantised models do"),
        ("Conv_1_bn/moving_variance", np.full(1280, -0.5), "variances below 0"),
    ],
)
def test_what_no_training_writes_is_refused(keras, tmp_path, name, array, words):
    file = save(tmp_path / "w.npz", {**keras, name: array})
    with pytest.raises(WeightsError, match=rf"w\.npz.*{words}.* \(1\): {name}; it has"):
        pretrained.load(file, "mobilenetv2")


def test_whole_numbers_in_a_state_dict_stay_whole(tmp_path):
    torch = pytest.importorskip("torch")
    kernel = torch.ones(64, 3, 3, 3, dtype=torch.int8)
    torch.save({"features.0.weight": kernel}, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match=r"quantised.* \(1\): features\.0\.weight"):
        pretrained.load(tmp_path / "a.pth", "vgg16", partial=True)


@pytest.mark.parametrize("suffix", [".npz", ".h5", ".safetensors", ".pth", "-legacy.pth"])
@pytest.mark.parametrize("keep", [0.0, 0.001, 0.6, 0.999])
def test_truncated_files(tmp_path, suffix, keep):
    torch = pytest.importorskip("torch")
    arrays = {f"features.{i}.weight": np.ones((99, 70), np.float32) for i in range(9)}
    path = tmp_path / f"weights{suffix}"
    if suffix == ".npz":
        np.savez(path, **arrays)
    elif suffix == ".safetensors":
        safetensors.numpy.save_file(arrays, path)
    elif suffix == ".h5":
        with h5py.File(path, "w") as f:
            for name, array in arrays.items():
                f[f"{name}/kernel:0"] = array
    else:
        state = {n: torch.tensor(a) for n, a in arrays.items()}
        torch.save(state, path, _use_new_zipfile_serialization="legacy" not in suffix)
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])
    with pytest.raises(WeightsError, match=r"weights.*truncated, corrupt.*backbone vgg16"):
        pretrained.load(path, "vgg16")


class Harmful:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (self.mark,)


@pytest.mark.parametrize("zipped", [True, False])
def test_pickled_code_is_refused_and_never_runs(tmp_path, zipped):
    torch = pytest.importorskip("torch")
    mark = tmp_path / "ran"
    state = {"features.0.weight": Harmful(str(mark))}
    torch.save(state, tmp_path / "evil.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(WeightsError, match=r"evil\.pth .*vgg16 .*could run code"):
        pretrained.load(tmp_path / "evil.pth", "vgg16")
    assert not mark.exists()


def test_pickled_arrays_in_npz_are_refused(tmp_path):
    np.savez(tmp_path / "evil.npz", a=np.array([Harmful(str(tmp_path / "ran"))], object))
    with pytest.raises(WeightsError, match=r"evil\.npz"):
        pretrained.load(tmp_path / "evil.npz", "vgg16")
    assert not (tmp_path / "ran").exists()


def test_more_than_a_state_dict_is_refused(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save({"epoch": 3, "state_dict": {}}, tmp_path / "checkpoint.pt")
    with pytest.raises(WeightsError, match="not a plain state dict"):
        pretrained.load(tmp_path / "checkpoint.pt", "resnet50")


def test_pth_without_torch(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    (tmp_path / "w.pth").write_bytes(b"")
    with pytest.raises(WeightsError, match="needs PyTorch"):
        pretrained.load(tmp_path / "w.pth", "vgg16")


def test_weights_of_another_backbone(npz, tmp_path):
    with pytest.raises(WeightsError, match=r"npz holds no weights of backbone vgg16.*mobilenetv2"):
        pretrained.load(npz, "vgg16")
    with pytest.raises(WeightsError, match="use backbone resnet50_v1"):
        pretrained.load(npz, "resnet50")
    torchvision = {"conv1.weight": np.zeros((64, 3, 7, 7), np.float32)}
    safetensors.numpy.save_file(torchvision, tmp_path / "r.safetensors")
    with pytest.raises(WeightsError, match="holds no weights of backbone vgg16"):
        pretrained.load(tmp_path / "r.safetensors", "vgg16")
    with pytest.raises(WeightsError, match="use backbone resnet50"):
        pretrained.load(tmp_path / "r.safetensors", "resnet50_v1")
    with pytest.raises(WeightsError, match="MobileNetV2 pads"):
        pretrained.load(tmp_path / "r.safetensors", "mobilenetv2")
    with pytest.raises(
        WeightsError, match=r"resnet18: it has no names for files of keras; .*torch"
    ):
        pretrained.load(npz, "resnet18")
    with pytest.raises(WeightsError, match="known: vgg16, resnet18"):
        pretrained.load(npz, "resnet19")


@pytest.mark.parametrize("backbone", ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"])
def test_a_resnets_file_holds_the_names_of_the_shallower_ones(backbone, tmp_path):
    """A file of ResNet101 has every name of ResNet50 and of ResNet18."""
    table = dict(names.names_and_shapes(backbone, "torch").values())
    arrays = {name: np.zeros(shape, np.float16) for name, shape in table.items()}
    safetensors.numpy.save_file(arrays, tmp_path / "r.safetensors")
    assert pretrained.recognise(tmp_path / "r.safetensors") == backbone
    del arrays["layer1.0.conv1.weight"]  # what is missing, `load` tells of the right backbone
    safetensors.numpy.save_file(arrays, tmp_path / "r.safetensors")
    assert pretrained.recognise(tmp_path / "r.safetensors") == backbone


def test_files_that_are_not_there_or_of_no_known_kind(tmp_path):
    with pytest.raises(WeightsError, match=r"nothing\.npz does not exist"):
        pretrained.load(tmp_path / "nothing.npz", "vgg16")
    (tmp_path / "w.onnx").write_bytes(b"x")
    with pytest.raises(WeightsError, match=r"w\.onnx.*\.safetensors, \.pth, \.pt, \.h5, \.npz"):
        pretrained.load(tmp_path / "w.onnx", "vgg16")
    (tmp_path / "W.BIN").write_bytes(b"x")
    with pytest.raises(WeightsError, match=r"W\.BIN has .*if PyTorch wrote it, rename it to \.pth"):
        pretrained.load(tmp_path / "W.BIN", "vgg16")
    with pytest.raises(WeightsError, match=r"NOTHING\.PTH does not exist"):  # no hub id
        pretrained.load("mine/NOTHING.PTH", "vgg16")


def test_hub_ids(monkeypatch, tmp_path):
    hub = pytest.importorskip("huggingface_hub")
    with pytest.raises(WeightsError, match=r"timm/vgg16\.tv_in1k@<commit hash>"):
        pretrained.load("timm/vgg16.tv_in1k", "vgg16")

    for moving in ("main", "v1.0", "0123ABC"):
        with pytest.raises(WeightsError, match=r"not a branch's .* timm/vgg16\.tv_in1k@<commit"):
            pretrained.load(f"timm/vgg16.tv_in1k@{moving}", "vgg16")

    def offline(repo, file, revision):
        raise OSError("no route to host\nmore")

    monkeypatch.setattr(hub, "hf_hub_download", offline)
    with pytest.raises(WeightsError, match=r"no route to host\); download model.safetensors"):
        pretrained.load("timm/vgg16.tv_in1k@0123abc", "vgg16")

    def online(repo, file, revision):
        data = f"{repo} {revision}".encode()
        blob = tmp_path / hashlib.sha256(data).hexdigest()  # as the hub's cache names large files
        blob.write_bytes(data)
        path = tmp_path / file
        path.symlink_to(blob)
        return str(path)

    monkeypatch.setattr(hub, "hf_hub_download", online)
    file = pretrained.resolve("timm/vgg16.tv_in1k@0123abc")
    assert file.read_text() == "timm/vgg16.tv_in1k 0123abc"
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(WeightsError, match=r"vprjax\[hub\]"):
        pretrained.resolve("timm/vgg16.tv_in1k@0123abc")


def test_partial_weights(keras, tmp_path, caplog):
    arrays = {n: a for n, a in keras.items() if not n.startswith(("block_16", "Conv_1"))}
    path = save(tmp_path / "part.npz", arrays)
    with pytest.raises(WeightsError, match=r"missing \(20\): "):
        pretrained.load(path, "mobilenetv2")
    loaded = pretrained.load(path, "mobilenetv2", partial=True)
    variables = shapes_of()
    gaps = pretrained.missing(variables, loaded)
    assert len(gaps) == 20 and "params/block_16/expand/kernel" in gaps
    with pytest.raises(WeightsError, match=r"lack 20 arrays.*params/block_16/expand/kernel"):
        pretrained.insert(variables, loaded)
    filled = pretrained.insert(variables, loaded, partial=True)
    assert "20 arrays stay as initialised" in caplog.text
    assert "params/block_16/expand/kernel" in caplog.text
    backbone = filled["params"]["backbone"]
    assert (backbone["block_16"]["expand"]["kernel"] == 7).all()
    np.testing.assert_array_equal(
        backbone["block_15"]["expand"]["kernel"], keras["block_15_expand/kernel"]
    )
    # A model cut in front of the gap lacks nothing.
    cut = pretrained.insert(shapes_of(stage="block_15"), loaded)
    assert "block_16" not in cut["params"]["backbone"]


def test_the_two_vgg16_of_torchvision_are_scaled_each_in_its_way(tmp_path):
    rng = np.random.default_rng(0)
    table = names.names_and_shapes("vgg16", "torch").values()
    arrays = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in table}
    for value, mean, std in ((0.0, 123.675, 58.395), (np.nan, 123.0, 1.0)):
        arrays["classifier.0.weight"] = np.full((2, 2), value, np.float32)
        safetensors.numpy.save_file(arrays, tmp_path / "vgg16.safetensors")
        found = pretrained.load(str(tmp_path / "vgg16.safetensors"), "vgg16")["preprocess"]
        assert (found["mean"][0], found["std"][0]) == (np.float32(mean), np.float32(std))


def test_insert_keeps_the_head_and_the_types(npz):
    variables = shapes_of(stage="block_3", projection=5)
    filled = pretrained.insert(variables, pretrained.load(npz, "mobilenetv2"))
    assert jax.tree.structure(filled) == jax.tree.structure(variables)
    same = jax.tree.map(lambda a, b: a.shape == b.shape and a.dtype == b.dtype, filled, variables)
    assert all(jax.tree.leaves(same))
    for head in ("pooling", "projection"):
        assert all((a == 7).all() for a in jax.tree.leaves(filled["params"][head]))
    backbone = traverse_util.flatten_dict(filled["params"]["backbone"])
    assert not any((a == 7).all() for a in backbone.values())
    np.testing.assert_array_equal(filled["preprocess"]["std"], np.full(3, 127.5))


def test_insert_refuses_other_shapes(npz):
    loaded = pretrained.load(npz, "mobilenetv2")
    loaded["params"]["Conv1"]["conv"]["kernel"] = np.zeros((3, 3, 3, 31))
    with pytest.raises(WeightsError, match=r"backbone/Conv1/conv/kernel.*another backbone"):
        pretrained.insert(shapes_of(), loaded)


def test_fingerprint_is_the_files_sha256(tmp_path):
    data = io.BytesIO(b"weights" * 1000).getvalue()
    (tmp_path / "w.npz").write_bytes(data)
    assert pretrained.fingerprint(tmp_path / "w.npz") == hashlib.sha256(data).hexdigest()


def test_import_brings_no_other_framework():
    code = (
        "import sys, vprjax.weights.pretrained; print([m for m in ('torch', 'tensorflow', 'keras', "
    )
    code += "'huggingface_hub') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
