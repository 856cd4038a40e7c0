"""PCA and PCA-whitening of descriptors, fit on training images (Jegou & Chum 2012)."""

import dataclasses
import math
import pathlib
from collections.abc import Sequence

import numpy as np

from vprjax.errors import DataError, naming

ROWS = 1024  # rows projected at once
NOISE = 1e-7  # share of the largest deviation below which the products hold round-off alone
NUMBERS = 250_000_000  # descriptors times dimensions that fit PCA: 1 GB, and 2 GB in float64
LEAST = 1e-3  # share of the largest deviation below which whitening would blow up noise


@dataclasses.dataclass(frozen=True)
class Projection:
    """The projection `f -> normalize((f - mean) kernel)`.

    Attributes:
      mean: `(d,)` float64.
      kernel: `(d, m)` float64.
    """

    mean: np.ndarray
    kernel: np.ndarray

    def __call__(self, descriptors: np.ndarray) -> np.ndarray:
        """Returns unit descriptors `(n, m)` float32 of descriptors `(n, d)`, an array or a memory map."""
        mean, kernel = self.mean.astype(np.float32), self.kernel.astype(np.float32)
        out = np.empty((len(descriptors), kernel.shape[1]), np.float32)
        for first in range(0, len(descriptors), ROWS):
            part = slice(first, first + ROWS)
            out[part] = (np.asarray(descriptors[part], np.float32) - mean) @ kernel
        out /= np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-12)
        return out


def save(path: pathlib.Path, projection: Projection, model: str) -> None:
    """Writes a projection, and `store.fingerprint` of the model whose descriptors it was fit to.

    Raises:
      OSError: the file cannot be written.
    """
    with naming(path):
        np.savez(path, mean=projection.mean, kernel=projection.kernel, model=model)


def read(path: pathlib.Path, model: str) -> Projection:
    """Reads the projection of the model with this `store.fingerprint`.

    Raises:
      DataError: the file is missing, damaged, or of another model.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            found = Projection(arrays["mean"], arrays["kernel"])
            fitted_to = str(arrays["model"]) if "model" in arrays else "an earlier version's"
    except FileNotFoundError as error:
        raise DataError(f"{path} is not there: evaluate the run, which fits it") from error
    except Exception as error:  # a damaged file makes numpy and zipfile raise anything
        raise DataError(f"{path} cannot be read ({error}); evaluate the run again") from error
    if fitted_to != model:
        raise DataError(f"{path} is of another model than the run's: evaluate the run again")
    return found


def rows(counts: Sequence[int], dimension: int) -> tuple[int, int]:
    """Returns the stride over each set of `counts` descriptors, and the number that then fits PCA."""
    stride = max(1, math.ceil(sum(counts) * dimension / NUMBERS))
    return stride, sum(-(-count // stride) for count in counts)


def learn(descriptors: np.ndarray, dimension: int, whiten: bool) -> Projection:
    """Fits PCA: the first `dimension` principal components of descriptors `(n, d)`.

    `V^T (f - mean)`, with V the main eigenvectors of the covariance; whitening also divides by the square
    roots of their eigenvalues. Where n < d it works on the n x n products instead of d x d. Directions that
    the descriptors do not span add nothing.

    Raises:
      ValueError: descriptors or dimensions are fewer than components, or all descriptors are the same.

    Source: Jegou & Chum 2012.
    """
    n, d = descriptors.shape
    if not 0 < dimension < n or dimension > d:
        raise ValueError(
            f"{dimension} components need more than {dimension} training images (there are {n}) and at "
            f"least {dimension} dimensions (there are {d})"
        )
    mean = np.mean(descriptors, axis=0, dtype=np.float64)
    centred = np.array(descriptors, np.float64)
    centred -= mean  # in place, as the array may take 2 GB
    if n < d:
        values, vectors = np.linalg.eigh(centred @ centred.T)
        deviations = np.sqrt(np.maximum(values[::-1][:dimension], 0))
        kernel = centred.T @ vectors[:, ::-1][:, :dimension]
        kernel /= np.maximum(deviations, max(NOISE * deviations[0], np.finfo(float).tiny))
    else:
        values, vectors = np.linalg.eigh(centred.T @ centred)
        deviations = np.sqrt(np.maximum(values[::-1][:dimension], 0))
        kernel = vectors[:, ::-1][:, :dimension] * (deviations > NOISE * deviations[0])
    if not deviations[0] > NOISE * math.sqrt(n) * np.linalg.norm(mean):
        raise ValueError("all training descriptors are the same: they have no principal components")
    if whiten:
        deviations = deviations / np.sqrt(n)
        kernel = kernel / np.maximum(deviations, LEAST * deviations[0])
    return Projection(mean, kernel)
