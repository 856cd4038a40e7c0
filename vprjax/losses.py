"""The losses of the study, one value per example: contrastive, triplet and ArcFace.

Everything is computed and returned in float32 whatever the type of the inputs. The caller reduces.
"""

import jax
import jax.numpy as jnp

# A TPU or GPU would otherwise round the float32 inputs of a matrix product to bfloat16 or TF32.
_EXACT = jax.lax.Precision.HIGHEST

# Shorter vectors count as zero.
_ZERO_LENGTH = 1e-12

# Logit of a class that is left out: finite, as the gradient of logsumexp over only -inf is NaN.
_LEFT_OUT = -1e30


def contrastive(
    a: jax.Array, b: jax.Array, match: jax.Array, margin: float, squared: bool = False
) -> jax.Array:
    """Pulls matching pairs together and pushes the others `margin` apart, by L2 distance `l`.

    Match: `l`; non-match: `max(0, margin - l)`. With `squared` the usual `1/2 l^2` and
    `1/2 max(0, margin - l)^2`. At distance zero the gradient is zero (undefined in the formula).

    Shapes: `(n, d), (n, d), (n,) bool -> (n,)`.
    Raises: ValueError on other shapes.
    Source: Eq. 5 of Alijani & Rahtu 2021; `squared`: Hadsell et al. 2006.
    """
    a, b = _float32(a, b)
    match = jnp.asarray(match, bool)
    if a.ndim != 2 or b.shape != a.shape or match.shape != a.shape[:1]:
        raise ValueError(
            f"contrastive: a {a.shape}, b {b.shape} and match {match.shape} must be "
            "(n, d), (n, d) and (n,)"
        )
    distance = _length(a - b)
    if not squared:
        return jnp.where(match, distance, jax.nn.relu(margin - distance))
    pull = jnp.sum((a - b) ** 2, axis=-1)
    return 0.5 * jnp.where(match, pull, jax.nn.relu(margin - distance) ** 2)


def triplet(
    query: jax.Array,
    positive: jax.Array,
    negatives: jax.Array,
    margin: float,
    valid: jax.Array | None = None,
) -> jax.Array:
    """`sum_j max(0, |q - p|^2 - |q - n_j|^2 + margin)`: squared L2, summed over the negatives.

    Negatives that `valid` marks False do not count.

    Shapes: `(b, d), (b, d), (b, n, d), valid (b, n) bool -> (b,)`, `n >= 1`.
    Raises: ValueError on other shapes.
    Source: Eq. 6 of Alijani & Rahtu 2021; Arandjelovic et al. 2016.
    """
    query, positive, negatives = _float32(query, positive, negatives)
    _check_tuples("triplet", query, positive, negatives, valid)
    to_positive = jnp.sum((query - positive) ** 2, axis=-1)
    to_negatives = jnp.sum((query[:, None, :] - negatives) ** 2, axis=-1)
    terms = jax.nn.relu(to_positive[:, None] - to_negatives + margin)
    return jnp.sum(terms, axis=-1, where=valid)


def arcface(
    descriptors: jax.Array,
    class_weights: jax.Array,
    labels: jax.Array,
    scale: float,
    margin: float,
    class_mask: jax.Array | None = None,
) -> jax.Array:
    """Softmax over scaled cosines, with `margin` (radians) added to the angle of the own class.

    `-log(e^{s cos(t_y + m)} / (e^{s cos(t_y + m)} + sum_{j != y} e^{s cos t_j}))`, `t_j` the angle
    between descriptor and class weight; both are normalised here. Classes whose `class_mask` is
    False are left out of the denominator; the own class never is.

    Shapes: `(b, d), (n, d), (b,) integers in [0, n), class_mask (n,) or (b, n) bool -> (b,)`.
    Raises: ValueError on other shapes or labels that are not integers.
    Source: Eq. 7 of Alijani & Rahtu 2021; Deng et al. 2019.
    """
    descriptors, class_weights = _float32(descriptors, class_weights)
    labels = jnp.asarray(labels)
    _check_classes(descriptors, class_weights, labels)
    cosines = jnp.matmul(_unit(descriptors), _unit(class_weights).T, precision=_EXACT)
    own = jnp.take_along_axis(cosines, labels[:, None], axis=1)[:, 0]
    others = labels[:, None] != jnp.arange(len(class_weights))[None, :]
    if class_mask is not None:
        class_mask = jnp.asarray(class_mask, bool)
        if class_mask.shape not in (others.shape, others.shape[1:]):
            raise ValueError(
                f"arcface: class_mask has shape {class_mask.shape}, "
                f"expected {others.shape[1:]} or {others.shape}"
            )
        others &= jnp.broadcast_to(class_mask, others.shape)
    logits = jnp.where(others, scale * cosines, _LEFT_OUT)
    return _cross_entropy(scale * _add_margin(own, margin), logits)


