"""Light augmentation on the device: pure functions of images and keys."""

import jax
import jax.numpy as jnp


def augment(
    images: jax.Array,
    key: jax.Array,
    *,
    crop: float = 0.0,
    mirror: bool = False,
    brightness: float = 0.0,
    contrast: float = 0.0,
    noise: float = 0.0,
) -> jax.Array:
    """Augments the images of one tuple or place: `(m, h, w, 3)` grey levels -> float32, the same shape.

    Every image is cropped, brightened, stretched and given noise for itself; `mirror` turns all `m` of
    them or none, so that they still show one place.

    Args:
      images: `(m, h, w, 3)`, 0..255.
      key: one key for the group.
      crop: up to this share of height and width is cropped off, the rest scaled back.
      mirror: left-right, with probability 1/2.
      brightness: added grey level, up to +- this share of 255.
      contrast: factor about the image's mean, between `1 - contrast` and `1 + contrast`.
      noise: standard deviation of Gaussian noise, in grey levels.
    """
    keys = jax.random.split(key, 6)
    x = images.astype(jnp.float32)
    if crop:
        x = _crop(x, keys[0], crop)
    if mirror:
        x = jnp.where(jax.random.bernoulli(keys[1]), x[:, :, ::-1], x)
    shape = (x.shape[0], 1, 1, 1)
    if contrast:
        factor = 1 + jax.random.uniform(keys[2], shape, minval=-contrast, maxval=contrast)
        mean = x.mean(axis=(1, 2, 3), keepdims=True)
        x = (x - mean) * factor + mean
    if brightness:
        x = x + 255 * jax.random.uniform(keys[3], shape, minval=-brightness, maxval=brightness)
    if noise:
        x = x + noise * jax.random.normal(keys[4], x.shape)
    return jnp.clip(x, 0, 255) if (contrast or brightness or noise) else x


def _crop(images: jax.Array, key: jax.Array, share: float) -> jax.Array:
    """A random window of at least `1 - share` of each side, scaled back to the full size."""
    _, h, w, _ = images.shape

    def one(image, key):
        size_key, place_key = jax.random.split(key)
        kept = 1 - share * jax.random.uniform(size_key, (2,))
        start = (1 - kept) * jax.random.uniform(place_key, (2,))
        scale = 1 / kept
        translation = -start * jnp.array([h, w]) * scale
        return jax.image.scale_and_translate(
            image, image.shape, (0, 1), scale, translation, method="linear", antialias=False
        )

    return jax.vmap(one)(images, jax.random.split(key, images.shape[0]))
