"""FCM and its companions, from descriptors and positions of queries and references."""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence

import numpy as np

from vprjax import retrieval
from vprjax.data import protocol, source
from vprjax.descriptors import whitening
from vprjax.errors import ConfigError, WeightsError
from vprjax.evaluation import bootstrap, collapse, fcm, parts, post, rerank, sequence
from vprjax.evaluation.result import (
    Curves,
    Figures,
    Matches,
    Result,
    SequenceFcm,
    by_tolerance,
    keyed,
)
from vprjax.evaluation.truth import Lists, Poses, Truth
from vprjax.retrieval import rerank as two_stages

POINTS = 100  # of the FCM curve
STRIP = (200, 400)  # queries and references of the distance picture, at most
# `(queries (q, d), references (r, d), k)` to numbers and distances `(q, k)` of the first k references.
Search = Callable[[np.ndarray, np.ndarray, int], "Ranked | retrieval.Found"]


@dataclasses.dataclass(frozen=True)
class Ranked:
    """The first references of every query: numbers `(q, k)`, best first, and distances `(q, k)`."""

    indices: np.ndarray
    distances: np.ndarray


@dataclasses.dataclass(frozen=True)
class Described:
    """One split.

    Attributes:
      places: its images.
      rows: their descriptors `(n, d)`, an array or a memory map.
      positives: per query the numbers of the references that are right, where the dataset lists them.
    """

    places: source.Places
    rows: np.ndarray
    positives: Sequence[np.ndarray] | None = None


def measure(
    config,
    query: Described,
    reference: Described,
    reduce: whitening.Projection | None = None,
    tell: Callable[[str], None] | None = None,
    search: Search | None = None,
) -> Result:
    """Matches one query split to the references and measures the matches.

    All queries are matched; the figures count those whose position is known.

    Args:
      config: the whole config.
      query: the queries, in time order.
      reference: the references, in time order.
      reduce: projection of both sides' descriptors before matching.
      tell: receives one sentence on the search's memory before the search starts.
      search: finds the first k references of every query in place of the exact search by L2.

    Raises:
      ConfigError: images lack the headings that the config asks for, or the search lacks memory.
      WeightsError: a descriptor is not finite.
    """
    e = config.eval
    ours, others = _processed(config, *(_reduced(x.rows, reduce) for x in (query, reference)))
    truth = _truth(config, query, reference.places)
    first = min(max(e.recalls), len(others))
    if search:
        exact = functools.partial(search, ours, others, first)
    else:
        exact = functools.partial(_search, config, ours, others, first, tell)
    found, *two = rerank.search(config, ours, others, exact) if e.rerank else (exact(),)
    matches = _matches(query.places, reference.places, truth, found)
    if len(truth.known):
        shares, curves = _answered(config, matches, truth, found.indices, query.places.labels)
        if e.sequence_length > 1:
            shares["sequence"] = _sequence(config, ours, others, truth)
    else:
        shares, curves = _unanswered(config)
    figures = Figures(
        **shares,
        queries=len(query.places),
        references=len(reference.places),
        with_position=len(truth.known),
        rerank=rerank.figures(config, truth, *two) if two else None,
        warnings=_doubts(e, ours, others),
    )
    return Result(figures, matches, curves, _strip(ours, others))


def _doubts(settings, ours: np.ndarray, others: np.ndarray) -> list[str]:
    of_rows = collapse.descriptor_doubts(others) or collapse.query_doubts(ours)
    return [*post.doubts(settings, len(ours), len(others)), *of_rows]


def fcm_of(config, query: Described, reference: Described) -> dict[str, float]:
    """FCM by tolerance as `measure` gives it without `reduce`, and nothing else.

    References fewer than `eval.rerank` are all put in order.
    """
    truth, e = _truth(config, query, reference.places), config.eval
    ours, others = _processed(config, query.rows, reference.rows)
    if e.rerank:
        candidates = min(e.rerank, len(others))
        found = two_stages.search(ours, others, 1, candidates, e.rerank_bits, config.seed)
    else:
        found = _search(config, ours, others, 1)
    matched = found.indices[:, 0]
    return by_tolerance(config.dataset.tolerances, truth.errors(matched)[truth.known])


def mean_of(found: dict[str, float]) -> float:
    """The mean over tolerances of `fcm_of`, which ranks checkpoints and blends."""
    return round(float(np.mean(list(found.values()))), 4)


def _reduced(rows: np.ndarray, reduce: whitening.Projection | None) -> np.ndarray:
    return rows if reduce is None else reduce(rows)


