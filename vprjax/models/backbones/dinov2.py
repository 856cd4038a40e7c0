"""DINOv2's vision transformers (Oquab et al. 2023), plain and with registers (Darcet et al. 2023)."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from vprjax.models.backbones import resample
from vprjax.models.backbones.layers import Conv, Layers
from vprjax.models.backbones.low_rank import LowRankDense
from vprjax.models.backbones.sources import IMAGENET, torch_leaf
from vprjax.models.backbones.variant import Backbone, Path, Source

PATCH = 14  # pixels of a patch's side
GRID = 37  # patches of a side of the position table: images of 518 pixels
EPSILON = 1e-6
AGGREGATION_TOKENS = "learnable_aggregation_tokens"  # their name in released files
VALUE = "_value"  # ends the stages that give a block's values
# A TPU or GPU would otherwise round the positions and the resized image to bfloat16 or TF32.
_EXACT = lax.Precision.HIGHEST
_START = nn.initializers.truncated_normal(0.02)


@dataclasses.dataclass(frozen=True)
class Size:
    """The size of a vision transformer.

    Attributes:
      width: numbers of a token.
      depth: blocks.
      heads: of an attention.
      registers: further tokens beside the class token.
      gated: whether the blocks' MLP is SwiGLU.
      tokens: aggregation tokens, which stand in front of all others from block `tokens_from` on.
      tokens_from: that block, counted from 1.
    """

    width: int
    depth: int
    heads: int
    registers: int = 0
    gated: bool = False
    tokens: int = 0
    tokens_from: int = 0

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts in the order of computation."""
        return ("patch", *(f"block{i + 1}" for i in range(self.depth)), "norm")

    def joins(self, part: str) -> bool:
        """Whether the aggregation tokens enter in front of this part."""
        return self.tokens > 0 and part == f"block{self.tokens_from}"


def stages(size: Size) -> dict[str, tuple[str, ...]]:
    """Returns stage -> its parameter groups: the parts, and "blockN_value" in front of each "blockN"."""
    found = {}
    for part in size.parts:
        if part.startswith("block"):
            found[part + VALUE] = (part,)
        found[part] = (part, "tokens") if size.joins(part) else (part,)
    return found


