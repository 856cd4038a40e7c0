"""Bounds of true distances, from what a scan keeps."""

import dataclasses

import numpy as np

from vprjax.retrieval import codes, encode


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


def bounded(kept, extremes, own: encode.Encoded, reach: float) -> Candidates:
    """Lower bounds of the distances to those kept, and of those to all others."""
    squared, own_error, own_norm = (
        x.astype(np.float64)[:, None] for x in (own.squared, own.error, own.norm)
    )
    least, most, norm = (float(x) for x in extremes)
    if not (np.isfinite(norm) and np.isfinite(squared).all()):
        raise ValueError("descriptors hold NaN or infinity")
    keys, indices, error = kept
    keys, error = keys.astype(np.float64), error.astype(np.float64)
    rounded = slack(own.values, own_norm + norm, reach * most)
    base = squared + 2 * reach * error
    lower = apart(keys + base - rounded, own_error, error, own.values)
    upper = within(keys + base + rounded, own_error, error, own.values)
    last = keys.max(axis=1, keepdims=True) + squared - rounded
    # Between the extremes of their error, the bound of those left out is least at one of them.
    ends = [apart(last + 2 * reach * e, own_error, e, own.values) for e in (least, most)]
    rest = np.minimum(*ends)[:, 0]
    order = np.argsort(lower, axis=1, kind="stable")
    lower, upper, indices = (np.take_along_axis(x, order, axis=1) for x in (lower, upper, indices))
    return Candidates(indices.astype(np.int64), lower, rest, upper)


def slack(values: np.ndarray, norms: np.ndarray, shift: float) -> np.ndarray:
    """Bound on the rounding of squared distances, from both sides' norms added up `(n, 1)`.

    Sums of whole numbers are exact. Products too small for float32 are lost whole.
    """
    terms = 1 if _coded(values) else values.shape[1]
    lost = 4 * encode.TINY * values.shape[1]
    return encode.rounding(terms) * norms**2 + 8 * encode.EPS * shift + lost


def apart(squared: np.ndarray, own, error, values: np.ndarray) -> np.ndarray:
    """Squared lower bounds of distances from squared distances of `values` and both sides' errors.

    Errors of codes are independent and `squared` itself may be off by `codes.crossed` of their product.
    """
    if _coded(values):
        squared, error = (
            squared - codes.crossed(values.shape[1]) * own * error,
            np.hypot(own, error),
        )
    else:
        error = own + error
    return np.maximum(np.sqrt(np.maximum(squared, 0)) - error, 0) ** 2


def within(squared: np.ndarray, own, error, values: np.ndarray) -> np.ndarray:
    """Squared upper bounds of distances, from what `apart` takes."""
    if _coded(values):
        crossed, error = codes.crossed(values.shape[1]) * own * error, np.hypot(own, error)
        squared = squared + crossed + error**2
    else:
        error = own + error
    return (np.sqrt(np.maximum(squared, 0)) + error) ** 2


def _coded(values: np.ndarray) -> bool:
    return values.dtype == np.int8
