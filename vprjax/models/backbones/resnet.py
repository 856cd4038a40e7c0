"""ResNets (He et al. 2016): v1.5 as torchvision and timm have them, v1 as Keras has it."""

import functools

import jax
from flax import linen as nn

from vprjax.models.backbones.layers import Conv, Layers
from vprjax.models.backbones.sources import IMAGENET, torch_leaf
from vprjax.models.backbones.variant import Backbone, Path, Source

STAGE_NAMES = ("conv1", "conv2", "conv3", "conv4", "conv5")


def stages(blocks: tuple[int, int, int, int]) -> dict[str, tuple[str, ...]]:
    """Returns stage -> its parameter groups; a stage ends behind its last ReLU, conv1 before its pool."""
    counts = zip(STAGE_NAMES[1:], blocks, strict=True)
    return {"conv1": ("conv1",)} | {
        stage: tuple(f"{stage}_{i + 1}" for i in range(count)) for stage, count in counts
    }


class Bottleneck(nn.Module):
    """`relu(shortcut(x) + branch(x))`, branch 1x1 -> 3x3 -> 1x1; the output has 4 x channels.

    v1.5 (`v1=False`) strides in the 3x3; v1 strides in the first 1x1 and has biases.
    """

    channels: int
    stride: int
    project: bool
    branch_scale: float
    layers: Layers
    v1: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Returns the block's output, `(b, h, w, 4 * channels)`."""
        epsilon = 1.001e-5 if self.v1 else 1e-5
        strides = (self.stride, 1) if self.v1 else (1, self.stride)

        def conv_norm(x, i, features, size, stride, **more):
            names = ("shortcut", "shortcut_norm") if i == 0 else (f"conv{i}", f"norm{i}")
            shape = Conv(features, size, stride, bias=self.v1)
            return self.layers.conv_norm(x, names, shape, train=train, epsilon=epsilon, **more)

        y = nn.relu(conv_norm(x, 1, self.channels, 1, strides[0]))
        y = nn.relu(conv_norm(y, 2, self.channels, 3, strides[1]))
        if self.project:
            x = conv_norm(x, 0, 4 * self.channels, 1, self.stride)
        return conv_norm(y, 3, 4 * self.channels, 1, 1, scale=self.branch_scale, onto=x)


class BasicBlock(nn.Module):
    """`relu(shortcut(x) + branch(x))`, branch 3x3 -> 3x3; the output has `channels`."""

    channels: int
    stride: int
    project: bool
    branch_scale: float
    layers: Layers

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Returns the block's output, `(b, h, w, channels)`."""
        norm = functools.partial(self.layers.conv_norm, train=train, epsilon=1e-5)
        y = nn.relu(norm(x, ("conv1", "norm1"), Conv(self.channels, 3, self.stride)))
        if self.project:
            shape = Conv(self.channels, 1, self.stride)
            x = norm(x, ("shortcut", "shortcut_norm"), shape)
        return norm(y, ("conv2", "norm2"), Conv(self.channels, 3), scale=self.branch_scale, onto=x)


class ResNet(nn.Module):
    """`(b, h, w, 3) -> (b, ~h/32, ~w/32, c)` at conv5; each stride-2 step rounds up.

    `c` is 2048 of bottlenecks and 512 of basic blocks. The module creates no layers behind `stage`. No
    gradient passes the input of `train_from`, and the BatchNorm statistics in front of it never change.
    """

    blocks: tuple[int, int, int, int]
    stage: str = "conv5"
    train_from: str = ""
    layers: Layers = Layers()
    basic: bool = False
    v1: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """Returns the map of `stage`; `train` matters only where BatchNorm trains."""
        return self.layers.stages(self, STAGE_NAMES, _stage, x, train)


def _stage(resnet: ResNet, x: jax.Array, name: str, train: bool) -> jax.Array:
    if name == "conv1":
        return _Stem(resnet.v1, resnet.layers, name="conv1")(x, train)
    if name == "conv2":
        x = resnet.layers.max_pool(x, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))
    channels = 32 * 2 ** STAGE_NAMES.index(name)
    # Every residual branch starts this small, so that the sum over all blocks keeps its scale while
    # BatchNorm is the identity (Hanin & Rolnick 2018). Loaded weights replace it.
    scale = sum(resnet.blocks) ** -0.5
    for i, block in enumerate(stages(resnet.blocks)[name]):
        stride = 2 if i == 0 and name != "conv2" else 1
        rest = (scale, resnet.layers)
        if resnet.basic:
            project = i == 0 and name != "conv2"
            x = BasicBlock(channels, stride, project, *rest, name=block)(x, train)
        else:
            x = Bottleneck(channels, stride, i == 0, *rest, resnet.v1, name=block)(x, train)
    return x


class _Stem(nn.Module):
    v1: bool
    layers: Layers

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        epsilon, shape = 1.001e-5 if self.v1 else 1e-5, Conv(64, 7, 2, bias=self.v1)
        names = ("conv", "norm")
        return nn.relu(self.layers.conv_norm(x, names, shape, train=train, epsilon=epsilon))


def torch_name(path: Path) -> str:
    """Returns the name of a variable in torchvision's and timm's files."""
    _, group, layer, _ = path
    if group == "conv1":
        return f"{'conv1' if layer == 'conv' else 'bn1'}.{torch_leaf(path)}"
    stage, _, block = group.removeprefix("conv").partition("_")
    layer = {"shortcut": "downsample.0", "shortcut_norm": "downsample.1"}.get(
        layer, layer.replace("norm", "bn")
    )
    return f"layer{int(stage) - 1}.{int(block) - 1}.{layer}.{torch_leaf(path)}"


TORCH = Source(torch_name, IMAGENET, head=r"fc\.(weight|bias)|.*\.num_batches_tracked")


def declare(title: str, blocks: tuple[int, int, int, int], **own) -> Backbone:
    """Declares a ResNet of v1.5 whose stages conv2 to conv5 have this many blocks."""
    return Backbone(
        title=title,
        module=functools.partial(ResNet, blocks, basic=own.pop("basic", False)),
        stages=stages(blocks),
        batch_norm=True,
        sources={"torch": TORCH},
        cut_for={64: "conv4", 48: "conv3"},
        **own,
    )
