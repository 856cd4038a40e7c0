"""Whether every query finds its negatives, from the poses alone: training asks before it compiles."""

import numpy as np
from scipy.spatial import cKDTree

from vprjax.data.source import Places
from vprjax.sampling import mining
from vprjax.sampling.poses import Poses

MOST_DISTANCES = 10**8  # that an error message may cost
CLOSE = (
    1 - 1e-9
)  # the tree's squares round otherwise than mining's distances: no sound query is refused


def too_few(
    poses: Poses, queries: np.ndarray, others: np.ndarray, radius: float, count: int
) -> np.ndarray:
    """Returns those of `queries` that have fewer than `count` negatives among the images `others`.

    Args:
      poses: the poses of all images.
      queries: `(q,)` image indices.
      others: `(m,)` image indices.
      radius: position units.
      count: negatives per query.
    """
    near = cKDTree(poses.positions[others]).query_ball_point(
        poses.positions[queries], radius * CLOSE, return_length=True
    )
    few = queries[len(others) - near < count]
    if poses.headings is None:
        return few
    far = [np.count_nonzero(poses.distances(others, query) > radius) for query in few]
    return few[np.array(far, np.int64) < count]


def check_places(places: Places, poses: Poses, queries: np.ndarray, tuples, unit: str) -> None:
    """Checks that all training images hold the negatives of every query.

    Without mined negatives, one query with an image beyond the radius is enough.

    Args:
      places: the training images.
      poses: their poses.
      queries: `(q,)` indices of the images that training draws as queries.
      tuples: the `tuples` section.
      unit: the position unit.

    Raises:
      ValueError: too few images lie beyond the negative radius.
    """
    every, radius, count = np.arange(len(places)), tuples.negative_radius, tuples.negatives or 1
    failing = too_few(poses, queries, every, radius, count)
    if not len(failing) or (not tuples.negatives and len(failing) < len(queries)):
        return
    needs = (
        f"tuples.negatives={count}" if tuples.negatives else f"tuples.in_batch={tuples.in_batch}"
    )
    span = " x ".join(f"{x:.4g}" for x in np.ptp(places.positions, axis=0))
    raise ValueError(
        f"{len(failing)} of {len(queries)} queries, {places.image_ids[failing[0]]} among them, have too "
        f"few of {len(places)} training images beyond tuples.negative_radius={radius:g} for {needs}, as "
        f"all positions span {span} {unit}: {_remedy(poses, failing, tuples, count)}"
    )


def check_pool(places: Places, poses: Poses, drawn: mining.Round, tuples) -> None:
    """Checks that a round's pool and a full hard-negative memory hold the negatives of its queries.

    Raises:
      ValueError: too few images of the pool lie beyond the negative radius.
    """
    held = drawn.remembered.shape[1] if drawn.number else 0
    queries, radius = np.unique(drawn.queries), tuples.negative_radius
    failing = too_few(poses, queries, drawn.pool, radius, tuples.negatives - held)
    if len(failing):
        raise ValueError(
            f"mining round {drawn.number} draws tuples.mining_pool={tuples.mining_pool} images, of which "
            f"too few lie beyond tuples.negative_radius={radius:g} of {places.image_ids[failing[0]]} for "
            f"tuples.negatives={tuples.negatives}: enlarge tuples.mining_pool or set it to 0 (all images)"
        )


def _remedy(poses: Poses, failing: np.ndarray, tuples, count: int) -> str:
    """What gives every failing query its negatives."""
    n = len(poses.positions)
    if n <= count:
        return f"lower tuples.negatives to {n - 1} at most or add training images"
    some = failing[:: 1 + len(failing) * n // MOST_DISTANCES]
    every = np.arange(n)
    reach = min(np.partition(poses.distances(every, query), -count)[-count] for query in some)
    most = float(f"{0.95 * reach:.3g}")
    if not most:
        return "add training images of other places, or check the unit of the positions"
    both = f" and tuples.positive_radius below it, {tuples.positive_radius:g} now,"
    return (
        f"set tuples.negative_radius to {most:g} or less{both if most <= tuples.positive_radius else ''} "
        "or add training images of other places"
    )
