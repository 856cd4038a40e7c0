"""ResNet50 as TF-slim has it: each stage strides in its last block, not in its first.

Its weights are those of DELF (Noh et al. 2017), which ends at conv4, with a map of 1/32 of the image. A
SavedModel's `variables.index` names them.
"""

import functools

import jax
from flax import linen as nn

from vprjax.models.backbones.layers import Conv, Layers
from vprjax.models.backbones.resnet50 import BLOCKS
from vprjax.models.backbones.variant import Backbone, Path, Source

STAGES = ("conv1", "conv2", "conv3", "conv4")
GROUPS = {"conv1": ("conv1",)} | {
    stage: tuple(f"{stage}_{i + 1}" for i in range(count))
    for stage, count in zip(STAGES[1:], BLOCKS[:3], strict=True)
}
EPSILON = 1e-5
SCALING = {"mean": (128.0,) * 3, "std": (128.0,) * 3}  # of DELF


class SlimBottleneck(nn.Module):
    """`relu(shortcut(x) + branch(x))`, branch 1x1 -> 3x3 with the stride -> 1x1.

    A shortcut of the same width takes every `stride`-th position.
    """

    channels: int
    stride: int
    project: bool
    branch_scale: float
    layers: Layers

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Returns the block's output, `(b, h, w, 4 * channels)`."""
        norm = functools.partial(self.layers.conv_norm, train=train, epsilon=EPSILON)
        y = nn.relu(norm(x, ("conv1", "norm1"), Conv(self.channels, 1)))
        y = nn.relu(norm(y, ("conv2", "norm2"), Conv(self.channels, 3, self.stride)))
        if self.project:
            shape = Conv(4 * self.channels, 1, self.stride)
            x = norm(x, ("shortcut", "shortcut_norm"), shape)
        else:
            x = x[:, :: self.stride, :: self.stride]
        last = Conv(4 * self.channels, 1)
        return norm(y, ("conv3", "norm3"), last, scale=self.branch_scale, onto=x)


class SlimResNet(nn.Module):
    """`(b, h, w, 3) -> (b, ~h/32, ~w/32, 1024)` at conv4; each stride-2 step rounds up.

    The module creates no layers behind `stage`. No gradient passes the input of `train_from`, and the
    BatchNorm statistics in front of it never change.
    """

    stage: str = STAGES[-1]
    train_from: str = ""
    layers: Layers = Layers()

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """Returns the map of `stage`; `train` matters only where BatchNorm trains."""
        return self.layers.stages(self, STAGES, _stage, x, train)


def _stage(net: SlimResNet, x: jax.Array, name: str, train: bool) -> jax.Array:
    if name == "conv1":
        return _Stem(net.layers, name="conv1")(x, train)
    if name == "conv2":
        sides = tuple(_same(n) for n in x.shape[1:3])
        x = net.layers.max_pool(x, (3, 3), strides=(2, 2), padding=sides)
    channels, scale = 32 * 2 ** STAGES.index(name), sum(BLOCKS[:3]) ** -0.5
    groups = GROUPS[name]
    for i, block in enumerate(groups):
        stride = 2 if i == len(groups) - 1 else 1
        rest = (stride, i == 0, scale, net.layers)
        x = SlimBottleneck(channels, *rest, name=block)(x, train)
    return x


def _same(n: int) -> tuple[int, int]:
    """TensorFlow's SAME of a 3x3 window in steps of 2: (0, 1) for even sides, (1, 1) for odd ones."""
    return (n % 2, 1)


class _Stem(nn.Module):
    layers: Layers

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        shape, names = Conv(64, 7, 2), ("conv", "norm")
        return nn.relu(self.layers.conv_norm(x, names, shape, train=train, epsilon=EPSILON))


_LEAVES = {
    "kernel": "weights",
    "scale": "BatchNorm/gamma",
    "bias": "BatchNorm/beta",
    "mean": "BatchNorm/moving_mean",
    "var": "BatchNorm/moving_variance",
}


def slim_name(path: Path) -> str:
    """Returns the name of a variable in a SavedModel of TF-slim."""
    _, group, layer, leaf = path
    if group == "conv1":
        return f"resnet_v1_50/conv1/{_LEAVES[leaf]}"
    stage, _, block = group.removeprefix("conv").partition("_")
    layer = layer.removesuffix("_norm").replace("norm", "conv")
    unit = f"resnet_v1_50/block{int(stage) - 1}/unit_{block}/bottleneck_v1"
    return f"{unit}/{layer}/{_LEAVES[leaf]}"


BACKBONE = Backbone(
    title="ResNet50 (slim)",
    module=SlimResNet,
    stages=GROUPS,
    batch_norm=True,
    sources={
        "tensorflow": Source(
            slim_name,
            SCALING,
            head=r"global_step|resnet_v1_50/(block4|logits)/.*|attention_block/.*",
        )
    },
    refused={
        "torch": "torchvision strides in each stage's first block; use backbone resnet50",
        "keras": "Keras strides in each stage's first block; use backbone resnet50_v1",
    },
    cut_for={64: "conv3", 48: "conv2"},
)
