"""MixVPR: blocks that mix the positions of every channel, then two linear layers."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from vprjax.models.heads.variant import Head
from vprjax.models.heads.vectors import check_map
from vprjax.variants import Key, Whole

_EXACT = jax.lax.Precision.HIGHEST
# The blocks start near the identity, so that their sum keeps the map's scale.
_SMALL = nn.initializers.truncated_normal(0.02)


class Mixer(nn.Module):
    """`x + W2 relu(W1 norm(x))` over the last axis, `(b, c, n) -> (b, c, n)`; channels share weights."""

    ratio: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns the mixed positions, `(b, c, n)`."""
        n = x.shape[-1]
        # The fast variance, E[x^2] - E[x]^2, loses float32's digits where the mean is large.
        y = nn.LayerNorm(epsilon=1e-5, use_fast_variance=False, name="norm")(x)
        y = nn.relu(_linear(self.ratio * n, "wide")(y))
        return x + _linear(n, "narrow")(y)


class MixVPR(nn.Module):
    """Mixers over the positions, then `W_rows (W_channels x)^T`, `(b, h, w, c) -> (b, d * rows)`.

    Channel-major: rows run fastest. The weights fix the number of positions `h * w`, and with it the size
    of the images.

    Source: Ali-bey et al. 2023.
    """

    channels: int
    rows: int
    blocks: int
    ratio: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns `(b, channels * rows)`, not yet normalised.

        Raises:
          ValueError: the map has another number of positions than the weights.
        """
        check_map("mixvpr", x)
        b, h, w, c = x.shape
        self._check_positions(h, w)
        x = jnp.asarray(x, jnp.float32).reshape(b, h * w, c).transpose(0, 2, 1)
        for i in range(self.blocks):
            x = Mixer(self.ratio, name=f"mixer{i + 1}")(x)
        x = _linear(self.channels, "channels_out", nn.linear.default_kernel_init)(
            x.transpose(0, 2, 1)
        )
        x = _linear(self.rows, "rows_out", nn.linear.default_kernel_init)(x.transpose(0, 2, 1))
        return x.reshape(b, self.channels * self.rows)

    def _check_positions(self, h: int, w: int) -> None:
        if not self.has_variable("params", "rows_out"):
            return  # the first call makes the weights
        n = self.get_variable("params", "rows_out")["kernel"].shape[0]
        if n != int(h * w):  # `int` is where an export with free sides ends
            raise ValueError(
                f"mixvpr: the feature map has {h} x {w} = {h * w} positions, but the weights mix {n}; "
                "feed images of the size that the model trained at"
            )


def _linear(features: int, name: str, start=_SMALL) -> nn.Dense:
    return nn.Dense(features, precision=_EXACT, kernel_init=start, name=name)


HEAD = Head(
    title="MixVPR",
    make=lambda s: MixVPR(s.channels, s.rows, s.blocks, s.ratio),
    keys={
        "channels": Key(
            1024, Whole(1), "channels behind the blocks; a descriptor has rows x channels"
        ),
        "rows": Key(4, Whole(1), "rows that the positions become"),
        "blocks": Key(4, Whole(0), "blocks that mix positions; they fix the size of the images"),
        "ratio": Key(1, Whole(1), "hidden width of a block in numbers of positions"),
    },
    trains=True,
    random=True,
    one_size=True,
)