def arcface_pair(
    query: jax.Array,
    positive: jax.Array,
    negatives: jax.Array,
    scale: float,
    margin: float,
    valid: jax.Array | None = None,
) -> jax.Array:
    """ArcFace with the classes `match` and `no match` of one tuple: the paper's `n = {0, 1}`.

    The query's own descriptor is the class weight, its positive is of the class and its negatives
    are not: `-log(e^{s cos(t_p + m)} / (e^{s cos(t_p + m)} + sum_j e^{s cos t_nj}))`, `t` the angle
    to the query, `m` in radians. All descriptors are normalised here. Negatives that `valid` marks
    False do not count.

    Shapes: `(b, d), (b, d), (b, n, d), valid (b, n) bool -> (b,)`, `n >= 1`.
    Raises: ValueError on other shapes.
    Source: a reading of Eq. 7 of Alijani & Rahtu 2021.
    """
    query, positive, negatives = _float32(query, positive, negatives)
    _check_tuples("arcface_pair", query, positive, negatives, valid)
    query, positive, negatives = _unit(query), _unit(positive), _unit(negatives)
    to_positive = jnp.sum(query * positive, axis=-1)
    to_negatives = jnp.sum(query[:, None, :] * negatives, axis=-1)
    logits = scale * to_negatives
    if valid is not None:
        logits = jnp.where(valid, logits, _LEFT_OUT)
    return _cross_entropy(scale * _add_margin(to_positive, margin), logits)


def _add_margin(cosine: jax.Array, margin: float) -> jax.Array:
    """`cos(t + margin)` from `cos t`, falling in `t` over [0, pi] for a margin up to 2.3; never an `acos`.

    Beyond `pi - margin`, where `cos(t + margin)` would rise again, it goes on as
    `cos t - margin sin(margin)`, as in the code released with Deng et al. 2019.
    """
    # The floor keeps the root's gradient finite at cos t = +-1.
    sine = jnp.sqrt(jnp.maximum(1.0 - cosine**2, 1e-12))
    moved = cosine * jnp.cos(margin) - sine * jnp.sin(margin)
    return jnp.where(cosine > -jnp.cos(margin), moved, cosine - margin * jnp.sin(margin))


def _cross_entropy(own: jax.Array, others: jax.Array) -> jax.Array:
    """`-log(e^own / (e^own + sum_j e^others_j))`, `(b,), (b, n) -> (b,)`, exact for small values.

    The textbook `logsumexp(all) - own` cancels where the own class wins.
    """
    return jax.nn.softplus(jax.nn.logsumexp(others, axis=-1) - own)


def _length(x: jax.Array) -> jax.Array:
    """L2 length of the last axis, with a zero gradient at the zero vector."""
    squared = jnp.sum(x * x, axis=-1)
    vanishes = squared <= _ZERO_LENGTH**2  # False for NaN, so that a NaN stays visible
    return jnp.where(vanishes, 0.0, jnp.sqrt(jnp.where(vanishes, 1.0, squared)))


def _unit(x: jax.Array) -> jax.Array:
    """`x / |x|`; a zero vector stays zero."""
    length = _length(x)[..., None]
    return x / jnp.where(length == 0, 1.0, length)


def _float32(*arrays: jax.Array) -> list[jax.Array]:
    return [jnp.asarray(array, jnp.float32) for array in arrays]


def _check_tuples(name: str, query, positive, negatives, valid) -> None:
    fits = query.ndim == 2 and positive.shape == query.shape and negatives.ndim == 3
    if not fits or negatives.shape[::2] != query.shape or negatives.shape[1] == 0:
        raise ValueError(
            f"{name}: query {query.shape}, positive {positive.shape} and negatives "
            f"{negatives.shape} must be (b, d), (b, d) and (b, n, d) with n >= 1"
        )
    if valid is not None and jnp.shape(valid) != negatives.shape[:2]:
        raise ValueError(f"{name}: valid {jnp.shape(valid)} must be {negatives.shape[:2]}")


def _check_classes(descriptors: jax.Array, class_weights: jax.Array, labels: jax.Array) -> None:
    fits = descriptors.ndim == 2 and class_weights.ndim == 2
    fits = fits and class_weights.shape[1] == descriptors.shape[1]
    if not fits or labels.shape != descriptors.shape[:1]:
        raise ValueError(
            f"arcface: descriptors {descriptors.shape}, class_weights {class_weights.shape} and "
            f"labels {labels.shape} must be (b, d), (n, d) and (b,)"
        )
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise ValueError(f"arcface: labels are {labels.dtype}, expected integers (class indices)")
