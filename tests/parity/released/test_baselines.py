"""Classifiers' networks as descriptors, from their own files: AlexNet conv3, AMOSNet, OverFeat."""

import pathlib

import numpy as np
import pytest

import vprjax
from configs import base
from tests.helpers import raw_caffe
from vprjax.models.backbones import overfeat, overfeat_accurate, overfeat_fast
from vprjax.weights import catalogue
from vprjax.weights.released import load

torch = pytest.importorskip("torch")
import tests.parity.torch_stacks as ts  # noqa: E402

MEAN, STD = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])
BGR = np.array([104.00698793, 116.66876762, 122.67891434])


def images(side):
    rng = np.random.default_rng(0)
    grey = np.full((side, side, 3), 90, np.uint8)  # of one colour
    return np.stack([rng.integers(0, 256, (side, side, 3), np.uint8), grey])


def as_torch(x):
    return torch.tensor(np.ascontiguousarray(x.transpose(0, 3, 1, 2)), dtype=torch.float32)


def check(path, x, wanted):
    """`vprjax.load` describes pictures of the family's own size as PyTorch does."""
    wanted = wanted.detach().numpy().astype(np.float64)
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    model = vprjax.load(path)
    found = model.describe(list(x))
    assert model.dimension == found.shape[1] == wanted.shape[1]
    np.testing.assert_allclose(np.linalg.norm(found - wanted, axis=1), 0, atol=1e-5)


@pytest.fixture(scope="module")
def alexnet(tmp_path_factory):
    network = ts.randomise(ts.AlexNet())
    path = tmp_path_factory.mktemp("alexnet") / "alexnet-owt-7be5be79.pth"
    torch.save({**network.state_dict(), "classifier.6.bias": torch.ones(3)}, path)
    return network, path


def test_alexnets_conv3_before_its_relu(alexnet):
    network, path = alexnet
    x = images(224)
    wanted = network(as_torch((x - MEAN) / STD))[2]
    assert wanted.shape[1:] == (384, 13, 13)
    check(path, x, wanted.flatten(1))
    facts = catalogue.describe(str(path))
    assert facts["released_as"] == ["alexnet_conv3"] and facts["dimension"] == 64_896
    assert facts["architecture"] == "AlexNet, conv3_linear, flat map"
    assert facts["normalised"] == ["pooled"]


def caffe(path, between, **more):
    widths = (96, 256, 384, 384, 256, 256) if "conv6" in more else (96, 256, 384, 384, 256)
    more.pop("conv6", None)
    network = ts.randomise(ts.Caffe(widths, pools_first=between[0] == "pool1"))
    state = {name: p.detach().numpy() for name, p in network.named_parameters()}
    layers = raw_caffe.layers_of(state, between) | more
    path.write_bytes(raw_caffe.caffemodel(layers, old=True))
    return network


SMALL = [np.ones((3, 4), np.float32), np.ones(3, np.float32)]  # a layer that no descriptor needs


@pytest.mark.parametrize(
    ("between", "name"),
    [(("norm1", "pool1"), "alexnet_caffe_conv3"), (("pool1", "norm1"), "caffenet_conv3")],
)
def test_the_grouped_networks_conv3(tmp_path, between, name):
    path, x = tmp_path / "a.caffemodel", images(227)
    network = caffe(path, between, fc6=SMALL, fc7=SMALL, fc8=SMALL)
    wanted = network(as_torch(x[..., ::-1] - BGR))[2].relu()
    assert wanted.shape[1:] == (384, 13, 13)
    check(path, x, wanted.flatten(1))
    assert catalogue.describe(str(path))["released_as"] == [name]


def test_amosnets_pyramid_of_conv5(tmp_path):
    path, x = tmp_path / "AmosNet.caffemodel", images(227)
    network = caffe(path, ("pool1", "norm1"), conv6=True, fc7_new=SMALL, fc8_new=SMALL)
    conv5 = network(as_torch(x[..., ::-1] - BGR))[4].relu()
    sides = (torch.nn.functional.adaptive_max_pool2d(conv5, s).flatten(2) for s in (1, 2, 3, 4))
    check(path, x, torch.cat(list(sides), dim=2).flatten(1))
    assert catalogue.describe(str(path))["released_as"] == ["amosnet", "hybridnet"]


@pytest.mark.parametrize(
    ("name", "steps"),
    [("overfeat_fast", overfeat_fast.STEPS), ("overfeat_accurate", overfeat_accurate.STEPS)],
)
def test_overfeats_numbers_tell_the_network(name, steps):
    count = overfeat.numbers(steps)
    raw = {overfeat.raw_name(count): np.broadcast_to(np.float32(0.5), (count,))}
    found = load.find(pathlib.Path("net_weight_0"), raw)
    assert (found.family, found.config.backbone, load.dimension(found)) == (name, name, 4096)
    assert found.unused == ("classifier.bias", "classifier.weight")
    assert load.find(pathlib.Path("net_weight_0"), {overfeat.raw_name(7): np.zeros(7)}) is None


def test_a_config_that_needs_later_layers_reads_the_whole_network(alexnet):
    """The file gives conv3 as a method, and every layer as a backbone."""
    found = load.read(str(alexnet[1]))
    c = base.get_config().model
    for stage, lacks in (("conv2", False), ("conv3", False), ("conv4_linear", True), ("", True)):
        c.update(backbone="alexnet", stage=stage)
        assert load.lacks_layers(found, c) is lacks, stage
    c.update(backbone="vgg16", stage="")
    assert not load.lacks_layers(found, c)  # whose error names both backbones
