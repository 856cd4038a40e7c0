"""Convolution, BatchNorm and max pooling of every backbone."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import lax

# A stage `NAME_expand` lies inside the stage NAME: MobileNetV2's widened maps.
PART = "_expand"


@dataclasses.dataclass(frozen=True)
class Conv:
    """A square convolution.

    Attributes:
      features: output channels.
      size: side of the kernel, in pixels.
      stride: step of the kernel, in pixels.
      padding: None is `size // 2` on every side (PyTorch's rule), else lax's.
      groups: groups of channels.
      bias: whether it adds a bias.
      gain: gain of the start, 2 behind a ReLU and 1 behind a linear layer.
    """

    features: int
    size: int
    stride: int = 1
    padding: str | tuple[tuple[int, int], ...] | None = None
    groups: int = 1
    bias: bool = False
    gain: float = 2.0


def add_relu(x: jax.Array, y: jax.Array, bias: jax.Array) -> jax.Array:
    """`relu(x + (y + bias))`. Shapes: `(b, h, w, c), (b, h, w, c), (c,) -> (b, h, w, c)`."""
    return nn.relu(x + (y + spread(bias, y.shape)))


def spread(vector: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """What broadcasts a vector `(c,)` to `shape`, `(..., c)`."""
    return vector.reshape((1,) * (len(shape) - 1) + (-1,))


def fork(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """`x` twice, for the shortcut of a residual block and its branch."""
    return x, x


@dataclasses.dataclass(frozen=True)
class Layers:
    """The type, BatchNorm rule and functions that all layers of one backbone share.

    Attributes:
      dtype: type of the computation.
      batch_norm: "frozen" always uses the running statistics; "train" uses the batch's in training.
      batch_norm_axis: name of the mapped axis that trained BatchNorm averages over, or None.
      conv_general_dilated: replaces `jax.lax.conv_general_dilated` in every convolution.
      max_pool: replaces flax's.
      attention: replaces `jax.nn.dot_product_attention`.
      add_relu: replaces this module's.
      fork: replaces this module's.
      spread: replaces this module's.
      remat: the backward pass keeps only each stage's input and computes the stage again.
      lora_rank: rank of the low-rank additions of a transformer's dense layers; 0 has none.
    """

    dtype: Any = jnp.float32
    batch_norm: str = "frozen"
    batch_norm_axis: str | None = None
    conv_general_dilated: Callable | None = None
    max_pool: Callable = nn.max_pool
    remat: bool = False
    lora_rank: int = 0
    attention: Callable = jax.nn.dot_product_attention
    add_relu: Callable = add_relu
    fork: Callable = fork
    spread: Callable = spread

    def stage(self, module: nn.Module, layers: Callable, x: jax.Array) -> jax.Array:
        """Computes `layers(module, x)`, a stage of the backbone `module`; its names stay the same."""
        return (nn.remat(layers) if self.remat else layers)(module, x)

    def stages(
        self, module: nn.Module, names: Sequence[str], layers: Callable, x: jax.Array, train: bool
    ) -> jax.Array:
        """Computes the stages `names` of a backbone with BatchNorm up to the one of `module.stage`.

        No gradient passes the input of `module.train_from`, and the stages in front of it do not train.

        Args:
          module: the backbone; its `stage` and `train_from` may be a part of one of `names` (`PART`).
          names: the stages, from the image on.
          layers: `(module, x, name, train) -> x`.
          x: the image `(b, h, w, 3)`.
          train: whether BatchNorm may use the batch's statistics.

        Raises:
          ValueError: the backbone has no such stage.
        """
        first = module.train_from.removesuffix(PART)
        trains = not first
        for name in names:
            if name == first:
                x = lax.stop_gradient(x)
                trains = True
            own = functools.partial(layers, name=name, train=train and trains)
            x = self.stage(module, own, x)
            if name == module.stage.removesuffix(PART):
                return x
        known = ", ".join(names)
        raise ValueError(f"{type(module).__name__} has no stage {module.stage!r}; known: {known}")

    def conv(self, name: str, shape: Conv) -> nn.Conv:
        """Returns the convolution of `shape`, with He initialisation.

        `variance = gain / fan_in` keeps the forward variance, also of depthwise kernels, whose fan_out
        would count all channels.

        Source: He et al. 2015.
        """
        return self._conv(nn.Conv, name, shape)

    def conv_norm(
        self,
        x: jax.Array,
        names: tuple[str, str],
        shape: Conv,
        *,
        train: bool,
        epsilon: float,
        scale: float = 1.0,
        onto: jax.Array | None = None,
    ) -> jax.Array:
        """Applies a convolution (see `conv`) and its BatchNorm, whose scale starts at `scale`.

        With `onto`, a map of the result's shape, it returns `relu(onto + result)`.

        BatchNorm uses and updates batch statistics only with `train` and the rule "train". Otherwise it
        is an affine map, and enters the convolution: `conv(x, a k) + b`.
        """
        conv, norm = names
        scale_init = nn.initializers.constant(scale)
        if train and self.batch_norm == "train":
            y = nn.BatchNorm(
                use_running_average=False,
                momentum=0.9,
                epsilon=epsilon,
                dtype=self.dtype,
                scale_init=scale_init,
                axis_name=self.batch_norm_axis,
                name=norm,
            )(self.conv(conv, shape)(x))
            return y if onto is None else self.add_relu(onto, y, jnp.zeros(shape.features, y.dtype))
        affine = _FrozenNorm(shape.features, epsilon, scale_init, name=norm)()
        return self._conv(_ConvAffine, conv, shape)(x, *affine, self, onto)

    def _conv(self, kind: type[nn.Conv], name: str, shape: Conv) -> nn.Conv:
        half = shape.size // 2
        return kind(
            shape.features,
            (shape.size, shape.size),
            strides=(shape.stride, shape.stride),
            padding=[(half, half)] * 2 if shape.padding is None else shape.padding,
            feature_group_count=shape.groups,
            use_bias=shape.bias,
            dtype=self.dtype,
            kernel_init=nn.initializers.variance_scaling(shape.gain, "fan_in", "normal"),
            conv_general_dilated=self.conv_general_dilated,
            name=name,
        )


class _FrozenNorm(nn.Module):
    """BatchNorm with its running statistics as `a x + b`; the variables of `nn.BatchNorm`."""

    features: int
    epsilon: float
    scale_init: Callable

    @nn.compact
    def __call__(self) -> tuple[jax.Array, jax.Array]:
        shape = (self.features,)
        mean = self.variable("batch_stats", "mean", jnp.zeros, shape, jnp.float32).value
        var = self.variable("batch_stats", "var", jnp.ones, shape, jnp.float32).value
        scale = self.param("scale", self.scale_init, shape)
        bias = self.param("bias", nn.initializers.zeros, shape)
        a = scale * jax.lax.rsqrt(var + self.epsilon)
        return a, bias - mean * a


def fold_norm(call: Callable, args, kwargs, context):
    """An interceptor (`nn.intercept_methods`) under which frozen BatchNorm's map is computed while tracing.

    Kernels with NumPy variables then enter the program as constants, with BatchNorm in them.
    """
    norm = context.module
    if not isinstance(norm, _FrozenNorm):
        return call(*args, **kwargs)
    own, statistics = norm.variables["params"], norm.variables["batch_stats"]
    a = own["scale"] / np.sqrt(statistics["var"] + np.float32(norm.epsilon))
    return a, own["bias"] - statistics["mean"] * a


class _ConvAffine(nn.Conv):
    """`a conv(x) + b` as `conv(x, a kernel) + b`; the variables of `nn.Conv`.

    With `onto` the result is `relu(onto + (a conv(x) + b))`.
    """

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        a: jax.Array,
        b: jax.Array,
        layers: Layers,
        onto: jax.Array | None,
    ) -> jax.Array:
        shape = (*self.kernel_size, x.shape[-1] // self.feature_group_count, self.features)
        kernel = self.param("kernel", self.kernel_init, shape)
        if self.use_bias:
            b = b + a * self.param("bias", self.bias_init, (self.features,))
        convolve = self.conv_general_dilated or jax.lax.conv_general_dilated
        y = convolve(
            x.astype(self.dtype),
            (kernel * layers.spread(a, shape)).astype(self.dtype),
            self.strides,
            self.padding,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=self.feature_group_count,
        )
        b = b.astype(self.dtype)
        return y + layers.spread(b, y.shape) if onto is None else layers.add_relu(onto, y, b)
