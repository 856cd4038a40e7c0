"""Intervals and paired tests for shares of frames: neighbouring frames are not independent."""

import numpy as np


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
