"""FCM and its companions of one model on the splits of a dataset."""

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator

import numpy as np

from vprjax import retrieval
from vprjax.data import source
from vprjax.descriptors import whitening
from vprjax.errors import ConfigError
from vprjax.evaluation import bootstrap, fcm, sequence

SEGMENTS = 10  # stretches of a query route whose figures are told apart
LABELS = 100  # of queries whose figures are told apart
STRIP = (200, 400)  # at most so many queries and references of the distance picture


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
) -> dict:
    """The figures of one query split.

    Args:
      config: the whole config.
      query: the queries, in time order.
      reference: the references, in time order.
      reduce: applied to both sides' descriptors before matching.
      tell: called with a sentence on the search's memory before it starts.

    Returns:
      Percentages of all queries `fcm`, `oracle_fcm` by tolerance and `recall` by n; `interval` (95 %, block
      bootstrap) by tolerance; `average_precision` and `recall_at_full_precision` (percent); `segments`
      (FCM of tenths of the route) and `labels` (FCM by the queries' label, where there are any);
      `sequence` with `eval.sequence_length`; `queries` and `references` counts. For pictures the arrays
      `curve`, `oracle_curve`, `matched` (reference numbers), `nearest` (numbers of the references nearest
      in position), `distance`, `error`, `precision` and `pr_recall` (percent), `strip` (distances of some
      queries and references) and ids and positions of queries and matches.
    """
    e = config.eval
    ours, others = (x.rows if reduce is None else reduce(x.rows) for x in (query, reference))
    headings, turn = _headings(config, query.places, reference.places)
    found = _search(config, ours, others, min(max(e.recalls), len(others)), tell)
    q, r = query.places.positions, reference.places.positions
    error = _errors(q, r, found.indices[:, 0], headings, turn)
    true_error, nearest = fcm.nearest_true(q, r, headings, turn)
    radius = e.recall_radius or max(config.dataset.tolerances)
    recall = fcm.recall_at(q, r, found.indices, radius, e.recalls, headings, turn)
    figures = _shares(config, error, true_error, query.places.labels)
    figures |= {"recall": _by(e.recalls, recall), "queries": len(q), "references": len(r)}
    figures |= _confidence(found.distances[:, 0], error <= radius, true_error <= radius)
    figures |= _places(query.places, reference.places, found.indices[:, 0], nearest)
    figures["strip"] = _strip(ours, others)
    if e.sequence_length > 1:
        _, along = sequence.match(ours, others, e.sequence_length)
        shares = fcm.share_within(_errors(q, r, along, headings, turn), config.dataset.tolerances)
        figures["sequence"] = {
            "length": e.sequence_length,
            "fcm": _by(config.dataset.tolerances, shares),
        }
    return figures


def fcm_of(config, query: Described, reference: Described) -> dict[str, float]:
    """FCM by tolerance as `measure` gives it, and nothing else: percent of all queries."""
    headings, turn = _headings(config, query.places, reference.places)
    matched = _search(config, query.rows, reference.rows, 1).indices[:, 0]
    error = _errors(query.places.positions, reference.places.positions, matched, headings, turn)
    return _by(config.dataset.tolerances, fcm.share_within(error, config.dataset.tolerances))


def _search(config, queries, references, k: int, tell=None) -> retrieval.Found:
    e = config.eval
    try:
        return retrieval.search(
            queries, references, k, int(e.search_memory * 2**30), scan=e.search_scan, tell=tell
        )
    except retrieval.TooLittleMemory as error:
        raise ConfigError(f"eval.search_memory={e.search_memory:g} GiB: {error}") from error


def _shares(config, error: np.ndarray, true_error: np.ndarray, labels: np.ndarray) -> dict:
    """Shares of queries within every tolerance: all, the ceiling, along the route, by label."""
    tolerances = config.dataset.tolerances
    curve = curve_tolerances(tolerances)
    intervals = 100 * bootstrap.interval(error[:, None] <= np.array(tolerances)[None])
    return {
        "fcm": _by(tolerances, fcm.share_within(error, tolerances)),
        "interval": {
            f"{t:g}": [round(float(v), 4) for v in ends]
            for t, ends in zip(tolerances, intervals, strict=True)
        },
        "oracle_fcm": _by(tolerances, fcm.share_within(true_error, tolerances)),
        "segments": [_part(part, error, tolerances) for part in _segments(len(error))],
        "labels": _by_label(labels, error, tolerances),
        "curve": fcm.share_within(error, curve),
        "oracle_curve": fcm.share_within(true_error, curve),
        "error": error,
    }


