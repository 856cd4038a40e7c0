"""Image -> descriptor: `f = normalize(pool(backbone(I)))`, then optionally a linear layer."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn

from vprjax.models import multi_scale
from vprjax.models.backbones.sources import MEAN, STD
from vprjax.models.heads.vectors import l2_normalize

# Where a model L2-normalises: each local descriptor before pooling, the pooled vector, the descriptor.
NORMS = ("local", "pooled", "descriptor")
USUAL_NORMS = ("pooled", "descriptor")


class Descriptor(nn.Module):
    """Images `(b, h, w, 3)`, RGB, 0..255, any size -> descriptors `(b, d)`, float32, L2 length 1.

    Released models leave out some of the `norms`; without the last of them the length is
    not 1.

    `x = (images - mean) / std` with the statistics of the variable collection "preprocess": `mean` and
    `std`, `(3,)` each, RGB, 0..255 scale. They come with the weights. Only the backbone computes in its own
    type; normalisation, pooling and projection are float32.
    """

    backbone: nn.Module
    pooling: Callable[[jax.Array], jax.Array]  # GeM, NetVLAD or a plain function
    projection: nn.Module | None = None
    frozen_backbone: bool = False  # no gradient enters it
    norms: tuple[str, ...] = USUAL_NORMS  # of NORMS
    class_token: bool = (
        False  # the backbone gives a class token beside its map, and the head takes it
    )
    scales: tuple[float, ...] = multi_scale.ONE  # sizes of the image that one descriptor joins
    scales_power: float = 1.0

    def setup(self) -> None:
        """Declares the statistics; loaded weights replace their defaults."""
        self.mean = self.variable("preprocess", "mean", lambda: jnp.array(MEAN, jnp.float32))
        self.std = self.variable("preprocess", "std", lambda: jnp.array(STD, jnp.float32))

    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Returns descriptors `(b, d)`; a training step sees the images' own size alone.

        Raises:
          ValueError: `images` is not `(b, h, w, 3)`, or too small for the backbone.
        """
        if train or self.scales == multi_scale.ONE:
            return self.pooled(*self.with_token(images, train))
        images = images.astype(jnp.float32)
        sized = (multi_scale.resized(images, scale) for scale in self.scales)
        found = [self.pooled(*self.with_token(x)) for x in sized]
        return multi_scale.joined(jnp.stack(found), self.scales_power)

    def pooled(self, local: jax.Array, *token: jax.Array) -> jax.Array:
        """Returns descriptors `(b, d)` of what `with_token` returns."""
        local = l2_normalize(local) if "local" in self.norms else local
        f = self._normalised("pooled", self.pooling(local, *token))
        if self.projection is None:
            return f
        return self._normalised("descriptor", self.projection(f))

    def features(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Returns the backbone's local features `(b, h', w', c)`, float32.

        Raises:
          ValueError: `images` is not `(b, h, w, 3)`, or too small for the backbone.
        """
        return self.with_token(images, train)[0]

    def with_token(self, images: jax.Array, train: bool = False) -> tuple[jax.Array, ...]:
        """Returns the local features, and the class token `(b, c)` where the head takes one.

        Raises:
          ValueError: as of `features`.
        """
        if images.ndim != 4 or images.shape[-1] != 3:
            raise ValueError(f"images must be (b, h, w, 3), RGB, not {images.shape}")
        mean, std = (s.value.reshape(1, 1, 1, 3) for s in (self.mean, self.std))
        found = self.backbone((images.astype(jnp.float32) - mean) / std, train)
        found = found if self.class_token else (found,)
        if self.frozen_backbone:
            found = jax.lax.stop_gradient(found)
        if 0 in found[0].shape[1:3]:
            raise ValueError(
                f"images of {images.shape[1]} x {images.shape[2]} pixels are too small for this "
                "backbone: its feature map is empty; feed larger images or set an earlier model.stage"
            )
        return tuple(x.astype(jnp.float32) for x in found)

    def _normalised(self, where: str, f: jax.Array) -> jax.Array:
        return l2_normalize(f) if where in self.norms else f
