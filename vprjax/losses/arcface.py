"""ArcFace: an angular margin, on learnable classes per place or on the pair classes of a tuple."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from vprjax.losses.variant import Loss, OfPlaces, OfTuples
from vprjax.losses.vectors import LEFT_OUT, check_tuples, float32, unit
from vprjax.variants import Key, Number, OneOf, Whole

# A TPU or GPU would otherwise round the float32 inputs of a matrix product to bfloat16 or TF32.
_EXACT = jax.lax.Precision.HIGHEST

PLACES, PAIR = "places", "pair"
KEYS = {  # of every loss with class weights
    "scale": Key(30.0, Number(above=True), "s"),
    "class_rate": Key(1000.0, Number(), "learning-rate multiplier of the class weights", free=True),
}


def arcface(
    descriptors: jax.Array,
    class_weights: jax.Array,
    labels: jax.Array,
    scale: float,
    margin: float,
    class_mask: jax.Array | None = None,
) -> jax.Array:
    """Softmax over scaled cosines, with `margin` (radians) added to the angle of the own class.

    `-log(e^{s cos(t_y + m)} / (e^{s cos(t_y + m)} + sum_{j != y} e^{s cos t_j}))`, with `t_j` the angle
    between descriptor and class weight. The loss normalises both. The denominator leaves out classes
    whose `class_mask` is False, but never the own class.

    Shapes: `(b, d), (n, d), (b,) integers in [0, n), class_mask (n,) or (b, n) bool -> (b,)`.
    Raises: ValueError on other shapes or labels that are not integers.
    Source: Eq. 7 of Alijani & Rahtu 2021; Deng et al. 2019.
    """
    own, cosines, others = own_and_others("arcface", descriptors, class_weights, labels, class_mask)
    logits = jnp.where(others, scale * cosines, LEFT_OUT)
    return cross_entropy(scale * _add_margin(own, margin), logits)


def own_and_others(
    name: str, descriptors, class_weights, labels, class_mask
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns the cosines to the own class `(b,)` and to all `(b, n)`, and which are others that count.

    Raises ValueError, with the loss's `name`, on the shapes that `arcface` refuses.
    """
    descriptors, class_weights = float32(descriptors, class_weights)
    labels = jnp.asarray(labels)
    _check_classes(name, descriptors, class_weights, labels)
    cosines = jnp.matmul(unit(descriptors), unit(class_weights).T, precision=_EXACT)
    own = jnp.take_along_axis(cosines, labels[:, None], axis=1)[:, 0]
    others = labels[:, None] != jnp.arange(len(class_weights))[None, :]
    if class_mask is not None:
        class_mask = jnp.asarray(class_mask, bool)
        if class_mask.shape not in (others.shape, others.shape[1:]):
            raise ValueError(
                f"{name}: class_mask has shape {class_mask.shape}, "
                f"expected {others.shape[1:]} or {others.shape}"
            )
        others &= jnp.broadcast_to(class_mask, others.shape)
    return own, cosines, others


def arcface_pair(
    query: jax.Array,
    positive: jax.Array,
    negatives: jax.Array,
    scale: float,
    margin: float,
    valid: jax.Array | None = None,
) -> jax.Array:
    """ArcFace with the classes `match` and `no match` of one tuple: the paper's `n = {0, 1}`.

    The query's own descriptor is the class weight; its positive is of the class, its negatives are not.
    `-log(e^{s cos(t_p + m)} / (e^{s cos(t_p + m)} + sum_j e^{s cos t_nj}))`, with `t` the angle to the
    query and `m` in radians. The loss normalises all descriptors. Negatives that `valid` marks False do
    not count.

    Shapes: `(b, d), (b, d), (b, n, d), valid (b, n) bool -> (b,)`, `n >= 1`.
    Raises: ValueError on other shapes.
    Source: a reading of Eq. 7 of Alijani & Rahtu 2021.
    """
    query, positive, negatives = float32(query, positive, negatives)
    check_tuples("arcface_pair", query, positive, negatives, valid)
    query, positive, negatives = unit(query), unit(positive), unit(negatives)
    to_positive = jnp.sum(query * positive, axis=-1)
    to_negatives = jnp.sum(query[:, None, :] * negatives, axis=-1)
    logits = scale * to_negatives
    if valid is not None:
        logits = jnp.where(valid, logits, LEFT_OUT)
    return cross_entropy(scale * _add_margin(to_positive, margin), logits)


def _add_margin(cosine: jax.Array, margin: float) -> jax.Array:
    """Returns `cos(t + margin)` from `cos t` without `acos`; it falls over [0, pi] for a margin up to 2.3.

    Beyond `pi - margin`, where `cos(t + margin)` rises again, it continues as
    `cos t - margin sin(margin)`, as in the code released with Deng et al. 2019.
    """
    # The floor keeps the root's gradient finite at cos t = +-1.
    sine = jnp.sqrt(jnp.maximum(1.0 - cosine**2, 1e-12))
    moved = cosine * jnp.cos(margin) - sine * jnp.sin(margin)
    return jnp.where(cosine > -jnp.cos(margin), moved, cosine - margin * jnp.sin(margin))


