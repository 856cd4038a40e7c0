"""MobileNetV2 1.0 (Sandler et al. 2018) with the names, padding and constants of Keras."""

import jax
from flax import linen as nn

from vprjax.models.backbones.layers import Conv, Layers
from vprjax.models.backbones.sources import keras_leaf
from vprjax.models.backbones.variant import Backbone, Path, Source

EPSILON = 1e-3
# Name -> (output channels, stride); every block but the first widens its input by 6.
_SPECS = [(16, 1), (24, 2), (24, 1), (32, 2), *[(32, 1)] * 2, (64, 2), *[(64, 1)] * 3]
_SPECS += [*[(96, 1)] * 3, (160, 2), *[(160, 1)] * 2, (320, 1)]
BLOCKS = {f"block_{i}" if i else "expanded_conv": spec for i, spec in enumerate(_SPECS)}
# Stage -> its parameter groups, in order; `block_i_expand` is the widened map inside block i.
STAGES = (
    {"Conv1": ("Conv1",), "expanded_conv": ("expanded_conv",)}
    | {
        stage: (f"block_{i}",)
        for i in range(1, len(BLOCKS))
        for stage in (f"block_{i}_expand", f"block_{i}")
    }
    | {"Conv_1": ("Conv_1",)}
)
# The 10 residual branches start this small, so that their sum keeps its scale while BatchNorm is
# the identity (Hanin & Rolnick 2018). Loaded weights replace it.
BRANCH_SCALE = 10**-0.5


class InvertedResidual(nn.Module):
    """1x1 expand (relu6) -> 3x3 depthwise (relu6) -> 1x1 project (linear).

    The block adds `x` where the shapes allow it. `expand_only` returns behind the expansion and
    creates no further layers.
    """

    channels: int
    stride: int
    expansion: int
    expand_only: bool
    layers: Layers

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Returns the block's output, or its widened map."""
        residual = self.stride == 1 and x.shape[-1] == self.channels
        y, wide = x, x.shape[-1] * self.expansion

        def conv_norm(y, name, shape, scale=1.0):
            names = (name, f"{name}_norm")
            return self.layers.conv_norm(y, names, shape, train=train, epsilon=EPSILON, scale=scale)

        if self.expansion > 1:
            y = nn.relu6(conv_norm(y, "expand", Conv(wide, 1, gain=1.0)))  # the input is linear
        if self.expand_only:
            return y
        # XLA's SAME equals Keras' correct_pad + VALID: (0, 1) for even sizes, (1, 1) for odd ones.
        y = conv_norm(y, "depthwise", Conv(wide, 3, self.stride, padding="SAME", groups=wide))
        scale = BRANCH_SCALE if residual else 1.0
        y = conv_norm(nn.relu6(y), "project", Conv(self.channels, 1), scale)
        return x + y if residual else y


class MobileNetV2(nn.Module):
    """`(b, h, w, 3) -> (b, ~h/32, ~w/32, 1280)` at Conv_1; each stride-2 step rounds up.

    The module creates no layers behind `stage`. No gradient passes the input of the block of
    `train_from`, and the BatchNorm statistics in front of it never change.
    """

    stage: str = "Conv_1"
    train_from: str = ""
    layers: Layers = Layers()

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """Returns the map of `stage`; `train` matters only where BatchNorm trains."""
        return self.layers.stages(self, ("Conv1", *BLOCKS, "Conv_1"), _stage, x, train)


def _stage(net: MobileNetV2, x: jax.Array, name: str, train: bool) -> jax.Array:
    if name not in BLOCKS:
        features, size, stride = (32, 3, 2) if name == "Conv1" else (1280, 1, 1)
        return _ConvNorm(features, size, stride, net.layers, name=name)(x, train)
    expansion, expand_only = 1 if name == "expanded_conv" else 6, net.stage == f"{name}_expand"
    return InvertedResidual(*BLOCKS[name], expansion, expand_only, net.layers, name=name)(x, train)


class _ConvNorm(nn.Module):
    features: int
    size: int
    stride: int
    layers: Layers

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        gain = 2.0 if self.size == 3 else 1.0  # Conv_1 stands behind a linear projection
        shape = Conv(self.features, self.size, self.stride, padding="SAME", gain=gain)
        names = ("conv", "norm")
        return nn.relu6(self.layers.conv_norm(x, names, shape, train=train, epsilon=EPSILON))


def _keras(path: Path) -> str:
    _, group, layer, _ = path
    if group == "Conv1":
        name = "Conv1" if layer == "conv" else "bn_Conv1"
    elif group == "Conv_1":
        name = "Conv_1" if layer == "conv" else "Conv_1_bn"
    else:
        name = f"{group}_{layer.replace('_norm', '_BN')}"
    depthwise = "depthwise_" if layer == "depthwise" else ""
    return f"{name}/{depthwise}{keras_leaf(path)}"


# Of Keras' `preprocess_input(mode="tf")`: x / 127.5 - 1.
_SYMMETRIC = {"mean": (127.5, 127.5, 127.5), "std": (127.5, 127.5, 127.5)}

BACKBONE = Backbone(
    title="MobileNetV2",
    module=MobileNetV2,
    stages=STAGES,
    batch_norm=True,
    sources={"keras": Source(_keras, _SYMMETRIC, head="(Logits|predictions)/(kernel|bias)")},
    refused={
        "torch": "torchvision's and timm's MobileNetV2 pads stride-2 convolutions differently; only "
        "Keras weights (.h5, .npz) fit"
    },
    cut_for={64: "block_13_expand", 48: "block_6_expand"},
)
