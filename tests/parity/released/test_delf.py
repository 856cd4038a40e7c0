"""DELF: TF-slim's ResNet50 and the attention against PyTorch, from a SavedModel's variables."""

import jax
import numpy as np
import pytest

import vprjax
from tests.helpers import raw_bundle
from vprjax import models
from vprjax.models.heads.delf import DELF
from vprjax.weights import catalogue, pretrained

torch = pytest.importorskip("torch")
import torch.nn.functional as F  # noqa: E402

WIDTHS, UNITS = (64, 128, 256), (3, 4, 6)
EPSILON = 1e-5
HIDDEN = 512


def variables(seed=0):
    """TF-slim's names and layout, random values."""
    rng, found = np.random.default_rng(seed), {}

    def conv(scope, size, c, d, gain=2.0, norm=True):
        std = (gain / (size * size * c)) ** 0.5
        found[f"{scope}/weights"] = rng.normal(0, std, (size, size, c, d))
        if norm:
            found[f"{scope}/BatchNorm/gamma"] = rng.uniform(0.6, 1.0, d)
            found[f"{scope}/BatchNorm/beta"] = rng.normal(0, 0.1, d)
            found[f"{scope}/BatchNorm/moving_mean"] = rng.normal(0, 0.1, d)
            found[f"{scope}/BatchNorm/moving_variance"] = rng.uniform(0.7, 1.3, d)
        else:
            found[f"{scope}/biases"] = rng.normal(0, 0.1, d)

    conv("resnet_v1_50/conv1", 7, 3, 64)
    c = 64
    for block, (width, units) in enumerate(zip(WIDTHS, UNITS, strict=True), 1):
        for unit in range(1, units + 1):
            scope = f"resnet_v1_50/block{block}/unit_{unit}/bottleneck_v1"
            if unit == 1:
                conv(f"{scope}/shortcut", 1, c, 4 * width, 1.0)
            conv(f"{scope}/conv1", 1, c, width)
            conv(f"{scope}/conv2", 3, width, width)
            conv(f"{scope}/conv3", 1, width, 4 * width, 0.2)
            c = 4 * width
    scope = "attention_block/attention/compute"
    conv(f"{scope}/conv1", 1, 1024, HIDDEN)
    conv(f"{scope}/conv2", 1, HIDDEN, 1, norm=False)
    found["attention_block/logits/biases"] = rng.normal(size=4)  # of the classifier
    found = {name: array.astype(np.float32) for name, array in found.items()}
    return found | {"global_step": np.array(1, np.int64)}


