"""Intervals and paired tests for shares of frames: neighbouring frames are not independent."""

import numpy as np
from scipy.special import bdtr, betaincinv

FEW = 30  # fewer queries make too few blocks for a bootstrap


def block_length(n: int) -> int:
    """Frames per bootstrap block, `sqrt(n)`: neither few blocks nor short ones."""
    return max(1, round(np.sqrt(n)))


def bootstrap_means(
    values: np.ndarray, block: int | None = None, samples: int = 2000, seed: int = 0
) -> np.ndarray:
    """Means `(samples, m)` of `values` `(n, m)`, resampled in circular blocks of consecutive frames.

    Politis & Romano 1992: blocks start anywhere and wrap around, so that all frames are drawn equally
    often. All columns share their draws, so that differences between them are paired.

    Args:
      values: `(n, m)`, in time order.
      block: frames per block; `block_length(n)` by default.
      samples: resampled means per column.
      seed: of the draws.

    Raises:
      ValueError: there is no value.
    """
    values = np.asarray(values, np.float64)
    n = len(values)
    if not n:
        raise ValueError("no values to resample")
    block = min(n, block or block_length(n))
    count, rest = divmod(n, block)
    starts = np.random.default_rng(seed).integers(0, n, (samples, count + bool(rest)))
    sums = np.concatenate(
        [np.zeros((1, values.shape[1])), np.cumsum(np.tile(values, (2, 1)), axis=0)]
    )
    total = (sums[starts[:, :count] + block] - sums[starts[:, :count]]).sum(axis=1)
    if rest:
        total += sums[starts[:, count] + rest] - sums[starts[:, count]]
    return total / n


def interval(values: np.ndarray, level: float = 0.95, **settings) -> np.ndarray:
    """Lower and upper end `(m, 2)` of the central bootstrap interval of every column's mean."""
    means = bootstrap_means(values, **settings)
    return np.quantile(means, [(1 - level) / 2, (1 + level) / 2], axis=0).T


def share_interval(
    right: np.ndarray, level: float = 0.95, **settings
) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper end `(m, 2)` of the interval of every column's share, and which are exact `(m,)`.

    It is `interval`, except where all resampled shares are one number (at 0 and 100 %, say) or fewer than
    `FEW` queries answer: there it is the union with `clopper_pearson`.

    Args:
      right: `(n, m)` bool, in time order.
      level: share of repetitions that the interval covers.
      settings: as in `bootstrap_means`.

    Raises:
      ValueError: there is no query.
    """
    right = np.asarray(right, bool)
    found = interval(right, level, **settings)
    exact = (found[:, 0] == found[:, 1]) | (len(right) < FEW)
    own = clopper_pearson(right.sum(axis=0), len(right), level)
    wider = np.stack([np.minimum(found, own)[:, 0], np.maximum(found, own)[:, 1]], axis=1)
    return np.where(exact[:, None], wider, found), exact


def clopper_pearson(right: np.ndarray, n: int, level: float = 0.95) -> np.ndarray:
    """Exact binomial interval `(m, 2)` of the share of `right` `(m,)` answers among `n` independent ones.

    Source: Clopper & Pearson 1934.
    """
    right, tail = np.asarray(right, np.float64), (1 - level) / 2
    with np.errstate(invalid="ignore"):  # 0 of a beta distribution, which the ends replace
        low = betaincinv(right, n - right + 1, tail)
        high = betaincinv(right + 1, n - right, 1 - tail)
    low, high = np.where(right == 0, 0.0, low), np.where(right == n, 1.0, high)
    return np.stack([low, high], axis=1)


def paired(first: np.ndarray, second: np.ndarray, **settings) -> tuple[float, np.ndarray, float]:
    """Compares two models on the same queries: mean of `second - first` `(n,)`, 95 % interval, p.

    p is two-sided: twice the smaller share of resampled means on either side of 0, at least
    `1 / (samples + 1)`. A mean of 0 counts half on each side.

    Raises:
      ValueError: lengths differ or there is no query.
    """
    if np.shape(first) != np.shape(second):
        raise ValueError(f"{np.shape(first)} and {np.shape(second)} are not the same queries")
    gap = (np.asarray(second, np.float64) - np.asarray(first, np.float64))[:, None]
    means = bootstrap_means(gap, **settings)[:, 0]
    below = (means < 0).mean() + 0.5 * (means == 0).mean()
    p = max(2 * min(below, 1 - below), 1 / (len(means) + 1))
    return float(gap.mean()), np.quantile(means, [0.025, 0.975]), min(p, 1.0)


def paired_shares(
    first: np.ndarray, second: np.ndarray, **settings
) -> tuple[float, np.ndarray, float]:
    """`paired` for right answers `(n,)` bool.

    Where fewer than `FEW` queries differ, blocks hold too few of them: the interval is the union with one
    from the exact intervals of both differing shares (Bonferroni), and p is at least the exact sign test's
    (McNemar 1947).

    Raises:
      ValueError: lengths differ or there is no query.
    """
    gap, bounds, p = paired(first, second, **settings)
    won = np.array([np.count_nonzero(second & ~first), np.count_nonzero(first & ~second)])
    if won.sum() >= FEW:
        return gap, bounds, p
    (low, high), (low_lost, high_lost) = clopper_pearson(won, len(first), 0.975)
    bounds = np.array([min(bounds[0], low - high_lost), max(bounds[1], high - low_lost)])
    exact = min(1.0, 2 * float(bdtr(won.min(), won.sum(), 0.5)))
    return gap, bounds, max(p, exact)
