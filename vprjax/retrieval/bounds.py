"""Bounds of true distances, from what a scan keeps."""

import dataclasses
from typing import NamedTuple

import numpy as np

from vprjax.retrieval import codes, encode
from vprjax.retrieval.threads import on_threads

CHUNK = 512  # queries that a thread bounds at once
MARGIN = 2 * encode.rounding(encode.LANES)  # more than the relative error of an exact distance


@dataclasses.dataclass(frozen=True)
class Candidates:
    """Per query the references that may be nearest, in ascending order of their lower bounds.

    Attributes:
      indices: `(q, kept)` int64.
      lower: `(q, kept)` float64, squared L2; inf past the last reference.
      rest: `(q,)` float64, lower bound for every other reference.
      upper: `(q, kept)` float64, upper bounds of the candidates' distances.
    """

    indices: np.ndarray
    lower: np.ndarray
    rest: np.ndarray
    upper: np.ndarray

    def of(self, part: slice) -> "Candidates":
        """Those of some queries."""
        return Candidates(self.indices[part], self.lower[part], self.rest[part], self.upper[part])


def bounded(kept, rest, extremes, own: encode.Encoded, reach: float) -> Candidates:
    """Bounds of the distances to those kept, beside the lower bounds `rest` `(n,)` of all others."""
    n = len(own.squared)
    if not (np.isfinite(extremes[2]) and np.isfinite(own.squared).all()):
        raise ValueError("descriptors hold NaN or infinity")

    def some(first: int) -> Candidates:
        part = slice(first, first + CHUNK)
        rows = encode.Encoded(*(x[part] for x in own))
        return _bounded([x[part] for x in kept], rest[part], extremes, rows, reach)

    parts = on_threads(some, range(0, n, CHUNK))
    names = [field.name for field in dataclasses.fields(Candidates)]
    return Candidates(*(np.concatenate([getattr(x, name) for x in parts]) for name in names))


def _bounded(kept, rest, extremes, own: encode.Encoded, reach: float) -> Candidates:
    keys, indices, error = kept
    keys, error = keys.astype(np.float64), error.astype(np.float64)
    terms = _Terms.of(own, extremes, reach)
    base = terms.squared[:, None] + 2 * reach * error
    rounded, own_error = terms.rounded[:, None], terms.error[:, None]
    lower = apart(keys + base - rounded, own_error, error, own.values)
    upper = within(keys + base + rounded, own_error, error, own.values)
    order = np.argsort(lower, axis=1, kind="stable")
    lower, upper, indices = (np.take_along_axis(x, order, axis=1) for x in (lower, upper, indices))
    return Candidates(indices.astype(np.int64), lower, rest, upper)


@np.errstate(invalid="ignore", over="ignore")  # `bounded` refuses what is not finite
def beyond(last: np.ndarray, extremes, own: encode.Encoded, reach: float) -> np.ndarray:
    """Squared lower bounds `(n,)` of references with these extremes, whose keys are `last` or more."""
    terms = _Terms.of(own, extremes, reach)
    left = last.astype(np.float64) + terms.squared - terms.rounded
    # Between the extremes of the error, the bound is least at one of them.
    return np.minimum(
        *(apart(left + 2 * reach * e, terms.error, e, own.values) for e in terms.ends)
    )


def farthest(keys: np.ndarray, extremes, own: encode.Encoded, reach: float) -> np.ndarray:
    """Keys `(n,)` past which no reference is nearer than one with the key `keys` `(n,)`.

    It saves work alone: `beyond` takes nothing for granted that was left out by it.
    """
    terms = _Terms.of(own, extremes, reach)
    most = terms.ends[1]
    there = keys + terms.squared + terms.rounded + 2 * reach * most
    reached = np.sqrt(within(there, terms.error, most, own.values) * (1 + MARGIN))
    ends = []
    for error in terms.ends:
        crossed, apart_by = _errors(terms.error, error, own.values)
        ends.append((reached + apart_by) ** 2 + crossed - 2 * reach * error)
    return np.maximum(*ends) - terms.squared + terms.rounded


class _Terms(NamedTuple):
    """What bounds take from the queries `(n,)` and from the gallery, in float64."""

    squared: np.ndarray
    error: np.ndarray
    rounded: np.ndarray
    ends: tuple[float, float]

    @classmethod
    def of(cls, own: encode.Encoded, extremes, reach: float) -> "_Terms":
        least, most, norm = (float(x) for x in extremes)
        squared, error, norms = (x.astype(np.float64) for x in (own.squared, own.error, own.norm))
        return cls(squared, error, slack(own.values, norms + norm, reach * most), (least, most))


def slack(values: np.ndarray, norms: np.ndarray, shift: float) -> np.ndarray:
    """Bound on the rounding of squared distances, from both sides' norms added up `(n,)`.

    Sums of whole numbers are exact. Products too small for float32 are lost whole.
    """
    terms = 1 if _coded(values) else values.shape[1]
    lost = 4 * encode.TINY * values.shape[1]
    return encode.rounding(terms) * norms**2 + 8 * encode.EPS * shift + lost


def apart(squared: np.ndarray, own, error, values: np.ndarray) -> np.ndarray:
    """Squared lower bounds of distances from squared distances of `values` and both sides' errors."""
    crossed, error = _errors(own, error, values)
    return np.maximum(np.sqrt(np.maximum(squared - crossed, 0)) - error, 0) ** 2


def within(squared: np.ndarray, own, error, values: np.ndarray) -> np.ndarray:
    """Squared upper bounds of distances, from what `apart` takes."""
    crossed, error = _errors(own, error, values)
    if _coded(values):
        squared = squared + crossed + error**2
    return (np.sqrt(np.maximum(squared, 0)) + error) ** 2


def _errors(own, error, values: np.ndarray):
    """By how much the squared distances themselves may be off, and by how much the distances.

    Errors of codes are independent; `codes.crossed` of their product is in the squared distance.
    """
    if _coded(values):
        return codes.crossed(values.shape[1]) * own * error, np.hypot(own, error)
    return 0.0, own + error


def _coded(values: np.ndarray) -> bool:
    return values.dtype == np.int8
