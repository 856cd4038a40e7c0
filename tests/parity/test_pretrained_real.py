"""The real ImageNet weights beside the repository, against PyTorch and on real images."""

import csv

import jax
import numpy as np
import pytest
from PIL import Image

from configs import base
from vprjax import models
from vprjax.weights import pretrained

torch = pytest.importorskip("torch")
import tests.parity.torch_backbones as tb  # noqa: E402

MOBILENET = "weights/mobilenetv2_1.00_224_imagenet_notop.npz"
VGG = "weights/vgg16_imagenet_block1-3_only.npz"


def corridor(real, folder, size, every=1):
    files = sorted((real / "corridor" / folder).glob("*.jpg"))[::every]
    resized = [Image.open(f).convert("RGB").resize(size, Image.Resampling.BICUBIC) for f in files]
    return np.stack([np.asarray(image) for image in resized])


def describe(real, weights, backbone, images, stage="", partial=False):
    c = base.get_config().model
    c.update({"backbone": backbone, "stage": stage})
    module = models.build(c)
    shapes = jax.eval_shape(module.init, jax.random.key(0), images[:1])
    loaded = pretrained.load(real / weights, backbone, partial=partial)
    variables = pretrained.insert(shapes, loaded)
    f = jax.jit(lambda x: module.apply(variables, x, method="features"))
    return np.concatenate([f(images[i : i + 37]) for i in range(0, len(images), 37)])


def fill(network, real, weights):
    with np.load(real / weights) as arrays, torch.no_grad():
        for name, m in network.named_children():
            if isinstance(m, torch.nn.Conv2d):
                kernel = "depthwise_kernel" if m.groups > 1 else "kernel"
                order = (2, 3, 0, 1) if m.groups > 1 else (3, 2, 0, 1)
                array = arrays[f"{name}/{kernel}"].transpose(order)
                m.weight.copy_(torch.tensor(array))
                if m.bias is not None:
                    m.bias.copy_(torch.tensor(arrays[f"{name}/bias"]))
            else:
                m.weight.copy_(torch.tensor(arrays[f"{name}/gamma"]))
                m.bias.copy_(torch.tensor(arrays[f"{name}/beta"]))
                m.running_mean.copy_(torch.tensor(arrays[f"{name}/moving_mean"]))
                m.running_var.copy_(torch.tensor(arrays[f"{name}/moving_variance"]))
    return network.eval()


def run_torch(network, x):
    with torch.no_grad():
        y = network(
            torch.tensor(np.ascontiguousarray(x.transpose(0, 3, 1, 2)), dtype=torch.float32)
        )
    return y.numpy().transpose(0, 2, 3, 1)


def test_mobilenetv2_matches_pytorch_and_finds_the_corridor(shared_real):
    """DATA.md: matching the flattened 5x5x1280 maps of 160-pixel images finds about .649.

    Its resizing is not stated and moves the figure (.53 to .63 here, PyTorch alike); bicubic gives
    66 of 111.
    """
    queries, references = (corridor(shared_real, d, (160, 160)) for d in ("query", "ref"))
    network = fill(tb.KerasMobileNetV2(), shared_real, MOBILENET)
    with open(shared_real / "corridor/ground_truth.csv", newline="") as f:
        accepted = {(int(r["query"]), int(r["reference"])) for r in csv.DictReader(f)}

    both = np.concatenate([queries, references])
    q, r = np.split(describe(shared_real, MOBILENET, "mobilenetv2", both), 2)
    assert q.shape == (111, 5, 5, 1280)
    expected = run_torch(network, queries[::20] / 127.5 - 1)
    assert np.linalg.norm(q[::20] - expected) <= 1e-4 * np.linalg.norm(expected)

    q, r = (
        f.reshape(111, -1) / np.linalg.norm(f.reshape(111, -1), axis=1)[:, None] for f in (q, r)
    )
    found = [(i, int(j)) in accepted for i, j in enumerate((q @ r.T).argmax(1))]
    assert abs(sum(found) - 66) <= 2


def test_partial_vgg16_matches_pytorch(shared_real):
    images = corridor(shared_real, "query", (51, 37), every=30)
    f = describe(shared_real, VGG, "vgg16", images, stage="conv3", partial=True)
    names = ("block1_conv1", "block1_conv2", "block2_conv1", "block2_conv2", "block3_conv1")
    names += ("block3_conv2", "block3_conv3")
    network = tb.VGG16()
    network.features = network.features[:16]
    convs = [m for m in network.features if isinstance(m, torch.nn.Conv2d)]
    fill(torch.nn.ModuleDict(dict(zip(names, convs, strict=True))), shared_real, VGG)
    bgr = images[..., ::-1] - np.array([103.939, 116.779, 123.68])
    expected = run_torch(network, bgr)
    assert f.shape == (4, 9, 12, 256)
    assert np.linalg.norm(f - expected) <= 1e-4 * np.linalg.norm(expected)