class Torch:
    """The network in PyTorch, in float32, from the definition of TF-slim's resnet_v1."""

    def __init__(self, arrays):
        self.arrays = {name: torch.tensor(array) for name, array in arrays.items()}

    def conv(self, x, scope, stride=1):
        weight = self.arrays[f"{scope}/weights"].permute(3, 2, 0, 1)
        x = F.conv2d(x, weight, stride=stride, padding=weight.shape[2] // 2)
        if f"{scope}/biases" in self.arrays:
            return x + self.arrays[f"{scope}/biases"][:, None, None]
        norm = (
            self.arrays[f"{scope}/BatchNorm/{leaf}"]
            for leaf in ("moving_mean", "moving_variance", "gamma", "beta")
        )
        return F.batch_norm(x, *norm, eps=EPSILON)

    def features(self, x):
        """The maps of the stem and of every stage."""
        x = F.relu(self.conv(x, "resnet_v1_50/conv1", 2))
        found = [x]
        h, w = x.shape[2:]
        # SAME in TensorFlow: what is missing on both sides, the odd one at the end.
        pads = [max((-(-n // 2) - 1) * 2 + 3 - n, 0) for n in (h, w)]
        (top, left), (down, right) = [p // 2 for p in pads], [p - p // 2 for p in pads]
        x = F.max_pool2d(F.pad(x, (left, right, top, down), value=-torch.inf), 3, 2)
        for block, units in enumerate(UNITS, 1):
            for unit in range(1, units + 1):
                scope, stride = f"resnet_v1_50/block{block}/unit_{unit}/bottleneck_v1", 1
                if unit == units:
                    stride = 2
                y = F.relu(self.conv(x, f"{scope}/conv1"))
                y = F.relu(self.conv(y, f"{scope}/conv2", stride))
                y = self.conv(y, f"{scope}/conv3")
                if unit == 1:
                    x = self.conv(x, f"{scope}/shortcut", stride)
                else:
                    x = F.max_pool2d(x, 1, stride)
                x = F.relu(x + y)
            found.append(x)
        return found

    def delf(self, x):
        scope = "attention_block/attention/compute"
        y = self.conv(F.relu(self.conv(x, f"{scope}/conv1")), f"{scope}/conv2")
        found = (F.normalize(x, dim=1) * F.softplus(y)).mean(dim=(2, 3))
        return F.normalize(found, dim=1)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    arrays = variables()
    folder = tmp_path_factory.mktemp("delf") / "delf_gld_20190411/variables"
    return Torch(arrays), raw_bundle.write(folder, arrays)


def error(found, wanted):
    found, wanted = np.asarray(found, np.float64), np.asarray(wanted, np.float64)
    assert found.shape == wanted.shape
    return np.linalg.norm(found - wanted) / np.linalg.norm(wanted)


def test_every_stage_and_the_descriptor(saved):
    """101 x 96 pixels: both paddings of the pool, 51 -> 26 and 48 -> 24, and odd sides behind."""
    network, index = saved
    x = np.random.default_rng(1).integers(0, 256, (2, 101, 96, 3), np.uint8)
    scaled = torch.tensor((x.astype(np.float32).transpose(0, 3, 1, 2) - 128) / 128)
    wanted = network.features(scaled)
    assert [tuple(stage.shape[2:]) for stage in wanted] == [(51, 48), (13, 12), (7, 6), (4, 3)]
    trees = pretrained.load(str(index), "resnet50_slim")
    trees.pop("preprocess")

    @jax.jit
    def stages(trees, x):
        x = (x.astype(np.float32) - 128) / 128
        names = list(models.BACKBONES["resnet50_slim"].stages)
        return [models.backbone("resnet50_slim", name).apply(trees, x) for name in names]

    for found, stage in zip(stages(trees, x), wanted, strict=True):
        assert error(found, stage.numpy().transpose(0, 2, 3, 1)) <= 1e-5
    model = vprjax.load(index, size=(101, 96))
    found = model.describe(list(x))
    assert error(found, network.delf(wanted[-1]).numpy()) <= 1e-5
    facts = catalogue.describe(str(index))
    assert facts["released_as"] == ["delf_gld", "delf_v1"] and facts["dimension"] == 1024
    assert round(facts["parameters"] / 1e6, 1) == 9.1
    assert facts["unused"] == ["attention_block/logits/biases", "global_step"]


def test_the_heads_gradients_are_pytorchs():
    rng, c = np.random.default_rng(2), 6
    x = np.maximum(rng.normal(0.2, 1, (2, 3, 4, c)), 0).astype(np.float32)
    x[..., 0] += 0.1  # PyTorch's gradient at a zero vector is 1e12
    values = {
        "conv1": {"kernel": rng.normal(size=(c, 5)), "bias": rng.normal(size=5)},
        "conv2": {"kernel": rng.normal(size=(5, 1)), "bias": rng.normal(size=1)},
    }
    values = jax.tree.map(lambda a: a.astype(np.float32), values)
    cotangent = rng.normal(size=(2, c)).astype(np.float32)

    @jax.jit
    def run(values, x):
        def projected(values, x):
            found = DELF(5).apply({"params": {"attention": values}}, x)
            return (found * cotangent).sum()

        return jax.value_and_grad(projected, argnums=(0, 1))(values, x)

    value, (ours, ours_x) = run(values, x)
    tensors = jax.tree.map(lambda a: torch.tensor(a, requires_grad=True), values)
    tx = torch.tensor(x, requires_grad=True)
    y = F.relu(tx @ tensors["conv1"]["kernel"] + tensors["conv1"]["bias"])
    a = F.softplus(y @ tensors["conv2"]["kernel"] + tensors["conv2"]["bias"])
    wanted = ((F.normalize(tx, dim=3) * a).sum(dim=(1, 2)) * torch.tensor(cotangent)).sum()
    wanted.backward()
    assert error(value, wanted.item()) <= 1e-5
    assert error(ours_x, tx.grad.numpy()) <= 1e-4
    for layer, leaf in (
        ("conv1", "kernel"),
        ("conv1", "bias"),
        ("conv2", "kernel"),
        ("conv2", "bias"),
    ):
        assert error(ours[layer][leaf], tensors[layer][leaf].grad.numpy()) <= 1e-4
