"""Matrices `(count, size)` that resample an axis as PyTorch's interpolation does, in float64.

`jax.image.resize` has another cubic kernel (A = -0.5) and antialiases by default. At the edges it
renormalises, where PyTorch repeats the last value.
"""

import numpy as np


def cubic(size: int, count: int, scale: float) -> np.ndarray:
    """Bicubic, `align_corners=False`, without antialias: output `i` lies at `scale (i + 1/2) - 1/2`.

    PyTorch's `scale_factor=s` samples with `scale = 1 / s`, whatever `count / size` is.
    """
    position = scale * (np.arange(count) + 0.5) - 0.5
    first, matrix = np.floor(position), np.zeros((count, size))
    for tap in (-1, 0, 1, 2):
        columns = np.clip(first + tap, 0, size - 1).astype(int)
        np.add.at(matrix, (np.arange(count), columns), _cubic(position - first - tap, -0.75))
    return matrix


def linear(size: int, count: int, scale: float) -> np.ndarray:
    """Bilinear, `align_corners=False`, without antialias; positions as in `cubic`."""
    position = np.clip(scale * (np.arange(count) + 0.5) - 0.5, 0, size - 1)
    return np.maximum(1 - np.abs(position[:, None] - np.arange(size)), 0)


def antialiased_cubic(size: int, count: int) -> np.ndarray:
    """Bicubic with antialias; PyTorch changes to Pillow's kernel there, A = -0.5."""
    return _antialiased(size, count, lambda x: _cubic(x, -0.5))


def antialiased_linear(size: int, count: int) -> np.ndarray:
    """Bilinear with antialias."""
    return _antialiased(size, count, lambda x: np.maximum(1 - np.abs(x), 0))


def _antialiased(size: int, count: int, kernel) -> np.ndarray:
    scale = size / count
    centres = scale * (np.arange(count)[:, None] + 0.5)
    weights = kernel((np.arange(size)[None] + 0.5 - centres) / max(scale, 1.0))
    return weights / weights.sum(axis=1, keepdims=True)


def _cubic(x: np.ndarray, a: float) -> np.ndarray:
    """Keys' kernel, of radius 2."""
    x = np.abs(x)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((x - 5) * x + 8) * x * a - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))
