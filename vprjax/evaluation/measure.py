"""FCM and its companions, from descriptors and positions of queries and references."""

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from vprjax import retrieval
from vprjax.data import source
from vprjax.descriptors import whitening
from vprjax.errors import ConfigError
from vprjax.evaluation import bootstrap, collapse, fcm, parts, sequence
from vprjax.evaluation.result import (
    Curves,
    Figures,
    Matches,
    Result,
    SequenceFcm,
    by_tolerance,
    keyed,
)

POINTS = 100  # of the FCM curve
STRIP = (200, 400)  # queries and references of the distance picture, at most


@dataclasses.dataclass(frozen=True)
class Described:
    """One split: its images and their descriptors `(n, d)`, an array or a memory map."""

    places: source.Places
    rows: np.ndarray


def measure(
    config,
    query: Described,
    reference: Described,
    reduce: whitening.Projection | None = None,
    tell: Callable[[str], None] | None = None,
) -> Result:
    """Matches one query split to the references and measures the matches.

    Args:
      config: the whole config.
      query: the queries, in time order.
      reference: the references, in time order.
      reduce: projection of both sides' descriptors before matching.
      tell: receives one sentence on the search's memory before the search starts.

    Raises:
      ConfigError: images lack the headings that the config asks for, or the search lacks memory.
    """
    e, tolerances = config.eval, config.dataset.tolerances
    ours, others = (x.rows if reduce is None else reduce(x.rows) for x in (query, reference))
    poses = _poses(config, query.places, reference.places)
    found = _search(config, ours, others, min(max(e.recalls), len(others)), tell)
    matches = _matches(query.places, reference.places, poses, found)
    radius = e.recall_radius or max(tolerances)
    possible = np.count_nonzero(matches.nearest_errors <= radius)
    confidence = fcm.precision_recall(matches.distances, matches.errors <= radius, possible)
    figures = Figures(
        **_shares(matches, query.places.labels, tolerances),
        recall=keyed(e.recalls, poses.recall(found.indices, radius, e.recalls)),
        queries=len(query.places),
        references=len(reference.places),
        average_precision=round(fcm.average_precision(*confidence), 4),
        recall_at_full_precision=round(fcm.recall_at_full_precision(*confidence), 4),
        sequence=_sequence(config, ours, others, poses) if e.sequence_length > 1 else None,
        warnings=collapse.descriptor_doubts(others),
    )
    return Result(figures, matches, _curves(matches, confidence, tolerances), _strip(ours, others))


def fcm_of(config, query: Described, reference: Described) -> dict[str, float]:
    """FCM by tolerance as `measure` gives it, percent of all queries, and nothing else."""
    poses = _poses(config, query.places, reference.places)
    matched = _search(config, query.rows, reference.rows, 1).indices[:, 0]
    return by_tolerance(config.dataset.tolerances, poses.errors(matched))


@dataclasses.dataclass(frozen=True)
class _Poses:
    """Positions `(q, 2)` and `(r, 2)`; headings, with their tolerance in radians, where they count."""

    queries: np.ndarray
    references: np.ndarray
    headings: tuple[np.ndarray, np.ndarray] | None
    turn: float

    def errors(self, matched: np.ndarray) -> np.ndarray:
        """`(q,)` distances of queries to references `matched` `(q,)`."""
        headings = self.headings and (self.headings[0], self.headings[1][matched])
        return fcm.match_errors(self.queries, self.references[matched], headings, self.turn)

    def nearest(self) -> tuple[np.ndarray, np.ndarray]:
        """`(q,)` distances and numbers of the references nearest in position."""
        return fcm.nearest_true(self.queries, self.references, self.headings, self.turn)

    def recall(self, indices: np.ndarray, radius: float, ns) -> np.ndarray:
        """Recall@N, percent, `(m,)`."""
        sides = self.queries, self.references
        return fcm.recall_at(*sides, indices, radius, ns, self.headings, self.turn)


def _poses(config, query: source.Places, reference: source.Places) -> _Poses:
    turn = math.radians(config.eval.heading_degrees)
    if not turn:
        return _Poses(query.positions, reference.positions, None, math.pi)
    headings = query.headings, reference.headings
    if not all(np.isfinite(h).all() for h in headings):
        raise ConfigError(
            f"eval.heading_degrees={config.eval.heading_degrees:g} needs headings, which "
            f"{config.dataset.name} does not have for all images; set it to 0"
        )
    return _Poses(query.positions, reference.positions, headings, turn)


def _search(config, queries, references, k: int, tell=None) -> retrieval.Found:
    e = config.eval
    try:
        return retrieval.search(
            queries, references, k, int(e.search_memory * 2**30), scan=e.search_scan, tell=tell
        )
    except retrieval.TooLittleMemory as error:
        raise ConfigError(f"eval.search_memory={e.search_memory:g} GiB: {error}") from error


def _matches(
    query: source.Places, reference: source.Places, poses: _Poses, found: retrieval.Found
) -> Matches:
    matched = found.indices[:, 0]
    nearest_errors, nearest = poses.nearest()
    return Matches(
        query_ids=query.image_ids,
        query_positions=query.positions,
        numbers=matched,
        ids=reference.image_ids[matched],
        positions=reference.positions[matched],
        errors=poses.errors(matched),
        distances=found.distances[:, 0],
        nearest=nearest,
        nearest_errors=nearest_errors,
    )


def _shares(matches: Matches, labels: np.ndarray, tolerances) -> dict:
    """The figures that are shares of queries within every tolerance."""
    errors = matches.errors
    within = errors[:, None] <= np.array(tolerances)[None]
    intervals, exact = bootstrap.share_interval(within)
    return {
        "fcm": by_tolerance(tolerances, errors),
        "interval": {
            f"{t:g}": (round(float(low), 4), round(float(high), 4))
            for t, (low, high) in zip(tolerances, 100 * intervals, strict=True)
        },
        "interval_exact": [f"{t:g}" for t, yes in zip(tolerances, exact, strict=True) if yes],
        "oracle_fcm": by_tolerance(tolerances, matches.nearest_errors),
        "segments": parts.segments(errors, tolerances),
        "labels": parts.labels(errors, labels, tolerances),
    }


def _curves(matches: Matches, confidence: tuple[np.ndarray, np.ndarray], tolerances) -> Curves:
    x = np.linspace(0, 1.2 * max(tolerances) or 1.0, POINTS)  # a little past the widest tolerance
    shares = (fcm.share_within(errors, x) for errors in (matches.errors, matches.nearest_errors))
    return Curves(x, *shares, *(100 * share for share in confidence))


def _sequence(config, queries, references, poses: _Poses) -> SequenceFcm:
    length = config.eval.sequence_length
    _, matched = sequence.match(queries, references, length)
    return SequenceFcm(length, by_tolerance(config.dataset.tolerances, poses.errors(matched)))


def _strip(queries: np.ndarray, references: np.ndarray) -> np.ndarray:
    """Distances of evenly spread queries and references, `(a, b)` float32."""
    rows = []
    for x, most in zip((queries, references), STRIP, strict=True):
        chosen = np.unique(np.linspace(0, len(x) - 1, min(most, len(x))).astype(int))
        rows.append(np.asarray(x[chosen], np.float32))
    squared = [np.einsum("nd,nd->n", x, x) for x in rows]
    return np.sqrt(np.maximum(np.add.outer(*squared) - 2 * rows[0] @ rows[1].T, 0))
