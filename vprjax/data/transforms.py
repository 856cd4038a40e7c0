"""Image augmentation on the device, by pure functions of images and keys."""

import dataclasses
import math

import jax
import jax.numpy as jnp
from jax.scipy import ndimage

_LUMA = (0.299, 0.587, 0.114)  # of red, green and blue: Rec. ITU-R BT.601
_STRETCH = math.log(3.0)  # an erased rectangle is at most three times as long as wide


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """The parts of an augmentation; 0 turns a part off. Each image draws its own values.

    Attributes:
      crop: largest share of height and of width to cut off; the rest is scaled back.
      mirror: whether to flip left and right with probability 1/2: all images of a group or none, so that
        they still show one place.
      perspective: largest move of a corner, as a share of its side, in both directions.
      rotate: largest turn about the middle, in degrees.
      contrast: largest change of the factor about the image's mean, `1 - contrast` to `1 + contrast`.
      brightness: largest added grey level, as a share of 255, up or down.
      hue: largest turn of the colours about the grey axis, as a share of a full turn.
      saturation: largest change of the factor about the grey picture.
      grey: probability of a grey picture.
      blur: largest standard deviation of a Gaussian blur, in pixels.
      noise: standard deviation of Gaussian noise, in grey levels.
      erase: largest share of the image under one rectangle of its mean colour.
    """

    crop: float = 0.0
    mirror: bool = False
    perspective: float = 0.0
    rotate: float = 0.0
    contrast: float = 0.0
    brightness: float = 0.0
    hue: float = 0.0
    saturation: float = 0.0
    grey: float = 0.0
    blur: float = 0.0
    noise: float = 0.0
    erase: float = 0.0


OFF = Augmentation()


def augment(images: jax.Array, key: jax.Array, a: Augmentation = OFF) -> jax.Array:
    """Augments the images of one tuple or place: `(m, h, w, 3)` grey levels -> float32, the same shape.

    Shapes first, then light and colours, blur and noise, and the rectangle last. The result stays within
    0..255.

    Args:
      images: `(m, h, w, 3)`, 0..255.
      key: one random key for the group.
      a: the augmentation.
    """
    keys = jax.random.split(key, 6)
    x = images.astype(jnp.float32)
    if a.crop:
        x = _crop(x, keys[0], a.crop)
    more = jax.random.split(jax.random.fold_in(key, len(keys)), 4)  # none of `keys`
    if a.perspective or a.rotate:
        x = warp(x, _corners(x.shape, more[0], a))
    if a.mirror:
        x = jnp.where(jax.random.bernoulli(keys[1]), x[:, :, ::-1], x)
    if a.contrast:
        mean = x.mean(axis=(1, 2, 3), keepdims=True)
        x = (x - mean) * (1 + _uniform(keys[2], x, a.contrast)) + mean
    if a.brightness:
        x = x + 255 * _uniform(keys[3], x, a.brightness)
    x = _colour(x, more[1], a)
    if a.blur:
        x = blur(x, jax.random.uniform(more[2], x.shape[:1], maxval=a.blur), a.blur)
    if a.noise:
        x = x + a.noise * jax.random.normal(keys[4], x.shape)
    if a.contrast or a.brightness or a.hue or a.saturation or a.noise:
        x = jnp.clip(x, 0, 255)
    return erase(x, *_rectangles(x.shape[0], more[3], a.erase)) if a.erase else x


def _uniform(key: jax.Array, x: jax.Array, most: float) -> jax.Array:
    """Returns a number per image between -most and most, `(m, 1, 1, 1)`."""
    return jax.random.uniform(key, (x.shape[0], 1, 1, 1), minval=-most, maxval=most)


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


def _corners(shape: tuple[int, ...], key: jax.Array, a: Augmentation) -> jax.Array:
    """Draws the corners `(m, 4, 2)` as `warp` takes them: turned about the middle, then each moved."""
    m, h, w, _ = shape
    turn_key, move_key = jax.random.split(key)
    middle = jnp.array([[[w / 2, h / 2]]])
    corners = jnp.array([[[0.0, 0.0], [w, 0], [w, h], [0, h]]]) - middle
    most = math.radians(a.rotate)
    angle = jax.random.uniform(turn_key, (m, 1), minval=-most, maxval=most)
    c, s = jnp.cos(angle), jnp.sin(angle)
    x, y = corners[..., 0], corners[..., 1]
    turned = jnp.stack([c * x - s * y, s * x + c * y], axis=-1) + middle
    moved = jax.random.uniform(move_key, (m, 4, 2), minval=-a.perspective, maxval=a.perspective)
    return turned + moved * jnp.array([[[w, h]]], jnp.float32)


