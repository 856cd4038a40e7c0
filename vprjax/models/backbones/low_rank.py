"""Dense layers with low-rank additions: they alone train, and merge into the kernels afterwards."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import traverse_util

ADDED = ("lora_a", "lora_b")


class LowRankDense(nn.Dense):
    """`y = x W + b + (x A) B`, with `A (in, rank)` and `B (rank, out)`; W and b get no gradient.

    B starts at zero, so that the layer starts as `nn.Dense` with its variables. A starts normal, with
    variance `1 / in`.

    Source: LoRA (Hu et al. 2021) with alpha = rank.
    """

    rank: int = 1

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns `(..., features)`."""
        width, start = x.shape[-1], nn.initializers.variance_scaling(1.0, "fan_in", "normal")
        kernel = self.param("kernel", self.kernel_init, (width, self.features))
        bias = self.param("bias", self.bias_init, (self.features,))
        a = self.param("lora_a", start, (width, self.rank))
        b = self.param("lora_b", nn.initializers.zeros, (self.rank, self.features))
        x, kernel, bias, a, b = (jnp.asarray(v, self.dtype) for v in (x, kernel, bias, a, b))
        kernel, bias = jax.lax.stop_gradient((kernel, bias))
        return x @ kernel + bias.reshape((1,) * (x.ndim - 1) + (-1,)) + (x @ a) @ b


def merged(params: dict) -> dict:
    """Returns a tree of parameters with every `kernel + A B` in place of a kernel and its addition."""
    flat = traverse_util.flatten_dict(params)
    for path in [path for path in flat if path[-1] == "lora_a"]:
        layer = path[:-1]
        a, b = (np.asarray(flat.pop((*layer, name)), np.float64) for name in ADDED)
        kernel = np.asarray(flat[(*layer, "kernel")])
        flat[(*layer, "kernel")] = (kernel + a @ b).astype(kernel.dtype)
    return traverse_util.unflatten_dict(flat)
