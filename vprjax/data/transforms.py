"""Image augmentation on the device, by pure functions of images and keys."""

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

    Each image draws its own crop, contrast, brightness and noise. `mirror` flips all `m` images or none, so
    that they still show one place. The result stays within 0..255.

    Args:
      images: `(m, h, w, 3)`, 0..255.
      key: one random key for the group.
      crop: largest share of height and of width to cut off; the rest is scaled back.
      mirror: whether to flip left and right with probability 1/2.
      brightness: largest added grey level, as a share of 255, up or down.
      contrast: largest change of the factor about the image's mean, `1 - contrast` to `1 + contrast`.
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
    """Cuts a random window of at least `1 - share` of each side and scales it back to full size."""
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
