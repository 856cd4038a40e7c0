"""Rows as whole numbers of one step per row, rounded with a dither.

A row x becomes `v = s (rint(x / s + u) - u)`, with a step s of its own and numbers u that are uniform in
[-1/2, 1/2) and the same for all rows of a side. Whatever the rows, the errors `e = x - v` are then
independent and uniform in `[-s/2, s/2)`, and those of queries do not depend on those of references
(subtractive dither, Schuchman 1964). With `D = |v_q - v_r|^2 - |e_q|^2 - |e_r|^2`

    |q - r|^2 = D + 2 <q - r, e_q - e_r> + 2 <e_q, e_r>

Both products are sums of independent terms with mean 0. A sum of uniform numbers passes t standard
deviations with a probability below `2 exp(-t^2 / 2)`, so that

    | |q - r|^2 - D | <= 2 |q - r| hypot(c s_q, c s_r) + 2 c s_q |e_r|

fails for a pair with a probability below `2 * CHANCE`. The bound is about `sqrt(d) / 10` times as tight as
with the errors' norms. The dither is fixed: only rows made from these very numbers could break a bound.
"""

import functools
import math

import numpy as np

from vprjax.retrieval import encode
from vprjax.retrieval.encode import EPS, LANES, TINY, Encoded

LEVELS = 127  # of int8
CHANCE = 2.0**-80  # that one product's error passes its bound
SEED = 0x76707264
QUERIES, REFERENCES = 0, 1  # sides, whose dithers are independent


def int8(rows: np.ndarray, mean: np.ndarray, side: int) -> Encoded:
    """Codes of rows `(n, d)` minus `mean` `(d,)`.

    `squared` is `|v|^2 - |e|^2` and `error` is `c s`. `total` and `bias` are the sums of the row's whole
    numbers and of these times the other side's dither.
    """
    n, d = rows.shape
    out = encode.empty(n, d, np.int8)
    levels, c = np.float32(most_levels(d) - 0.5), deviations(d)
    both = dither(d)
    own, other = both[side], both[1 - side]
    # Products hold the dithers' own product once.
    shared = _sums(own, other) if side == REFERENCES else 0.0
    whole_dither, ones = encode.squared_norms(own), np.ones(d, np.float32)

    def some(part: slice) -> None:
        left, steps = encode.buffers(part.stop - part.start, d)
        np.subtract(rows[part], mean, out=left)
        most = np.maximum(left.max(axis=1), -left.min(axis=1))
        scale = np.maximum(most, np.float32(TINY * LEVELS)) / levels
        left *= 1 / scale[:, None]
        left += own
        np.rint(left, out=steps)
        left -= steps  # the error in steps
        out.values[part], out.scale[part] = steps, scale
        out.total[part] = _sums(steps, ones)
        out.bias[part] = _sums(steps, other) - shared
        lengths, scale = encode.squared_norms(steps), scale.astype(np.float64)
        squared = lengths - 2 * _sums(steps, own) + whole_dither - encode.squared_norms(left)
        out.squared[part], out.error[part] = scale**2 * squared, c * scale
        norm = scale * (np.sqrt(lengths) + ROUNDED * math.sqrt(d))
        # Where the squared norm overflows float32, the scan refuses as a float32 scan does.
        out.norm[part] = np.where(np.isfinite(out.squared[part]), norm, np.inf)

    encode.by_parts(some, n, d)
    return out


# Float32 sums with a dither err by `rounding(LANES)` of the norms' product, whose share of the squares of
# `norm` then stays below `rounding(1)`.
ROUNDED = 13


@functools.lru_cache(maxsize=4)
def dither(d: int) -> np.ndarray:
    """Both sides' `(2, d)` float32 in [-1/2, 1/2)."""
    return np.random.default_rng((SEED, d)).random((2, d), np.float32) - np.float32(0.5)


def deviations(d: int) -> float:
    """The factor c of a step that bounds errors of products in units of the other factor's norm.

    A uniform number's standard deviation is `s / sqrt(12)`. The scaled row is rounded to float32 ahead of
    the dither, by at most `2 LEVELS EPS` steps, which all dimensions may share.
    """
    return math.sqrt(2 * math.log(2 / CHANCE) / 12) + 2 * LEVELS * EPS * math.sqrt(d)


def crossed(d: int) -> float:
    """The factor of `error_q error_r` that bounds `2 c s_q |e_r|` and the rounding of `bias`."""
    return 1.01 * (math.sqrt(d) + 1) / deviations(d)


def most_levels(d: int) -> int:
    """Levels above 0 that int8 values may take, so that products of `d` dimensions fit int32."""
    return min(LEVELS, math.isqrt((2**31 - 1) // d))


def _sums(rows: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Products `(..., d), (d,) -> (...)` float64, by float32 sums of `LANES` numbers."""
    whole = rows.shape[-1] // LANES * LANES
    lanes = rows[..., :whole].reshape(*rows.shape[:-1], -1, LANES)
    sums = np.vecdot(lanes, other[:whole].reshape(-1, LANES)).sum(axis=-1, dtype=np.float64)
    return sums + np.vecdot(rows[..., whole:], other[whole:])
