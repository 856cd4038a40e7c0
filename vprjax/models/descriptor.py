"""Image -> descriptor: `f = normalize(pool(backbone(I)))`, then optionally a linear layer."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn

from vprjax.models.backbones.sources import MEAN, STD
from vprjax.models.heads.vectors import l2_normalize


class Descriptor(nn.Module):
    """Images `(b, h, w, 3)`, RGB, 0..255, any size -> descriptors `(b, d)`, float32, L2 length 1.

    `x = (images - mean) / std` with the statistics of the variable collection "preprocess": `mean` and
    `std`, `(3,)` each, RGB, 0..255 scale. They come with the weights. Only the backbone computes in its own
    type; normalisation, pooling and projection are float32.
    """

    backbone: nn.Module
    pooling: Callable[[jax.Array], jax.Array]  # GeM, NetVLAD or a plain function
    projection: nn.Module | None = None
    frozen_backbone: bool = False  # no gradient enters it

    def setup(self) -> None:
        """Declares the statistics; loaded weights replace their defaults."""
        self.mean = self.variable("preprocess", "mean", lambda: jnp.array(MEAN, jnp.float32))
        self.std = self.variable("preprocess", "std", lambda: jnp.array(STD, jnp.float32))

    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Returns descriptors `(b, d)`.

        Raises:
          ValueError: `images` is not `(b, h, w, 3)`, or too small for the backbone.
        """
        f = l2_normalize(self.pooling(self.features(images, train)))
        if self.projection is not None:
            f = l2_normalize(self.projection(f))
        return f

    def features(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Returns the backbone's local features `(b, h', w', c)`, float32.

        Raises:
          ValueError: `images` is not `(b, h, w, 3)`, or too small for the backbone.
        """
        if images.ndim != 4 or images.shape[-1] != 3:
            raise ValueError(f"images must be (b, h, w, 3), RGB, not {images.shape}")
        mean, std = (s.value.reshape(1, 1, 1, 3) for s in (self.mean, self.std))
        x = self.backbone((images.astype(jnp.float32) - mean) / std, train)
        x = jax.lax.stop_gradient(x) if self.frozen_backbone else x
        if 0 in x.shape[1:3]:
            raise ValueError(
                f"images of {images.shape[1]} x {images.shape[2]} pixels are too small for this "
                "backbone: its feature map is empty; feed larger images or set an earlier model.stage"
            )
        return x.astype(jnp.float32)
