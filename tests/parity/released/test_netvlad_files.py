"""Files of projects around NetVLAD, each written in its own layout from one network of random values."""

import jax
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.helpers import goldens, matconvnet
from vprjax import models
from vprjax.errors import WeightsError
from vprjax.models.backbones.sources import CAFFE, IMAGENET
from vprjax.weights.released import FAMILIES, load

CHANNELS = (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512)
K, D = 4, 6  # clusters, dimensions of a projection


@pytest.fixture(scope="module")
def network():
    """Number in torchvision's `features`, or part of the head -> torch arrays."""
    rng, number, c, found = np.random.default_rng(0), 0, 3, {}
    for d in CHANNELS:
        if d != "M":
            kernel = rng.standard_normal((d, c, 3, 3), np.float32) * (2 / (9 * c)) ** 0.5
            found[number] = kernel, 0.1 * rng.standard_normal(d, np.float32)
            c = d
        number += 1 if d == "M" else 2
    found["pool"] = (
        8 * rng.standard_normal((K, 512), np.float32),
        0.3 * rng.standard_normal((K, 512), np.float32) / 512**0.5,
    )
    found["linear"] = (
        rng.standard_normal((D, K * 512), np.float32),
        rng.standard_normal(D, np.float32),
    )
    return found


def _state(network, encoder, pool="", linear=""):
    """The state dict under a project's names; a part without a name is left out."""
    numbers = [n for n in network if isinstance(n, int)]
    state = {f"{encoder}.{n}.weight": network[n][0] for n in numbers}
    state |= {f"{encoder}.{n}.bias": network[n][1] for n in numbers}
    if pool:
        state[f"{pool}.conv.weight"] = network["pool"][0][:, :, None, None]
        state[f"{pool}.centroids"] = network["pool"][1]
    if linear:
        state[f"{linear}.weight"], state[f"{linear}.bias"] = network["linear"]
    return state


def _tensors(state):
    return {name: torch.from_numpy(np.array(array)) for name, array in state.items()}


def _nanne(network, folder, encoder="encoder", pool="pool"):
    """As pytorch-NetVlad saves it: NumPy's numbers and an optimizer's tensors beside the weights."""
    state = _tensors(_state(network, encoder, pool))
    recalls = {1: np.float64(0.8), 5: np.float64(0.9)}
    slots = {0: {"momentum_buffer": torch.ones(3)}}
    optimizer = {"state": slots, "param_groups": [{"lr": 0.1}]}
    beside = {"epoch": 3, "recalls": recalls, "best_score": recalls[5], "parallel": True}
    file = folder / "checkpoint.pth.tar"
    torch.save({**beside, "state_dict": state, "optimizer": optimizer}, file)
    return file


def _patch(network, folder):
    state = _state(network, "encoder", "pool", "WPCA.0")
    state["WPCA.0.weight"] = state["WPCA.0.weight"][:, :, None, None]
    return goldens.write_torch(state, folder / "pitts_WPCA6.pth.tar", "state_dict")


def _openibl(network, folder):
    state = _state(network, "base_model.base", "net_vlad", "pca_layer")
    state["pca_layer.weight"] = state["pca_layer.weight"][:, :, None, None]
    return goldens.write_torch(state, folder / "vgg16_netvlad.pth")


def _openibl_trained(network, folder):
    state = _state(network, "module.base_model.base", "module.net_vlad")
    return goldens.write_torch(state, folder / "model_best.pth.tar", "state_dict")


def _dvgl(network, folder, pool="module.aggregation", linear=""):
    state = _tensors(_state(network, "module.backbone", pool, linear))
    beside = {"epoch_num": 3, "recalls": np.array([70.0, 90.0]), "best_r5": np.float64(90)}
    torch.save({**beside, "model_state_dict": state}, folder / "best_model.pth")
    return folder / "best_model.pth"


def _dvgl_gem(network, folder):
    state = {**_state(network, "backbone"), "aggregation.1.p": np.float32([2.5])}
    return goldens.write_torch(state, folder / "best_model.pth")


def _mat(network, folder, whitening=True):
    """Centres with minus, `(d, k)`; the rows of the whitening list channels first."""
    layers = {n: (w[0].transpose(2, 3, 1, 0), w[1]) for n, w in network.items() if n not in PARTS}
    weights, centers = network["pool"]
    layers[30] = weights.T, -centers.T
    if whitening:
        kernel = network["linear"][0].T.reshape(K, 512, D).swapaxes(0, 1).reshape(1, 1, -1, D)
        layers[33] = kernel, network["linear"][1]
    return matconvnet.write(folder / "Pitts30K_struct.mat", layers, CAFFE["mean"])


PARTS = ("pool", "linear")
FILES = {
    "pytorch_netvlad": _nanne,
    "pytorch_netvlad parallel": lambda n, f: _nanne(n, f, "encoder.module", "pool.module"),
    "patch_netvlad": _patch,
    "openibl": _openibl,
    "openibl trained": _openibl_trained,
    "dvgl": _dvgl,
    "dvgl linear": lambda n, f: _dvgl(n, f, "module.aggregation.0", "module.aggregation.1"),
    "dvgl gem": _dvgl_gem,
    "hloc_netvlad": _mat,
    "hloc_netvlad plain": lambda n, f: _mat(n, f, False),
}
PROJECTED = ("patch_netvlad", "openibl", "dvgl linear", "hloc_netvlad")


