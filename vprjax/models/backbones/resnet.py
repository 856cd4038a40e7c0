"""ResNet50 (He et al. 2016): v1.5 as torchvision and timm have it, v1 as Keras has it."""

import functools

import jax
from flax import linen as nn
from jax import lax

from vprjax.models.backbones.layers import Conv, Layers

BLOCKS = {"conv2": 3, "conv3": 4, "conv4": 6, "conv5": 3}
# Stage -> its parameter groups. A stage ends behind its last ReLU, conv1 before the max pool.
STAGES = {"conv1": ("conv1",)} | {
    stage: tuple(f"{stage}_{i + 1}" for i in range(blocks)) for stage, blocks in BLOCKS.items()
}
# Every residual branch starts this small, so that the sum over all 16 keeps its scale while
# BatchNorm is the identity (Hanin & Rolnick 2018). Loaded weights replace it.
BRANCH_SCALE = 16**-0.5


class Bottleneck(nn.Module):
    """`relu(shortcut(x) + branch(x))`, branch 1x1 -> 3x3 -> 1x1; the output has 4 x channels.

    v1.5 (`v1=False`) strides in the 3x3; v1 strides in the first 1x1 and has biases.
    """

    channels: int
    stride: int
    project: bool
    v1: bool
    layers: Layers

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Returns the block's output, `(b, h, w, 4 * channels)`."""
        epsilon = 1.001e-5 if self.v1 else 1e-5
        strides = (self.stride, 1) if self.v1 else (1, self.stride)

        def conv_norm(x, i, features, size, stride, scale=1.0):
            names = ("shortcut", "shortcut_norm") if i == 0 else (f"conv{i}", f"norm{i}")
            shape = Conv(features, size, stride, bias=self.v1)
            return self.layers.conv_norm(x, names, shape, train=train, epsilon=epsilon, scale=scale)

        y = nn.relu(conv_norm(x, 1, self.channels, 1, strides[0]))
        y = nn.relu(conv_norm(y, 2, self.channels, 3, strides[1]))
        y = conv_norm(y, 3, 4 * self.channels, 1, 1, BRANCH_SCALE)
        if self.project:
            x = conv_norm(x, 0, 4 * self.channels, 1, self.stride)
        return nn.relu(x + y)


class ResNet50(nn.Module):
    """`(b, h, w, 3) -> (b, ~h/32, ~w/32, 2048)` at conv5; each stride-2 step rounds up.

    The module creates no layers behind `stage`. No gradient passes the input of `train_from`, and the
    BatchNorm statistics in front of it never change.
    """

    stage: str = "conv5"
    train_from: str = ""
    v1: bool = False
    layers: Layers = Layers()

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """Returns the map of `stage`; `train` matters only where BatchNorm trains."""
        trains = not self.train_from
        for stage in STAGES:
            if stage == self.train_from:
                x = lax.stop_gradient(x)
                trains = True
            layers = functools.partial(_stage, name=stage, train=train and trains)
            x = self.layers.stage(self, layers, x)
            if stage == self.stage:
                return x
        raise ValueError(f"ResNet50 has no stage {self.stage!r}; known: {', '.join(STAGES)}")


def _stage(resnet: ResNet50, x: jax.Array, name: str, train: bool) -> jax.Array:
    if name == "conv1":
        return _Stem(resnet.v1, resnet.layers, name="conv1")(x, train)
    if name == "conv2":
        x = resnet.layers.max_pool(x, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))
    channels = 32 * 2 ** list(STAGES).index(name)
    for i, block in enumerate(STAGES[name]):
        stride = 2 if i == 0 and name != "conv2" else 1
        x = Bottleneck(channels, stride, i == 0, resnet.v1, resnet.layers, name=block)(x, train)
    return x


class _Stem(nn.Module):
    v1: bool
    layers: Layers

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        epsilon, shape = 1.001e-5 if self.v1 else 1e-5, Conv(64, 7, 2, bias=self.v1)
        names = ("conv", "norm")
        return nn.relu(self.layers.conv_norm(x, names, shape, train=train, epsilon=epsilon))
