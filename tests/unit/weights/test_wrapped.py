"""Sound files around the weights: training checkpoints, prefixes, Keras 3, and what only looks damaged."""

import argparse
import io
import zipfile

import h5py
import jax
import numpy as np
import pytest
import safetensors.numpy

from vprjax.errors import WeightsError
from vprjax.weights import names, pretrained


def arrays_of(backbone, source):
    rng = np.random.default_rng(0)
    table = names.names_and_shapes(backbone, source).values()
    return {name: rng.uniform(0, 1, shape).astype(np.float32) for name, shape in table}


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


@pytest.fixture(scope="module")
def resnet(torch, tmp_path_factory):
    """ResNet50's tensors under torchvision's names, and what they load to."""
    arrays = arrays_of("resnet50", "torch")
    path = tmp_path_factory.mktemp("weights") / "plain.safetensors"
    safetensors.numpy.save_file(arrays, path)
    tensors = {name: torch.tensor(array) for name, array in arrays.items()}
    return tensors, pretrained.load(path, "resnet50")


def same(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def prefixed(prefix, tensors):
    return {prefix + name: tensor for name, tensor in tensors.items()}


CHECKPOINTS = {
    "w.pth": lambda t: {"epoch": 3, "state_dict": t, "best": 0.5},
    "w.pt": lambda t: {
        "model_state_dict": t,
        "optimizer": {"state": {0: {"m": t["conv1.weight"]}}},
    },
    "w.pth.tar": lambda t: {"epoch": 3, "arch": "resnet50", "state_dict": prefixed("module.", t)},
    "w.ckpt": lambda t: {"state_dict": prefixed("model.backbone.", t), "loops": {"fit": {}}},
    "module.pth": lambda t: prefixed("module.", t),
    "head.pth": lambda t: prefixed("net.", t) | {"head.p": t["conv1.weight"][0, 0]},
    "mixed.pth": lambda t: t | {"epoch": 3},
}


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_checkpoint_around_the_state_dict_gives_the_same_weights(torch, resnet, tmp_path, name):
    torch.save(CHECKPOINTS[name](resnet[0]), tmp_path / name)
    same(pretrained.load(tmp_path / name, "resnet50"), resnet[1])


def test_a_prefix_of_any_container_is_taken_off(resnet, tmp_path, capsys):
    arrays = {name: tensor.numpy() for name, tensor in resnet[0].items()}
    path = tmp_path / "w.safetensors"
    safetensors.numpy.save_file(prefixed("encoder.", arrays) | {"p": np.ones(1)}, path)
    same(pretrained.load(path, "resnet50"), resnet[1])
    assert "lie behind 'encoder.'; 1 others are not read" in capsys.readouterr().err


def test_two_models_in_one_file_are_not_chosen_between(torch, resnet, tmp_path):
    both = {"state_dict": resnet[0], "ema": {k: v + 1 for k, v in resnet[0].items()}}
    torch.save(both, tmp_path / "w.pth")
    with pytest.raises(
        WeightsError, match=r"resnet50 2 times, behind ema\., state_dict\.: save one"
    ):
        pretrained.load(tmp_path / "w.pth", "resnet50")


def test_names_that_do_not_fit_are_shown_beside_the_expected(torch, tmp_path):
    torch.save({"state_dict": {"a.b": torch.ones(1)}}, tmp_path / "w.pth")
    with pytest.raises(
        WeightsError, match=r"it has state_dict\.a\.b, expected are \S+, \S+, \S+, \.\.\."
    ):
        pretrained.load(tmp_path / "w.pth", "resnet50")


def sound_files(torch, folder):
    """Files without damage that give no weights, and a word of what they are called."""
    model = torch.nn.Linear(2, 2)
    torch.save(model, folder / "model.pth")
    yield "model.pth", "save the state dict alone"
    torch.jit.script(model).save(str(folder / "script.pt"))
    yield "script.pt", "TorchScript"
    torch.save({"state_dict": {}, "args": argparse.Namespace(lr=1)}, folder / "args.pth.tar")
    yield "args.pth.tar", "argparse.Namespace"
    torch.save({"state_dict": {"a": torch.ones(1)}, "log": "x" * 999}, folder / "log.ckpt")
    yield "log.ckpt", "save the state dict alone"
    torch.save({"epoch": 3}, folder / "empty.pth")
    yield "empty.pth", "its keys: epoch"
    torch.save([torch.ones(1)], folder / "list.pth")
    yield "list.pth", "but a list"
    (folder / "page.pth").write_text("<!DOCTYPE html><html>Sign in</html>")
    yield "page.pth", "web page"
    (folder / "lfs.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid x\n")
    yield "lfs.safetensors", "git lfs pull"
    (folder / "tar.pth.tar").write_bytes(b"w.pth".ljust(257, b"\0") + b"ustar\0" + bytes(700))
    yield "tar.pth.tar", "unpack it"


def test_sound_files_are_never_called_damaged(torch, tmp_path):
    for name, word in sound_files(torch, tmp_path):
        with pytest.raises(WeightsError, match=word) as error:
            pretrained.load(tmp_path / name, "resnet50")
        assert "corrupt" not in str(error.value), name
        assert name in str(error.value) and "resnet50" in str(error.value)


@pytest.fixture(scope="module")
def keras():
    """MobileNetV2's arrays by Keras' names, and what they load to."""
    arrays, out = arrays_of("mobilenetv2", "keras"), io.BytesIO()
    np.savez(out, **arrays)
    return arrays, out.getvalue()


KINDS = {"depthwise_kernel": "depthwise_conv2d", "kernel": "conv2d", "bias": "conv2d"}
NUMBERS = {"depthwise_kernel": 0, "kernel": 0, "bias": 1}
NUMBERS |= {"gamma": 0, "beta": 1, "moving_mean": 2, "moving_variance": 3}


def keras3(arrays, named=True, root="layers"):
    """A `.weights.h5` as Keras 3 writes it: groups by class, numbered, the layer's name in an attribute."""
    out, layers = io.BytesIO(), {}
    with h5py.File(out, "w") as f:
        for name, array in arrays.items():
            layer, leaf = name.split("/")
            kind = KINDS.get(leaf, "batch_normalization")
            group = f"{root}/{kind}_{layers.setdefault(layer, len(layers))}/vars"
            f[f"{group}/{NUMBERS[leaf]}"] = array
            if named:
                f[group].attrs["name"] = layer
        f["optimizer/vars/0"] = 3
        f["layers/dropout/seed_generator/vars/0"] = np.ones(2, np.uint32)
    return out.getvalue()


@pytest.mark.parametrize("root", ["layers", "layers/functional/layers"])
@pytest.mark.parametrize("suffix", [".weights.h5", ".keras"])
def test_keras_3_reads_as_keras_2(keras, tmp_path, suffix, root):
    raw, path = keras3(keras[0], root=root), tmp_path / f"w{suffix}"
    path.write_bytes(raw)
    if suffix == ".keras":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("config.json", "{}")
            archive.writestr("model.weights.h5", raw)
    (tmp_path / "w.npz").write_bytes(keras[1])
    same(pretrained.load(path, "mobilenetv2"), pretrained.load(tmp_path / "w.npz", "mobilenetv2"))


def test_an_early_keras_3_without_names_is_told(keras, tmp_path):
    (tmp_path / "w.weights.h5").write_bytes(keras3(keras[0], named=False))
    with pytest.raises(WeightsError, match=r"early Keras 3 .* save it as \.h5"):
        pretrained.load(tmp_path / "w.weights.h5", "mobilenetv2")


def test_a_keras_model_as_a_layer_of_another_is_found(keras, tmp_path):
    with h5py.File(tmp_path / "w.h5", "w") as f:
        for name, array in keras[0].items():
            f[f"model_weights/mobilenetv2_1.00_224/{name}:0"] = array
        f["model_weights/dense/dense/kernel:0"] = np.ones((3, 3))
    (tmp_path / "w.npz").write_bytes(keras[1])
    with pytest.raises(WeightsError, match=r"extra \(1\): dense/kernel"):
        pretrained.load(tmp_path / "w.h5", "mobilenetv2")
    with h5py.File(tmp_path / "w.h5", "a") as f:
        del f["model_weights/dense"]
    same(
        pretrained.load(tmp_path / "w.h5", "mobilenetv2"),
        pretrained.load(tmp_path / "w.npz", "mobilenetv2"),
    )


def test_two_keras_models_as_layers_of_another_are_not_chosen_between(tmp_path):
    """Teacher and student of one kind name their layers alike."""
    with h5py.File(tmp_path / "w.h5", "w") as f:
        for number, model in enumerate(("teacher", "student")):
            for layer in ("Conv1", "Conv2"):
                f[f"model_weights/{model}/{layer}/kernel:0"] = np.full(3, number)
    same_names = "two of its models have layers of the same names: save one of them alone"
    with pytest.raises(WeightsError, match=same_names):
        pretrained.load(tmp_path / "w.h5", "mobilenetv2")
    out = io.BytesIO()
    with h5py.File(out, "w") as f:
        for number, model in enumerate(("teacher", "student")):
            f[f"layers/{model}/layers/conv2d/vars/0"] = np.full(3, number)
            f[f"layers/{model}/layers/conv2d/vars"].attrs["name"] = "Conv1"
    (tmp_path / "w.weights.h5").write_bytes(out.getvalue())
    with pytest.raises(WeightsError, match=same_names):
        pretrained.load(tmp_path / "w.weights.h5", "mobilenetv2")


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("pytorch_model.bin", "if PyTorch wrote it, rename it to .pth"),
        ("weights.npy", "write its arrays by numpy.savez"),
        ("weights.npz.gz", "unpack it first"),
        ("model.onnx", "save the model's state dict as .safetensors"),
    ],
)
def test_another_suffix_is_told_with_what_to_do(tmp_path, name, remedy):
    (tmp_path / name).touch()
    with pytest.raises(WeightsError, match=f"suffix that no reader of weights knows; .*{remedy}"):
        pretrained.load(str(tmp_path / name), "vgg16")


@pytest.mark.parametrize("name", ["W.PTH", "w.Pth.TAR", "W.CKPT", "W.SAFETENSORS", "W.NPZ"])
def test_a_suffix_in_capitals_is_known(torch, resnet, keras, tmp_path, name):
    path, arrays = tmp_path / name, {n: tensor.numpy() for n, tensor in resnet[0].items()}
    if name == "W.NPZ":
        path.write_bytes(keras[1])
        assert pretrained.recognise(path) == "mobilenetv2"
        return
    if name == "W.SAFETENSORS":
        safetensors.numpy.save_file(arrays, path)
    else:
        torch.save(resnet[0], path)
    same(pretrained.load(path, "resnet50"), resnet[1])


def test_an_address_is_not_called_missing():
    with pytest.raises(WeightsError, match="are an address: download the file and name it here"):
        pretrained.load("https://example.org/resnet50-0676ba61.pth", "resnet50")


def test_a_folder_is_not_called_missing(tmp_path, monkeypatch):
    (tmp_path / "runs/mine").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)  # where the path has the form of a hub id
    with pytest.raises(
        WeightsError, match="runs/mine are a folder: name the file of weights in it"
    ):
        pretrained.load("runs/mine", "vgg16")
