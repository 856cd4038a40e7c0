"""CosFace: a margin on the cosine of the own class, on learnable classes per place."""

import jax
import jax.numpy as jnp

from vprjax.losses.arcface import KEYS, cross_entropy, own_and_others, place_loss
from vprjax.losses.variant import Loss, OfPlaces
from vprjax.losses.vectors import LEFT_OUT
from vprjax.variants import Key, Number


def cosface(
    descriptors: jax.Array,
    class_weights: jax.Array,
    labels: jax.Array,
    scale: float,
    margin: float,
    class_mask: jax.Array | None = None,
) -> jax.Array:
    """Softmax over scaled cosines, with `margin` taken off the own class's.

    `-log(e^{s (cos t_y - m)} / (e^{s (cos t_y - m)} + sum_{j != y} e^{s cos t_j}))`. Angles `t_j`, shapes,
    mask and errors are those of `arcface`.

    Source: Wang et al. 2018; on places as CosPlace (Berton et al. 2022) trains.
    """
    own, cosines, others = own_and_others("cosface", descriptors, class_weights, labels, class_mask)
    return cross_entropy(scale * (own - margin), jnp.where(others, scale * cosines, LEFT_OUT))


LOSS = Loss(
    title="CosFace",
    make=lambda section: OfPlaces(
        place_loss(
            lambda f, classes, labels, mask, step: cosface(
                f, classes, labels, section.scale, section.margin, mask
            )
        )
    ),
    keys={
        "margin": Key(0.4, Number(high=2), "m, a difference of cosines"),
        **KEYS,
    },
    class_rate=lambda section: section.class_rate,
)