def warp(images: jax.Array, corners: jax.Array) -> jax.Array:
    """Shows in each image what lies between four points of it; outside, its border goes on.

    A pixel at `(u, v)`, shares of width and height, takes the value at `x = (a u + b v + c) / q` and
    `y = (d u + e v + f) / q` with `q = g u + h v + 1`, interpolated linearly: the projective map of the
    unit square onto the points.

    Args:
      images: `(m, h, w, 3)`.
      corners: `(m, 4, 2)`, x and y in pixels, the outer edge at 0: top left, top right, bottom right,
        bottom left.

    Source: Heckbert 1989, *Fundamentals of Texture Mapping and Image Warping*, 2.2.3.
    """
    _, h, w, _ = images.shape
    u, v = jnp.meshgrid((jnp.arange(w) + 0.5) / w, (jnp.arange(h) + 0.5) / h)

    def one(image, corner):
        (x0, x1, x2, x3), (y0, y1, y2, y3) = corner.T
        dx1, dx2, sx = x1 - x2, x3 - x2, x0 - x1 + x2 - x3
        dy1, dy2, sy = y1 - y2, y3 - y2, y0 - y1 + y2 - y3
        area = dx1 * dy2 - dx2 * dy1
        g, k = (sx * dy2 - dx2 * sy) / area, (dx1 * sy - sx * dy1) / area
        q = g * u + k * v + 1
        x = ((x1 - x0 + g * x1) * u + (x3 - x0 + k * x3) * v + x0) / q - 0.5
        y = ((y1 - y0 + g * y1) * u + (y3 - y0 + k * y3) * v + y0) / q - 0.5
        read = lambda channel: ndimage.map_coordinates(channel, [y, x], order=1, mode="nearest")  # noqa: E731
        return jax.vmap(read, in_axes=-1, out_axes=-1)(image)

    return jax.vmap(one)(images, corners)


def _colour(x: jax.Array, key: jax.Array, a: Augmentation) -> jax.Array:
    """Turns hues, scales saturation and makes some images grey."""
    keys = jax.random.split(key, 3)
    if a.hue:
        x = turn_hue(x, 2 * jnp.pi * _uniform(keys[0], x, a.hue))
    factor = jnp.ones((x.shape[0], 1, 1, 1))
    if a.saturation:
        factor = 1 + _uniform(keys[1], x, a.saturation)
    if a.grey:
        factor = jnp.where(jax.random.bernoulli(keys[2], a.grey, factor.shape), 0.0, factor)
    return saturate(x, factor) if a.saturation or a.grey else x


def turn_hue(images: jax.Array, angle: jax.Array) -> jax.Array:
    """Turns colours about the grey axis `k = (1, 1, 1) / sqrt 3`, which keeps `r + g + b`.

    `c' = c cos t + (k x c) sin t + k (k . c) (1 - cos t)`, Rodrigues' formula.

    Shapes: `(m, h, w, 3), (m, 1, 1, 1) radians -> (m, h, w, 3)`.
    """
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    mean = images.mean(axis=-1, keepdims=True)
    across = (jnp.roll(images, 1, axis=-1) - jnp.roll(images, -1, axis=-1)) / math.sqrt(3)
    return images * cos + across * sin + mean * (1 - cos)


def saturate(images: jax.Array, factor: jax.Array) -> jax.Array:
    """`g + factor (x - g)` with the grey picture `g = 0.299 r + 0.587 g + 0.114 b`.

    Shapes: `(m, h, w, 3), (m, 1, 1, 1) -> (m, h, w, 3)`.
    """
    weights = jnp.array(_LUMA).reshape(1, 1, 1, 3)
    grey = jnp.sum(images * weights, axis=-1, keepdims=True)
    return grey + factor * (images - grey)


def blur(images: jax.Array, sigma: jax.Array, most: float) -> jax.Array:
    """Convolves rows and columns with `exp(-k^2 / (2 sigma^2))`, scaled to sum 1; borders go on.

    Args:
      images: `(m, h, w, 3)`.
      sigma: `(m,)` pixels, between 0 (which changes nothing) and `most`.
      most: the kernel reaches `ceil(3 most)` pixels to each side.
    """
    reach = math.ceil(3 * most)
    offsets = jnp.arange(-reach, reach + 1, dtype=jnp.float32)[None, :]
    weights = jnp.exp(-(offsets**2) / (2 * jnp.maximum(sigma, 1e-3)[:, None] ** 2))
    weights = weights / weights.sum(axis=1, keepdims=True)
    for axis in (1, 2):
        pad = [(reach, reach) if i == axis else (0, 0) for i in range(4)]
        wide, size = jnp.pad(images, pad, mode="edge"), images.shape[axis]
        images = sum(
            weights[:, k].reshape(-1, 1, 1, 1) * jax.lax.slice_in_dim(wide, k, k + size, axis=axis)
            for k in range(2 * reach + 1)
        )
    return images


def _rectangles(m: int, key: jax.Array, share: float) -> tuple[jax.Array, jax.Array]:
    """Draws starts and sizes `(m, 2)`, shares of height and width, of at most `share` of the area."""
    area_key, shape_key, place_key = jax.random.split(key, 3)
    area = jax.random.uniform(area_key, (m,), maxval=share)
    stretch = jnp.exp(jax.random.uniform(shape_key, (m,), minval=-_STRETCH, maxval=_STRETCH))
    size = jnp.sqrt(jnp.stack([area * stretch, area / stretch], axis=1))
    size = jnp.minimum(size, 1)
    return (1 - size) * jax.random.uniform(place_key, (m, 2)), size


def erase(images: jax.Array, start: jax.Array, size: jax.Array) -> jax.Array:
    """Fills a rectangle of each image with its mean colour: the pixels whose centres lie in it.

    Shapes: `(m, h, w, 3), (m, 2), (m, 2)`, shares of height and width from the top left `-> (m, h, w, 3)`.
    """
    _, h, w, _ = images.shape
    inside = []
    for number, side in enumerate((h, w)):
        centre = ((jnp.arange(side) + 0.5) / side)[None, :]
        first = start[:, number, None]
        inside.append((centre >= first) & (centre < first + size[:, number, None]))
    mask = (inside[0][:, :, None] & inside[1][:, None, :])[..., None]
    return jnp.where(mask, images.mean(axis=(1, 2), keepdims=True), images)