def _processed(config, ours: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both sides as the search compares them, after the post-processing of the `eval` section."""
    return post.processed(config.eval, ours, others, lambda a, b, k: _search(config, a, b, k))


def _truth(config, query: Described, reference: source.Places) -> Truth:
    """What is right, by the dataset's lists or else by poses."""
    if query.positives is not None:
        return Lists(query.positives)
    turn, known = math.radians(config.eval.heading_degrees), query.places.located
    sides = known, len(query.places), query.places.positions[known], reference.positions
    if not turn:
        return Poses(*sides, None, math.pi)
    headings = query.places.headings[known], reference.headings
    if not all(np.isfinite(h).all() for h in headings):
        raise ConfigError(
            f"eval.heading_degrees={config.eval.heading_degrees:g} needs headings, which "
            f"{config.dataset.name} does not have for all images; set it to 0"
        )
    return Poses(*sides, headings, turn)


def _search(config, queries, references, k: int, tell=None) -> retrieval.Found:
    e = config.eval
    try:
        return retrieval.search(
            queries, references, k, int(e.search_memory * 2**30), scan=e.search_scan, tell=tell
        )
    except retrieval.TooLittleMemory as error:
        raise ConfigError(f"eval.search_memory={e.search_memory:g} GiB: {error}") from error
    except ValueError as error:
        wrong = [int((~np.isfinite(rows).all(axis=1)).sum()) for rows in (queries, references)]
        if not any(wrong):
            raise
        raise WeightsError(
            f"descriptors of {wrong[0]:,} of {len(queries):,} queries and {wrong[1]:,} of "
            f"{len(references):,} references hold NaN or infinity: the model's numbers are too large or "
            "all 0; check model.weights and model.compute_dtype"
        ) from error


def _matches(
    query: source.Places, reference: source.Places, truth: Truth, found: Ranked | retrieval.Found
) -> Matches:
    matched = found.indices[:, 0]
    nearest_errors, nearest = truth.nearest()
    return Matches(
        query_ids=query.image_ids,
        query_positions=query.positions,
        numbers=matched,
        ids=reference.image_ids[matched],
        positions=reference.positions[matched],
        errors=truth.errors(matched),
        distances=found.distances[:, 0],
        nearest=nearest,
        nearest_errors=nearest_errors,
    )


def _answered(
    config, matches: Matches, truth: Truth, indices: np.ndarray, labels: np.ndarray
) -> tuple[dict, Curves]:
    """The figures that are shares of the queries with a position, and the curves."""
    e, tolerances, known = config.eval, config.dataset.tolerances, truth.known
    errors, nearest = matches.errors[known], matches.nearest_errors[known]
    radius = protocol.radius(config)
    possible = np.count_nonzero(nearest <= radius)
    confidence = fcm.precision_recall(matches.distances[known], errors <= radius, possible)
    shares = {
        **_shares(errors, tolerances),
        "oracle_fcm": by_tolerance(tolerances, nearest),
        "segments": parts.segments(errors, tolerances, known),
        "labels": parts.labels(errors, labels[known], tolerances),
        "recall": keyed(e.recalls, truth.recall(indices, radius, e.recalls)),
        "average_precision": round(fcm.average_precision(*confidence), 4),
        "recall_at_full_precision": round(fcm.recall_at_full_precision(*confidence), 4),
    }
    x = _range(tolerances)
    within = (fcm.share_within(found, x) for found in (errors, nearest))
    return shares, Curves(x, *within, *(100 * share for share in confidence))


def _unanswered(config) -> tuple[dict, Curves]:
    """`_answered` where no query has a position: NaN for every share."""
    tolerances, recalls = config.dataset.tolerances, config.eval.recalls
    nothing = by_tolerance(tolerances, np.empty(0))
    shares = {
        "fcm": nothing,
        "interval": {tolerance: (math.nan, math.nan) for tolerance in nothing},
        "oracle_fcm": nothing,
        "segments": [],
        "labels": {},
        "recall": keyed(recalls, [math.nan] * len(recalls)),
        "average_precision": math.nan,
        "recall_at_full_precision": math.nan,
    }
    x, empty = _range(tolerances), np.empty(0)
    return shares, Curves(x, *[np.full(POINTS, np.nan)] * 2, empty, empty)


def _range(tolerances) -> np.ndarray:
    """Tolerances of the curve, from 0 to a little past the widest."""
    return np.linspace(0, 1.2 * max(tolerances) or 1.0, POINTS)


def _shares(errors: np.ndarray, tolerances) -> dict:
    """FCM and its intervals."""
    within = errors[:, None] <= np.array(tolerances)[None]
    intervals, exact = bootstrap.share_interval(within)
    return {
        "fcm": by_tolerance(tolerances, errors),
        "interval": {
            f"{t:g}": (round(float(low), 4), round(float(high), 4))
            for t, (low, high) in zip(tolerances, 100 * intervals, strict=True)
        },
        "interval_exact": [f"{t:g}" for t, yes in zip(tolerances, exact, strict=True) if yes],
    }


def _sequence(config, queries, references, truth: Truth) -> SequenceFcm:
    length = config.eval.sequence_length
    _, matched = sequence.match(queries, references, length)
    errors = truth.errors(matched)[truth.known]
    return SequenceFcm(length, by_tolerance(config.dataset.tolerances, errors))


def _strip(queries: np.ndarray, references: np.ndarray) -> np.ndarray:
    """Distances of evenly spread queries and references, `(a, b)` float32."""
    rows = []
    for x, most in zip((queries, references), STRIP, strict=True):
        chosen = np.unique(np.linspace(0, len(x) - 1, min(most, len(x))).astype(int))
        rows.append(np.asarray(x[chosen], np.float32))
    squared = [np.einsum("nd,nd->n", x, x) for x in rows]
    return np.sqrt(np.maximum(np.add.outer(*squared) - 2 * rows[0] @ rows[1].T, 0))