def _confidence(distance: np.ndarray, right: np.ndarray, possible: np.ndarray) -> dict:
    """Precision and recall of matches that are trusted up to a distance."""
    precision, recall = fcm.precision_recall(distance, right, int(possible.sum()))
    return {
        "average_precision": round(fcm.average_precision(precision, recall), 4),
        "recall_at_full_precision": round(fcm.recall_at_full_precision(precision, recall), 4),
        "precision": 100 * precision,
        "pr_recall": 100 * recall,
        "distance": distance,
    }


def _places(query: source.Places, reference: source.Places, matched, nearest) -> dict:
    return {
        "matched": matched,
        "nearest": nearest,
        "query_ids": query.image_ids,
        "matched_ids": reference.image_ids[matched],
        "query_positions": query.positions,
        "matched_positions": reference.positions[matched],
    }


def _headings(config, query: source.Places, reference: source.Places):
    """Headings of both sides and their tolerance in radians; None without one."""
    turn = math.radians(config.eval.heading_degrees)
    if not turn:
        return None, math.pi
    headings = query.headings, reference.headings
    if not all(np.isfinite(h).all() for h in headings):
        raise ConfigError(
            f"eval.heading_degrees={config.eval.heading_degrees:g} needs headings, which "
            f"{config.dataset.name} does not have for all images; set it to 0"
        )
    return headings, turn


def _errors(q, r, matched, headings, turn) -> np.ndarray:
    if headings is not None:
        headings = headings[0], headings[1][matched]
    return fcm.match_errors(q, r[matched], headings, turn)


def _segments(n: int) -> Iterator[slice]:
    """Consecutive stretches of about equal length."""
    edges = np.linspace(0, n, min(SEGMENTS, n) + 1).astype(int)
    for first, last in itertools.pairwise(edges):
        yield slice(int(first), int(last))


def _part(part: slice, error: np.ndarray, tolerances) -> dict:
    shares = fcm.share_within(error[part], tolerances)
    return {"first": part.start, "queries": part.stop - part.start, "fcm": _by(tolerances, shares)}


def _by_label(labels: np.ndarray, error: np.ndarray, tolerances) -> dict[str, dict]:
    """Of the labels that most queries have: one a query is a place's name and tells nothing."""
    names, which, counts = np.unique(labels.astype(str), return_inverse=True, return_counts=True)
    out = {}
    for number in sorted(np.argsort(-counts, kind="stable")[:LABELS]):
        if names[number]:
            of = error[which == number]
            shares = fcm.share_within(of, tolerances)
            out[str(names[number])] = {"queries": len(of), "fcm": _by(tolerances, shares)}
    return out


def _strip(queries: np.ndarray, references: np.ndarray) -> np.ndarray:
    """Distances of evenly spread queries and references, `(q', r')` float32."""
    rows = []
    for x, most in zip((queries, references), STRIP, strict=True):
        chosen = np.unique(np.linspace(0, len(x) - 1, min(most, len(x))).astype(int))
        rows.append(np.asarray(x[chosen], np.float32))
    squared = [np.einsum("nd,nd->n", x, x) for x in rows]
    return np.sqrt(np.maximum(np.add.outer(*squared) - 2 * rows[0] @ rows[1].T, 0))


def curve_tolerances(tolerances) -> np.ndarray:
    """`(100,)` tolerances for the FCM curve, from 0 to a little past the widest of `tolerances`."""
    return np.linspace(0, 1.2 * max(tolerances) or 1.0, 100)


def _by(keys, values) -> dict[str, float]:
    return {f"{key:g}": round(float(value), 4) for key, value in zip(keys, values, strict=True)}
