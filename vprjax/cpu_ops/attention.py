"""`jax.nn.dot_product_attention` for CPUs: one image after the other, whose scores stay in the cache.

XLA's CPU backend takes the heads of all images in one product over transposed operands. For four images of
530 tokens and twelve heads, as of 322x322 pixels, one image at a time takes a third of that time.
"""

import jax
import jax.numpy as jnp
from jax import lax


def dot_product_attention(query: jax.Array, key: jax.Array, value: jax.Array) -> jax.Array:
    """`softmax(q k^T / sqrt(d)) v` by heads, without a mask; the softmax is float32.

    Shapes: `(b, n, h, d), (b, m, h, d), (b, m, h, d) -> (b, n, h, d)`, in the type of `query`.
    Raises: ValueError on other shapes.
    """
    b, _, h, d = query.shape
    if key.shape != value.shape or (key.shape[0], *key.shape[2:]) != (b, h, d):
        raise ValueError(
            f"attention: query {query.shape}, key {key.shape} and value {value.shape} must have the same "
            "images, heads and width"
        )

    def one(image: tuple[jax.Array, ...]) -> jax.Array:
        q, k, v = (x.swapaxes(0, 1) for x in image)  # (h, n, d)
        scores = lax.dot_general(
            q * jnp.asarray(d**-0.5, q.dtype),
            k,
            (((2,), (2,)), ((0,), (0,))),
            preferred_element_type=jnp.float32,
        )
        shares = jax.nn.softmax(scores, axis=-1).astype(v.dtype)
        return lax.dot_general(shares, v, (((2,), (1,)), ((0,), (0,)))).swapaxes(0, 1)

    return lax.map(one, (query, key, value))
