"""Bounds of true distances, from what a scan keeps."""

import dataclasses

import numpy as np

from vprjax.retrieval import encode


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
    squared, own_error = (x.astype(np.float64)[:, None] for x in (own.squared, own.error))
    least, most, norm = (float(x) for x in extremes)
    if not (np.isfinite(norm) and np.isfinite(squared).all()):
        raise ValueError("descriptors hold NaN or infinity")
    keys, indices, error = kept
    keys, error = keys.astype(np.float64), error.astype(np.float64)
    rounded = slack(own.values, np.sqrt(squared) + norm, reach * most)
    base = squared - rounded
    lower = apart(keys + base + 2 * reach * error, own_error + error)
    upper = apart(keys + squared + rounded + 2 * reach * error, -own_error - error)
    last = keys.max(axis=1, keepdims=True)
    # Between the extremes of their error, the bound of those left out is least at one of them.
    ends = [apart(last + base + 2 * reach * e, own_error + e) for e in (least, most)]
    rest = np.minimum(*ends)[:, 0]
    order = np.argsort(lower, axis=1, kind="stable")
    lower, upper, indices = (np.take_along_axis(x, order, axis=1) for x in (lower, upper, indices))
    return Candidates(indices.astype(np.int64), lower, rest, upper)


def slack(values: np.ndarray, norms: np.ndarray, shift: float) -> np.ndarray:
    """Bound on the rounding of squared distances, from both sides' norms added up `(n, 1)`.

    Sums of whole numbers are exact. Products too small for float32 are lost whole.
    """
    terms = 1 if values.dtype == np.int8 else values.shape[1]
    lost = 4 * encode.TINY * values.shape[1]
    return encode.rounding(terms) * norms**2 + 8 * encode.EPS * shift + lost


def apart(squared: np.ndarray, error: np.ndarray) -> np.ndarray:
    """Squared lower bounds of distances from squared distances of values and both errors' sum.

    With the error's negative they are upper bounds.
    """
    return np.maximum(np.sqrt(np.maximum(squared, 0)) - error, 0) ** 2
