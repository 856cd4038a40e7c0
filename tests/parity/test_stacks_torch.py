"""AlexNet, CaffeNet, HybridNet and OverFeat, layer by layer against PyTorch, through their own files."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from configs import base
from tests.helpers import raw_caffe
from vprjax import models
from vprjax.models import backbones
from vprjax.models.backbones import alexnet_caffe, caffe, hybridnet, overfeat, stack
from vprjax.models.backbones import overfeat_accurate as accurate
from vprjax.models.backbones import overfeat_fast as fast
from vprjax.weights import names, pretrained

torch = pytest.importorskip("torch")
import tests.parity.torch_stacks as ts  # noqa: E402

TOLERANCE = 1e-5
MEAN, STD = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])
BGR = np.array([104.00698793, 116.66876762, 122.67891434])


def images(b, h, w, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (b, h, w, 3), np.uint8)


def as_torch(x):
    return torch.tensor(np.ascontiguousarray(x.transpose(0, 3, 1, 2)), dtype=torch.float32)


def error(found, wanted):
    found, wanted = np.asarray(found, np.float64), np.asarray(wanted, np.float64)
    assert found.shape == wanted.shape
    return np.linalg.norm(found - wanted) / np.linalg.norm(wanted)


def descriptor(backbone, stage=""):
    c = base.get_config().model
    c.update(backbone=backbone, pooling="spoc", stage=stage)
    return models.build(c)


def loaded(module, backbone, path, size):
    shapes = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, *size, 3), jnp.uint8))
    return pretrained.insert(shapes, pretrained.load(str(path), backbone))


def check(backbone, path, x, wanted):
    """Every convolution before its ReLU, and the last map behind it."""
    module = descriptor(backbone)
    variables = loaded(module, backbone, path, x.shape[1:3])

    @jax.jit
    def run(variables, x):
        return module.apply(
            variables,
            x,
            method="features",
            mutable=["intermediates"],
            capture_intermediates=lambda m, _: isinstance(m, nn.Conv),
        )

    last, seen = run(variables, x)
    outputs = {name: of["__call__"][0] for name, of in seen["intermediates"]["backbone"].items()}
    steps = [step.name for step in module.backbone.steps]
    assert list(outputs) == steps or sorted(outputs) == sorted(steps)
    for step, output in zip(steps, wanted, strict=True):
        output = output.detach().numpy().transpose(0, 2, 3, 1)
        assert error(outputs[step], output) <= TOLERANCE, step
    assert error(last, np.maximum(output, 0)) <= TOLERANCE


def test_alexnet_of_torchvision(tmp_path):
    network, x = ts.randomise(ts.AlexNet()), images(2, 95, 71)
    state = {**network.state_dict(), "classifier.1.weight": torch.ones(2, 3)}
    torch.save(state, tmp_path / "alexnet-owt-7be5be79.pth")
    wanted = network(as_torch((x - MEAN) / STD))
    check("alexnet", tmp_path / "alexnet-owt-7be5be79.pth", x, wanted)


def write_caffe(path, network, between, old, **more):
    state = {name: p.detach().numpy() for name, p in network.named_parameters()}
    path.write_bytes(raw_caffe.caffemodel(raw_caffe.layers_of(state, between) | more, old=old))
    return path


WIDTHS = (96, 256, 384, 384, 256)
BETWEEN = {"alexnet_caffe": ("norm1", "pool1"), "caffenet": ("pool1", "norm1")}


@pytest.mark.parametrize(("backbone", "old"), [("alexnet_caffe", False), ("caffenet", True)])
def test_the_grouped_networks(tmp_path, backbone, old):
    """At 95 x 83 pixels Caffe's pooling keeps a window that ends outside: 22 x 19, 11 x 9, 5 x 4."""
    network = ts.randomise(ts.Caffe(WIDTHS, pools_first=backbone == "caffenet"))
    x, classifier = images(2, 95, 83), [np.ones((3, 4), np.float32)]
    path = write_caffe(tmp_path / "a.caffemodel", network, BETWEEN[backbone], old, fc8=classifier)
    wanted = network(as_torch(x[..., ::-1] - BGR))
    assert wanted[1].shape[2:] == (11, 9) and wanted[2].shape[2:] == (5, 4)
    check(backbone, path, x, wanted)


