"""Convolution and BatchNorm as every backbone makes them."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn


@dataclasses.dataclass(frozen=True)
class Layers:
    """What all layers of one backbone share: types, BatchNorm rule, convolution function.

    `batch_norm="frozen"` always uses the running statistics; `"train"` uses the batch's in
    training, averaged over the mapped axis `batch_norm_axis` if one is named.
    `conv_general_dilated` replaces `jax.lax.conv_general_dilated` in every convolution. With `remat`
    the backward pass keeps each stage's input alone and computes the stage again.
    """

    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32
    batch_norm: str = "frozen"
    batch_norm_axis: str | None = None
    conv_general_dilated: Callable | None = None
    remat: bool = False

    def stage(self, module: nn.Module, layers: Callable, x: jax.Array) -> jax.Array:
        """`layers(module, x)`, a stage of the backbone `module`; the names it makes stay the same."""
        return (nn.remat(layers) if self.remat else layers)(module, x)

    def conv(
        self,
        name: str,
        features: int,
        size: int,
        stride: int = 1,
        padding: str | None = None,
        groups: int = 1,
        bias: bool = False,
        gain: float = 2.0,
    ) -> nn.Conv:
        """A square convolution; `padding=None` is `size // 2` on every side (PyTorch's rule).

        He initialisation in its fan_in form, `variance = gain / fan_in`: it keeps the forward
        variance, also of depthwise kernels, whose fan_out would count all channels. `gain` is 2
        behind a ReLU and 1 behind a linear layer (He et al. 2015).
        """
        return nn.Conv(
            features,
            (size, size),
            strides=(stride, stride),
            padding=[(size // 2, size // 2)] * 2 if padding is None else padding,
            feature_group_count=groups,
            use_bias=bias,
            dtype=self.dtype,
            param_dtype=self.param_dtype,
            kernel_init=nn.initializers.variance_scaling(gain, "fan_in", "normal"),
            conv_general_dilated=self.conv_general_dilated,
            name=name,
        )

    def norm(self, name: str, train: bool, epsilon: float, scale: float = 1.0) -> nn.BatchNorm:
        """BatchNorm; uses and updates batch statistics only if `train` and the rule is "train"."""
        return nn.BatchNorm(
            use_running_average=not (train and self.batch_norm == "train"),
            momentum=0.9,
            epsilon=epsilon,
            dtype=self.dtype,
            param_dtype=self.param_dtype,
            scale_init=nn.initializers.constant(scale),
            axis_name=self.batch_norm_axis,
            name=name,
        )
