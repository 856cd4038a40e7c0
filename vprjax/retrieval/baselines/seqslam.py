"""SeqSLAM (Milford & Wyeth 2012): small pictures compared along sequences of frames."""

from collections.abc import Callable

import numpy as np
from scipy.spatial import distance

from vprjax.retrieval.baselines import pixels
from vprjax.retrieval.baselines.images import pool
from vprjax.retrieval.baselines.variant import Baseline, Facts, Matching
from vprjax.variants import Key, Number, Several, Whole

COLUMNS = 1024  # references compared at once by one thread
LEAST = 3  # references: a neighbourhood of one on each side
KEYS = {
    **pixels.KEYS,
    "contrast": Key(
        10,
        Whole(2, 10_000),
        "R: neighbours along the references that a difference is compared with",
    ),
    "length": Key(10, Whole(1), "frames per sequence"),
    "speeds": Key(
        (0.8, 0.9, 1.0, 1.1, 1.2),
        Several(Number(high=100, above=True)),
        "references per query frame that the search tries",
    ),
    "window": Key(10, Whole(1), "references around the best match that are no rivals of it"),
}


def describe(image: np.ndarray, state, settings) -> np.ndarray:
    """The patch-normalised picture `(height * width,)` float32."""
    return pixels.normalised(image, settings.width, settings.height, settings.patch).ravel()


def differences(queries: np.ndarray, references: np.ndarray) -> np.ndarray:
    """Mean absolute differences `(n, r)` float64 of pictures `(n, d)` and `(r, d)`."""
    own = np.asarray(queries, np.float64)
    out = np.empty((len(own), len(references)))

    def fill(first: int) -> None:
        part = np.asarray(references[first : first + COLUMNS], np.float64)
        out[:, first : first + COLUMNS] = distance.cdist(own, part, "cityblock") / own.shape[1]

    with pool() as threads:
        list(threads.map(fill, range(0, len(references), COLUMNS)))
    return out


def contrast(differences: np.ndarray, neighbours: int) -> np.ndarray:
    """Local contrast: `(d - mean) / deviation + sqrt(R)` over `[j - R/2, j + R/2]`, cut at the ends.

    A deviation of m + 1 numbers leaves none of them more than sqrt(m) below their mean, so no cost is
    negative and ratios of costs have a meaning. A flat neighbourhood gives sqrt(R).

    Shapes: `(n, r) -> (n, r)` float64.
    """
    n, r = differences.shape
    half = neighbours // 2
    ends = [(max(0, -s), min(r, r - s), s) for s in range(-half, half + 1) if abs(s) < r]
    total, count = np.zeros((n, r)), np.zeros(r)
    for first, last, shift in ends:
        total[:, first:last] += differences[:, first + shift : last + shift]
        count[first:last] += 1
    mean, squares = total / count, np.zeros((n, r))
    for first, last, shift in ends:
        part = differences[:, first + shift : last + shift]
        squares[:, first:last] += (part - mean[:, first:last]) ** 2
    deviation = np.sqrt(squares / count)
    flat = deviation < 1e-12
    score = np.where(flat, 0, (differences - mean) / np.where(flat, 1, deviation))
    return score + np.sqrt(neighbours)


def _costs(references: np.ndarray, state, settings) -> Callable[[np.ndarray], np.ndarray]:
    return lambda queries: contrast(differences(queries, references), settings.contrast)


def uniqueness(costs: np.ndarray, window: int) -> np.ndarray:
    """Lowest cost over the lowest outside a window around it `(n,)`: 1 where another place is as near.

    Shapes: costs `(n, r)`, none negative; 1 where the window covers all references.
    """
    best, columns = np.argmin(costs, axis=1), np.arange(costs.shape[1])
    near = np.abs(columns - best[:, None]) <= window // 2
    rival = np.where(near, np.inf, costs).min(axis=1)
    return np.where(np.isinf(rival), 1.0, costs.min(axis=1) / np.maximum(rival, 1e-12))


def _objections(settings, facts: Facts) -> list[str]:
    found = pixels.objections_of("seqslam")(settings, facts)
    if settings.length > facts.queries:
        found.append(
            f"baseline.seqslam.length={settings.length} must not go over the {facts.queries} images of the "
            "shortest query split: lower it"
        )
    if facts.references < LEAST:
        return [
            *found,
            f"baseline.seqslam compares neighbouring references, {LEAST} or more, and there are "
            f"{facts.references}: name another dataset.reference_split or baseline",
        ]
    for key in ("window", "contrast", "length"):
        if settings[key] >= facts.references:
            found.append(
                f"baseline.seqslam.{key}={settings[key]} must be below the {facts.references} references: "
                "lower it"
            )
    return found


def _doubts(settings, facts: Facts) -> list[str]:
    ratio, speeds = facts.references / facts.queries, settings.speeds
    if settings.length == 1 or min(speeds) <= ratio <= max(speeds):
        return []
    return [
        f"there are {ratio:.2f} references per query, and baseline.seqslam.speeds go from {min(speeds):g} "
        f"to {max(speeds):g}: where both drives cover one route, no line follows it; add that ratio"
    ]


BASELINE = Baseline(
    title="SeqSLAM",
    reference="Milford & Wyeth 2012",
    about="Small patch-normalised pictures give a matrix of differences, and each difference is compared "
    "with its neighbours along the references. A straight line through the matrix at one of five speeds "
    "then matches ten frames together.",
    describe=describe,
    keys=KEYS,
    objections=_objections,
    doubts=_doubts,
    matching=Matching(
        costs=_costs,
        length=lambda settings: settings.length,
        speeds=lambda settings: tuple(settings.speeds),
        surety=lambda costs, settings: uniqueness(costs, settings.window),
    ),
)