@pytest.mark.parametrize("case", FILES)
def test_every_layout_gives_the_same_variables(network, tmp_path, case):
    released = load.read(str(FILES[case](network, tmp_path)))
    assert released.family == case.partition(" ")[0]
    assert released.config.stage == "conv5_linear"
    params = released.variables["params"]
    assert len(params["backbone"]) == 13
    np.testing.assert_array_equal(
        params["backbone"]["conv3_2"]["kernel"], network[12][0].transpose(2, 3, 1, 0)
    )
    np.testing.assert_array_equal(params["backbone"]["conv5_3"]["bias"], network[28][1])
    if case == "dvgl gem":
        assert params["pooling"]["p"] == 2.5 and released.config.norms == ("local",)
    else:
        assert released.config.netvlad.clusters == K
        np.testing.assert_array_equal(params["pooling"]["weights"], network["pool"][0])
        np.testing.assert_array_equal(params["pooling"]["centers"], network["pool"][1])
        assert not params["pooling"]["biases"].any()
    assert ("projection" in params) == (case in PROJECTED)
    if case in PROJECTED:
        np.testing.assert_array_equal(params["projection"]["kernel"], network["linear"][0].T)
        np.testing.assert_array_equal(params["projection"]["bias"], network["linear"][1])
    caffe = case.startswith(("openibl", "hloc"))
    for name, value in (CAFFE if caffe else IMAGENET).items():
        np.testing.assert_allclose(released.variables["preprocess"][name], value, rtol=1e-6)
    order = "channels" if case == "hloc_netvlad plain" else "clusters"
    assert released.config.netvlad.order == order


def _reference(network, images, scaling, head):
    x = (torch.tensor(images).double() - torch.tensor(scaling["mean"])) / torch.tensor(
        scaling["std"]
    )
    x, number = x.permute(0, 3, 1, 2), 0
    for d in CHANNELS:
        if d == "M":
            x = F.max_pool2d(x, 2)
        else:
            kernel, bias = (torch.tensor(a).double() for a in network[number])
            x = F.conv2d(x, kernel, bias, padding=1)
            x = x if number == 28 else x.relu()
        number += 1 if d == "M" else 2
    local = F.normalize(x, dim=1).flatten(2)
    if head == "gem":
        return local.clamp(min=1e-6).pow(2.5).mean(2).pow(1 / 2.5).numpy()
    weights, centers = (torch.tensor(a).double() for a in network["pool"])
    shares = torch.einsum("kd,bdn->bkn", weights, local).softmax(1)
    v = ((local[:, None] - centers[None, :, :, None]) * shares[:, :, None]).sum(3)
    v = F.normalize(v, dim=2)
    if head == "channels":
        return F.normalize(v.transpose(1, 2).flatten(1), dim=1).numpy()
    kernel, bias = (torch.tensor(a).double() for a in network["linear"])
    return F.normalize(F.normalize(v.flatten(1), dim=1) @ kernel.T + bias, dim=1).numpy()


@pytest.mark.parametrize(
    ("case", "head", "scaling"),
    [
        ("hloc_netvlad", "linear", CAFFE),
        ("hloc_netvlad plain", "channels", CAFFE),
        ("dvgl gem", "gem", IMAGENET),
    ],
)
def test_descriptors_equal_the_formulas(network, tmp_path, case, head, scaling):
    images = np.random.default_rng(1).integers(0, 256, (2, 48, 80, 3), np.uint8)
    module, variables = load.load_released(str(FILES[case](network, tmp_path)))
    apply = jax.jit(module.apply)
    got, alone = apply(variables, images), apply(variables, images[:1])
    wanted = _reference(network, images, scaling, head)
    assert np.abs(got - wanted).max() <= 5e-6 * np.abs(wanted).max()
    np.testing.assert_allclose(alone, got[:1], rtol=0, atol=1e-6)


@pytest.mark.parametrize("family", sorted({case.partition(" ")[0] for case in FILES}))
def test_releases_tell_their_dimension_and_parameters(family):
    for release in FAMILIES[family].releases.values():
        module = models.build(load.section(release.model))
        image = jax.ShapeDtypeStruct((1, 64, 64, 3), np.float32)
        found, variables = jax.eval_shape(module.init_with_output, jax.random.key(0), image)
        assert found.shape == (1, release.dimension)
        millions = sum(a.size for a in jax.tree.leaves(variables["params"])) / 1e6
        assert abs(millions - release.parameters) <= 0.06


def test_a_cut_or_foreign_file_gets_one_sentence(network, tmp_path):
    state = _state(network, "encoder", "pool", "WPCA.0")
    cut = {n: a for n, a in state.items() if n not in ("encoder.0.bias", "pool.conv.weight")}
    file = goldens.write_torch(cut, tmp_path / "cut.pth")
    names = (
        r"2 arrays are missing \(encoder\.0\.bias, pool\.conv\.weight\) .* it has \S+, \S+, \.\.\."
    )
    with pytest.raises(WeightsError, match=rf"cut\.pth is no sound Patch-NetVLAD file: {names}"):
        load.read(str(file))
    state["pool.centroids"] = np.float32(1)
    file = goldens.write_torch(state, tmp_path / "scalar.pth")
    with pytest.raises(WeightsError, match=r"pool\.centroids has shape \(\), expected \(2, 512\)"):
        load.read(str(file))
    layers = {n: (w[0].transpose(2, 3, 1, 0), w[1]) for n, w in network.items() if n not in PARTS}
    layers[30] = network["pool"][0].T, network["pool"][1].T
    file = matconvnet.write(tmp_path / "grey.mat", layers, [120.0])
    with pytest.raises(WeightsError, match=r"1 arrays are missing \(net\.meta\.\S+averageImage\)"):
        load.read(str(file))
    file = matconvnet.write(tmp_path / "other.mat", {0: layers[0]}, CAFFE["mean"])
    with pytest.raises(
        WeightsError, match=r"other\.mat is no released model .* it has net\.layers"
    ):
        load.read(str(file))