class DINOv2(nn.Module):
    """`(b, h, w, 3) -> (b, h / 14, w / 14, c)`, and the class token `(b, c)` where it is asked for.

    Stage "patch" gives the tokens with their positions, "blockN" those behind a block, without the final
    LayerNorm, and "norm", the last, those behind it. "blockN_value" gives the values of the block's
    attention, all heads side by side: AnyLoc's facet, whose layer 31 is "block32_value". The module creates
    no layers behind `stage`. No gradient passes the input of `train_from`. In half precision the tokens
    stay float32 between the layers: on random weights of ViT-S that brings a bfloat16 descriptor's error
    from 1.1 to 0.7 %.

    With aggregation tokens these, one behind the other, take the class token's place: `(b, tokens c)`.

    Where a side is no multiple of 14, both sides are brought to `14 round(side / 14)`, half to even, on
    the scaled image: bilinear, with antialias, which is MegaLoc's rule. DINOv2's own code refuses such
    images.
    """

    size: Size
    stage: str = "norm"
    train_from: str = ""
    layers: Layers = Layers()
    class_token: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False):
        """Returns the map of `stage` and perhaps its class token; `train` changes nothing."""
        x = _whole_patches(x)
        h, w = (side // PATCH for side in x.shape[1:3])
        tokens = 0
        for part in self.size.parts:
            if part == self.train_from.removesuffix(VALUE):
                x = lax.stop_gradient(x)
            tokens = self.size.tokens if self.size.joins(part) else tokens
            name = self.stage if part == self.stage.removesuffix(VALUE) else part
            x = self.layers.stage(self, functools.partial(_stage, name=name), x)
            if name == self.stage:
                patches = x[:, tokens + 1 + self.size.registers :]
                patches = patches.reshape(x.shape[0], h, w, self.size.width)
                first = x[:, : max(1, tokens)].reshape(x.shape[0], -1)
                return (patches, first) if self.class_token else patches
        raise ValueError(
            f"DINOv2 has no stage {self.stage!r}; known: patch, block1_value, block1, ..., norm"
        )


def _stage(net: DINOv2, x: jax.Array, name: str) -> jax.Array:
    if name == "patch":
        return _Patches(net.size, net.layers, name="patch")(x)
    if name == "norm":
        return _norm("norm", net.layers)(x)
    part = name.removesuffix(VALUE)
    if net.size.joins(part):
        x = _Tokens(net.size, name="tokens")(x)
    return _Block(net.size, net.layers, name != part, name=part)(x)


def _whole_patches(x: jax.Array) -> jax.Array:
    """Resizes images `(b, h, w, 3)` whose sides are no multiples of a patch's."""
    sides = [int(side) for side in x.shape[1:3]]
    whole = [PATCH * round(side / PATCH) for side in sides]
    if 0 in whole:
        raise ValueError(
            f"images of {sides[0]} x {sides[1]} pixels are too small for this backbone, whose patches "
            f"have {PATCH} x {PATCH}; feed larger images"
        )
    if sides == whole:
        return x
    rows, columns = (
        jnp.asarray(resample.antialiased_linear(side, count), x.dtype)
        for side, count in zip(sides, whole, strict=True)
    )
    return jnp.einsum("yh,xw,bhwc->byxc", rows, columns, x, precision=_EXACT)


class _Patches(nn.Module):
    """`(b, 14 h, 14 w, 3) -> (b, 1 + registers + h w, c)`: class token, registers, patches by rows."""

    size: Size
    layers: Layers

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        d = self.size.width
        shape = Conv(d, PATCH, PATCH, padding="VALID", bias=True, gain=1.0)
        x = self.layers.conv("proj", shape)(x).astype(jnp.float32)
        b, h, w, _ = x.shape
        token = self.param("cls_token", _START, (1, 1, d))
        table = self.param("pos_embed", _START, (1, 1 + GRID * GRID, d))
        antialias = self.size.registers > 0 and not self.size.tokens  # as the released models do
        positions = position_table(table, h, w, antialias)
        first = jnp.broadcast_to(token + positions[:, :1], (b, 1, d))
        x = x.reshape(b, h * w, d) + positions[:, 1:]
        if not self.size.registers:
            return jnp.concatenate([first, x], axis=1)
        registers = self.param("register_tokens", _START, (1, self.size.registers, d))
        registers = jnp.broadcast_to(registers, (b, *registers.shape[1:]))
        return jnp.concatenate([first, registers, x], axis=1)


def position_table(table: jax.Array, h: int, w: int, registers: bool) -> jax.Array:
    """Returns the position table `(1, 1 + 37 * 37, c)`, interpolated to `(1, 1 + h w, c)`.

    The plain models sample it with `scale_factor = (n + 0.1) / 37` in each direction, and so move a side
    of 37 patches too unless both have 37. Those with registers antialias, and sample by sizes.

    Source: the released code, `dinov2/models/vision_transformer.py`.
    """
    if h == w == GRID:
        return table
    matrices = [
        resample.antialiased_cubic(GRID, n)
        if registers
        else resample.cubic(GRID, n, GRID / (n + 0.1))
        for n in (h, w)
    ]
    rows, columns = (jnp.asarray(matrix, jnp.float32) for matrix in matrices)
    grid = table[0, 1:].reshape(GRID, GRID, -1)
    grid = jnp.einsum("yi,xj,ijc->yxc", rows, columns, grid, precision=_EXACT)
    return jnp.concatenate([table[:, :1], grid.reshape(1, h * w, -1)], axis=1)


class _Tokens(nn.Module):
    """Puts the aggregation tokens in front, `(b, n, c) -> (b, tokens + n, c)`."""

    size: Size

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (1, self.size.tokens, self.size.width)
        tokens = self.param("tokens", nn.initializers.normal(1e-6), shape)
        return jnp.concatenate([jnp.broadcast_to(tokens, (x.shape[0], *shape[1:])), x], axis=1)


class _Block(nn.Module):
    """`x + ls1 attention(norm1(x))`, then `x + ls2 mlp(norm2(x))`; or the attention's values alone."""

    size: Size
    layers: Layers
    value: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        attention = _Attention(self.size.heads, self.layers, self.value, name="attn")
        if self.value:
            return attention(_norm("norm1", self.layers)(x))
        mlp = (_SwiGLU if self.size.gated else _MLP)(self.layers, name="mlp")
        x, branch = self.layers.fork(x)
        x = x + self._scale("ls1") * attention(_norm("norm1", self.layers)(branch))
        x, branch = self.layers.fork(x)
        return x + self._scale("ls2") * mlp(_norm("norm2", self.layers)(branch))

    def _scale(self, name: str) -> jax.Array:
        gamma = self.param(name, nn.initializers.ones, (self.size.width,))
        return gamma.reshape(1, 1, -1)


class _Attention(nn.Module):
    """Attention among all tokens of an image, or its values alone; its softmax is float32."""

    heads: int
    layers: Layers
    value: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        b, n, d = x.shape
        qkv = _dense("qkv", 3 * d, self.layers)(x)
        if self.value:
            return qkv[:, :, 2 * d :]
        qkv = qkv.reshape(b, n, 3, self.heads, d // self.heads)
        found = self.layers.attention(qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2])
        return _dense("proj", d, self.layers)(found.reshape(b, n, d))


class _MLP(nn.Module):
    """`W2 gelu(W1 x)`, four times as wide inside, with the exact GELU."""

    layers: Layers

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        d = x.shape[-1]
        y = _gelu(_dense("fc1", 4 * d, self.layers)(x))
        return _dense("fc2", d, self.layers)(y)


def _gelu(x: jax.Array) -> jax.Array:
    # jax.nn's goes through erfc, which takes XLA's CPU backend ten times as long as erf.
    return 0.5 * x * (1 + lax.erf(x * math.sqrt(0.5)))


class _SwiGLU(nn.Module):
    """`W3 (silu(a) b)` with `[a, b] = W12 x`, 8/3 times as wide inside, rounded up to eights."""

    layers: Layers

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        d = x.shape[-1]
        hidden = (int(4 * d * 2 / 3) + 7) // 8 * 8
        a, b = jnp.split(_dense("w12", 2 * hidden, self.layers)(x), 2, axis=-1)
        return _dense("w3", d, self.layers)(nn.silu(a) * b)


def _dense(name: str, features: int, layers: Layers) -> nn.Dense:
    if layers.lora_rank:
        return LowRankDense(
            features, dtype=layers.dtype, kernel_init=_START, rank=layers.lora_rank, name=name
        )
    return nn.Dense(features, dtype=layers.dtype, kernel_init=_START, name=name)


def _norm(name: str, layers: Layers) -> nn.LayerNorm:
    # The fast variance, E[x^2] - E[x]^2, loses float32 digits.
    return nn.LayerNorm(EPSILON, dtype=layers.dtype, use_fast_variance=False, name=name)


def torch_name(path: Path) -> str:
    """Returns the name of a variable in DINOv2's files."""
    group, *layers, _ = path[1:]
    if group == "patch":
        return f"patch_embed.proj.{torch_leaf(path)}" if layers else path[-1]
    if group == "norm":
        return f"norm.{torch_leaf(path)}"
    if group == "tokens":
        return AGGREGATION_TOKENS
    leaf = torch_leaf(path) if layers else f"{path[-1]}.gamma"
    return ".".join(["blocks", str(int(group.removeprefix("block")) - 1), *layers, leaf])


def declare(title: str, size: Size) -> Backbone:
    """Declares a transformer of this size."""
    return Backbone(
        title=title,
        module=functools.partial(DINOv2, size),
        stages=stages(size),
        batch_norm=False,
        sources={"torch": Source(torch_name, IMAGENET, head="mask_token")},
        refused={"keras": "DINOv2's weights are PyTorch files (.pth, .safetensors)"},
        class_token=True,
        low_rank=True,
    )
