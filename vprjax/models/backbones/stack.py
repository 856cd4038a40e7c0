"""Plain stacks of convolutions, each with a ReLU: AlexNet and the networks of its time."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from vprjax.models.backbones.layers import Conv, Layers


@dataclasses.dataclass(frozen=True)
class Pool:
    """A max pooling; `ceil`, Caffe's rule, keeps a last window that begins inside and ends outside."""

    size: int
    stride: int
    ceil: bool = False


@dataclasses.dataclass(frozen=True)
class Response:
    """Local response normalisation, `y_c = x_c / (1 + a/n sum_j x_j^2)^b` over the `n` channels around `c`.

    Source: Krizhevsky et al. 2012, in the form of Caffe, which divides `a` by `n`.
    """

    size: int = 5
    alpha: float = 1e-4
    beta: float = 0.75


@dataclasses.dataclass(frozen=True)
class Step:
    """One stage: what stands in front of a convolution, and the convolution, which a ReLU follows."""

    name: str
    conv: Conv
    before: tuple[Pool | Response, ...] = ()


def stages(steps: tuple[Step, ...]) -> dict[str, tuple[str, ...]]:
    """Returns stage -> its parameter group: each convolution before its ReLU, then behind it."""
    return {name: (s.name,) for s in steps for name in (f"{s.name}_linear", s.name)}


class Stack(nn.Module):
    """`(b, h, w, 3) -> (b, h', w', c)` at a stage; it ends before the pooling that follows.

    The module creates no layers behind `stage`. No gradient passes the input of `train_from`.
    """

    steps: tuple[Step, ...]
    stage: str = ""  # "" is the last
    train_from: str = ""
    layers: Layers = Layers()

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """Returns the map of `stage`; the stack has no BatchNorm, so `train` changes nothing."""
        last = self.stage or self.steps[-1].name
        for step in self.steps:
            if step.name == self.train_from.removesuffix("_linear"):
                x = lax.stop_gradient(x)
            x = self.layers.stage(self, functools.partial(_convolved, step=step), x)
            if last == f"{step.name}_linear":
                return x
            x = nn.relu(x)
            if last == step.name:
                return x
        raise ValueError(f"stage {last!r} is not known; known: {', '.join(stages(self.steps))}")


def _convolved(stack: Stack, x: jax.Array, step: Step) -> jax.Array:
    for layer in step.before:
        x = response(x, layer) if isinstance(layer, Response) else _pooled(stack, x, layer)
    return stack.layers.conv(step.name, step.conv)(x)


def _pooled(stack: Stack, x: jax.Array, pool: Pool) -> jax.Array:
    beyond = tuple((0, _beyond(n, pool) if pool.ceil else 0) for n in x.shape[1:3])
    window, strides = (pool.size, pool.size), (pool.stride, pool.stride)
    return stack.layers.max_pool(x, window, strides=strides, padding=beyond)


def _beyond(n: int, pool: Pool) -> int:
    """Positions behind a side of `n` that the last window reaches."""
    return max(0, -(-(n - pool.size) // pool.stride) * pool.stride + pool.size - n)


def response(x: jax.Array, of: Response) -> jax.Array:
    """Local response normalisation across the channels of `(b, h, w, c)`; float32 inside."""
    wide = jnp.asarray(x, jnp.float32)
    half, c = of.size // 2, x.shape[-1]
    squares = jnp.pad(wide * wide, ((0, 0), (0, 0), (0, 0), (half, of.size - 1 - half)))
    total = sum(squares[..., i : i + c] for i in range(of.size))
    return (wide * (1 + of.alpha / of.size * total) ** -of.beta).astype(x.dtype)