def cross_entropy(own: jax.Array, others: jax.Array) -> jax.Array:
    """Returns `-log(e^own / (e^own + sum_j e^others_j))`, `(b,), (b, n) -> (b,)`, exact where small.

    The textbook `logsumexp(all) - own` cancels where the own class wins.
    """
    return jax.nn.softplus(jax.nn.logsumexp(others, axis=-1) - own)


def _check_classes(
    name: str, descriptors: jax.Array, class_weights: jax.Array, labels: jax.Array
) -> None:
    fits = descriptors.ndim == 2 and class_weights.ndim == 2
    fits = fits and class_weights.shape[1] == descriptors.shape[1]
    if not fits or labels.shape != descriptors.shape[:1]:
        raise ValueError(
            f"{name}: descriptors {descriptors.shape}, class_weights {class_weights.shape} and "
            f"labels {labels.shape} must be (b, d), (n, d) and (b,)"
        )
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise ValueError(f"{name}: labels are {labels.dtype}, expected integers (class indices)")


def place_loss(value_of: Callable) -> Callable:
    """Makes a loss on places: `(descriptors (p, k, d), batch, classes (g, n, d), step) -> dict of (p,)`.

    The group's class weights are `classes[group]`; a mask hides rows past the group's own classes.

    Args:
      value_of: `(descriptors (b, d), class weights (n, d), labels (b,), mask (n,), step) -> (b,)`.
    """

    def loss(descriptors, batch, classes, step):
        p, k, d = descriptors.shape
        group = batch["group"][0]
        mask = jnp.arange(classes.shape[1]) < batch["group_size"][0]
        labels = jnp.repeat(batch["labels"], k)
        flat = descriptors.reshape(p * k, d)
        value = value_of(flat, classes[group], labels, mask, step)
        cosine = jnp.matmul(flat, _class_unit(classes[group]).T, precision=_EXACT)
        distance = jnp.sqrt(jnp.maximum(2 - 2 * cosine, 0))
        own = jnp.arange(classes.shape[1])[None, :] == labels[:, None]
        nearest_other = jnp.where(own | ~mask[None, :], jnp.inf, distance).min(axis=1)
        own_distance = jnp.where(own, distance, 0).sum(axis=1)
        return {
            "loss": value.reshape(p, k).mean(axis=1),
            "active": (own_distance > nearest_other).astype(jnp.float32).reshape(p, k).mean(axis=1),
            "positive_distance": own_distance.reshape(p, k).mean(axis=1),
            "negative_distance": nearest_other.reshape(p, k).mean(axis=1),
            "negative_distances": nearest_other,
        }

    return loss


def _margin(section, step) -> jax.Array:
    """Returns the margin of `step`, which grows linearly from 0 over `margin_warmup` steps."""
    grown = jnp.minimum((step + 1) / max(section.margin_warmup, 1), 1.0)
    return section.margin * grown


def _class_unit(weights: jax.Array) -> jax.Array:
    """Returns class weights on the unit sphere, as ArcFace sees them."""
    return weights / jnp.maximum(jnp.linalg.norm(weights, axis=-1, keepdims=True), 1e-12)


def _of_pairs(section) -> OfTuples:
    """The paper's binary reading of Eq. 7: the query is the class weight of its tuple."""

    def reach(to_positive, step):
        # ArcFace's angle, the margin added, as a chord of the unit sphere.
        angle = 2 * jnp.arcsin(jnp.minimum(to_positive / 2, 1)) + _margin(section, step)
        return 2 * jnp.sin(jnp.minimum(angle, jnp.pi) / 2)

    return OfTuples(
        value=lambda query, positive, negatives, valid, step: arcface_pair(
            query, positive, negatives, section.scale, _margin(section, step), valid
        ),
        reach=reach,
    )


def _make(section) -> OfTuples | OfPlaces:
    if section.classes == PLACES:
        return OfPlaces(
            place_loss(
                lambda f, classes, labels, mask, step: arcface(
                    f, classes, labels, section.scale, _margin(section, step), mask
                )
            )
        )
    if section.classes == PAIR:
        return _of_pairs(section)
    raise ValueError(
        f"loss.arcface.classes={section.classes!r} is not known; known: {PLACES!r}, {PAIR!r}"
    )


LOSS = Loss(
    title="ArcFace",
    make=_make,
    keys={
        # Past 2.3 the loss rises.
        "margin": Key(0.3, Number(high=math.pi / 2), "m, radians"),
        "margin_warmup": Key(0, Whole(), "steps over which m grows from 0"),
        "classes": Key(
            PLACES,
            OneOf((PLACES, PAIR)),
            '"places": one class per place; "pair": the paper\'s binary reading',
        ),
        **KEYS,
    },
    class_rate=lambda section: section.class_rate,
)
