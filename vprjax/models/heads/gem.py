"""GeM: the generalised mean of each channel, with a learnable exponent."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from flax import linen as nn

from vprjax.models.heads.variant import Head
from vprjax.models.heads.vectors import check_map
from vprjax.variants import Flag, Key, Number

# At 0 the mean is not defined, and one step of Adam jumps over it; near 0 float32 loses its digits.
LEAST_P = 0.1


def gem(x: jax.Array, p: jax.Array, eps: float = 1e-6) -> jax.Array:
    """Generalised mean of each channel, `(mean_hw max(x, eps)^p)^(1/p)`; not L2-normalised.

    `p = 1` is SPoC of the clipped map and a large `p` tends to MAC. The power leaves out the channel's
    maximum, so that no `p > 0` overflows; below 0.1 float32 loses the mean's digits.

    Shapes: `(b, h, w, c), () or (c,) -> (b, c)`; the caller keeps `p` positive.
    Raises: ValueError on other shapes.
    Source: Eq. 1 and 2 of Alijani & Rahtu 2021; Radenovic et al. 2018.
    """
    check_map("gem", x)
    p = jnp.asarray(p, jnp.float32)
    channels = x.shape[-1]
    if p.shape not in ((), (channels,)):
        raise ValueError(
            f"gem: p has shape {p.shape}; give one exponent, (), or one per channel, ({channels},)"
        )
    p = jnp.broadcast_to(p, (1, 1, 1, channels))
    clipped = jnp.maximum(jnp.asarray(x, jnp.float32), eps)
    # The result does not depend on the scale, so neither does its gradient.
    scale = jax.lax.stop_gradient(jnp.max(clipped, axis=(1, 2), keepdims=True))
    ratio = jnp.maximum(clipped / scale, jnp.finfo(jnp.float32).tiny)
    mean = jnp.mean(jnp.exp(p * jnp.log(ratio)), axis=(1, 2), keepdims=True)
    return (scale * jnp.exp(jnp.log(mean) / p))[:, 0, 0, :]


class GeM(nn.Module):
    """GeM with a learnable exponent `p`, `(b, h, w, c) -> (b, c)`: `()` or, per channel, `(c,)`."""

    p: float
    per_channel: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns `(b, c)`, not yet normalised."""
        return gem(x, exponent(self, (x.shape[-1],) if self.per_channel else ()))


def exponent(head: nn.Module, shape: tuple[int, ...] = ()) -> jax.Array:
    """Declares the exponent of a head whose attribute `p` is its start."""
    return head.param("p", nn.initializers.constant(head.p), shape, jnp.float32)


def declared(title: str, make: Callable, keys: Mapping[str, Key], random: bool = False) -> Head:
    """The declaration of a head with an `exponent`: its own `keys`, then the exponent's, and its rate."""
    of_exponent = {
        "p": Key(
            3.0, Number(low=LEAST_P), "start of the exponent; training keeps it at 0.1 or above"
        ),
        "p_rate": Key(
            10.0, Number(), "learning-rate multiplier of p, which has no weight decay", free=True
        ),
    }
    return Head(
        title=title,
        make=make,
        keys={**keys, **of_exponent},
        trains=True,
        random=random,
        rates=lambda section: {"p": section.p_rate},
        lowest={"p": LEAST_P},
        logged={"gem_p": "p"},
    )


HEAD = declared(
    "GeM",
    lambda section: GeM(section.p, section.per_channel),
    {
        "per_channel": Key(
            False, Flag(), "one p per channel (the paper's index p_i), not one shared p"
        )
    },
)