def narrow(steps, by=16):
    """The same network with fewer channels: full ones of the fully connected layers take 580 MB."""
    return tuple(
        dataclasses.replace(s, conv=dataclasses.replace(s.conv, features=s.conv.features // by))
        for s in steps
    )


def replaced(monkeypatch, name, backbone):
    names.shapes.cache_clear()
    monkeypatch.setitem(backbones.BACKBONES, name, backbone)


def test_hybridnet(tmp_path, monkeypatch):
    steps = narrow(hybridnet.STEPS)
    widths = [step.conv.features for step in steps]
    own = hybridnet.BACKBONE
    prepare = functools.partial(
        caffe.prepare, pools_first=True, fully={"fc7_new": (widths[5], 6, 6)}
    )
    source = dataclasses.replace(own.sources["caffe"], prepare=prepare)
    module = functools.partial(stack.Stack, steps)
    other = dataclasses.replace(own, module=module, sources={"caffe": source})
    replaced(monkeypatch, "hybridnet", other)
    network, x = ts.randomise(ts.Caffe(widths, pools_first=True)), images(2, 227, 227)
    path = write_caffe(tmp_path / "HybridNet.caffemodel", network, ("pool1", "norm1"), old=False)
    check("hybridnet", path, x, network(as_torch(x[..., ::-1] - BGR)))


@pytest.mark.parametrize(
    ("name", "steps", "side", "shapes", "file"),
    [
        ("overfeat_fast", fast.STEPS, 231, ts.OverFeat.FAST, "net_weight_0"),
        ("overfeat_accurate", accurate.STEPS, 221, ts.OverFeat.ACCURATE, "net_weight_1"),
    ],
)
def test_overfeat(tmp_path, monkeypatch, name, steps, side, shapes, file):
    steps = narrow(steps)
    replaced(monkeypatch, name, overfeat.declare("narrow", steps, {}))
    network = ts.randomise(ts.OverFeat([step.conv.features for step in steps], shapes))
    classifier = np.zeros(overfeat.CLASSES * (steps[-1].conv.features + 1))
    parts = [p.detach().numpy().ravel() for p in network.parameters()]
    np.concatenate([*parts, classifier]).astype("<f4").tofile(tmp_path / file)
    x = images(2, side, side)
    wanted = network(as_torch((x - 118.380948) / 61.896913))
    assert wanted[-1].shape[2:] == (1, 1)
    check(name, tmp_path / file, x, wanted)


def test_gradients_pass_the_response_and_the_last_windows():
    steps = narrow(alexnet_caffe.STEPS[:3])
    network = ts.randomise(ts.Caffe([s.conv.features for s in steps], pools_first=False), 3)
    x = 60 * np.random.default_rng(2).normal(size=(2, 95, 83, 3)).astype(np.float32)
    wanted = network(as_torch(x))[-1]
    cotangent = np.random.default_rng(1).normal(size=wanted.shape).astype(np.float32)
    wanted.backward(torch.tensor(cotangent))
    module = stack.Stack(steps, stage="conv3_linear")
    kernels = {
        name: {
            "kernel": layer.weight.detach().numpy().transpose(2, 3, 1, 0),
            "bias": layer.bias.detach().numpy(),
        }
        for name, layer in network.named_children()
    }

    @jax.jit
    def gradients(params):
        def projected(params):
            return jnp.sum(module.apply({"params": params}, x) * cotangent.transpose(0, 2, 3, 1))

        return jax.grad(projected)(params)

    found = gradients(kernels)
    for name, layer in network.named_children():
        kernel = layer.weight.grad.numpy().transpose(2, 3, 1, 0)
        assert error(found[name]["kernel"], kernel) <= 1e-4, name
        assert error(found[name]["bias"], layer.bias.grad.numpy()) <= 1e-4, name
