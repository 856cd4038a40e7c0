"""The class token as the descriptor; of a backbone with aggregation tokens, these (ImAge)."""

import jax

from vprjax.models.heads.variant import Head


def class_token(x: jax.Array, token: jax.Array) -> jax.Array:
    """Returns the backbone's class token, `(b, h, w, c), (b, d) -> (b, d)`; the map is not used.

    Source: Lu et al. 2025 (ImAge), whose backbone gives its aggregation tokens in its place.
    """
    del x
    return token


HEAD = Head(title="class token", make=lambda section: class_token, class_token=lambda section: True)
