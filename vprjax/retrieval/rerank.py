"""Two-stage search: binary hashes choose a few references, float descriptors put these in order.

The hashes alone stay in memory, 64 bytes per image for 512 bits; the descriptors of a few references are
read per query. The answer is that of an exact search wherever its neighbours are among the candidates.
"""

import dataclasses
import time

import numpy as np

from vprjax.retrieval import chunk, hamming, refine
from vprjax.retrieval.bounds import Candidates
from vprjax.retrieval.rows import Block, Rows


@dataclasses.dataclass(frozen=True)
class TwoStages:
    """The result of both stages.

    Attributes:
      first: `(q, k)` int64, references by Hamming distance, ties to the lower number.
      indices: `(q, k)` int64, the same with the first `candidates` in the order of L2 distance.
      distances: `(q, k)` float32, L2; NaN behind the candidates, which the first stage alone ordered.
      hash_bytes: per image, all that the first stage reads.
      row_bytes: per image, of a descriptor.
      seconds: of hashing and the first stage, and of the second.
    """

    first: np.ndarray
    indices: np.ndarray
    distances: np.ndarray
    hash_bytes: int
    row_bytes: int
    seconds: tuple[float, float]


def search(
    queries: np.ndarray, references: np.ndarray, k: int, candidates: int, bits: int, seed: int = 0
) -> TwoStages:
    """The `k` references of each query by both stages.

    Args:
      queries: `(q, d)` array or memory map of any float type.
      references: `(r, d)`, likewise.
      k: neighbours, 1..r.
      candidates: references per query that the second stage puts in order, 1..r.
      bits: of a hash, a multiple of 32.
      seed: of the hashes' directions.

    Raises:
      ValueError: shapes or numbers do not fit.

    Source: Lu et al. 2025 (SelaVPR++), whose hashes are learned; these are `hamming.Hashing`.
    """
    if not 1 <= candidates <= len(references):
        raise ValueError(
            f"candidates={candidates} must be between 1 and the {len(references)} references"
        )
    start = time.perf_counter()
    hashing = hamming.learn(references, bits, seed)
    hashes = hashing(references)
    _, found = hamming.nearest(hashing(queries), hashes, max(k, candidates))
    middle = time.perf_counter()
    first = found.astype(np.int64)
    own, others = Rows(queries), Rows(references)
    indices, distances = first.copy(), np.full(first.shape, np.nan, np.float32)
    for start_row in range(0, len(first), chunk.SHORT):
        part = slice(start_row, min(start_row + chunk.SHORT, len(first)))
        chosen = first[part, :candidates]
        lower, upper = np.zeros(chosen.shape), np.full(chosen.shape, np.inf)
        open_ = Candidates(chosen, lower, np.zeros(len(chosen)), upper)
        ranked = refine.rank(Block(own, part, hold=True), others, open_, candidates)
        indices[part, :candidates] = ranked.indices
        distances[part, :candidates] = np.sqrt(ranked.squared)
    end = time.perf_counter()
    row_bytes = references.shape[1] * references.dtype.itemsize
    return TwoStages(
        first[:, :k],
        indices[:, :k],
        distances[:, :k],
        bits // 8,
        row_bytes,
        (middle - start, end - middle),
    )
