"""Exact nearest neighbours in bounded memory, over all devices: the full distance matrix never exists.

`search` scans blocks of references for lower bounds of all distances (`scan`, with an encoding of
`encode`). It then computes exact distances for the few references that may be among the first k
(`refine`). The encoding changes the time, never the answer.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from vprjax.retrieval import choose, plan, refine
from vprjax.retrieval.rows import Block, Rows
from vprjax.retrieval.scan import scan_columns
from vprjax.runtime import parallel

SCANS = ("auto", "float32", "bfloat16", "int8", "pruned")
METRICS = ("l2", "cosine")
TooLittleMemory = plan.TooLittleMemory


@dataclasses.dataclass(frozen=True)
class Found:
    """The search result: neighbours, nearest first, and the cost of finding them.

    Attributes:
      distances: `(q, k)` float32.
      indices: `(q, k)` int64.
      scan: the scan method, "float32", "bfloat16", "int8" or "pruned 0.25" (share of the dimensions).
      plan: the block sizes.
      evaluated: mean number of exact distances per query.
      completed: queries that needed a second search in float32, as their candidates did not suffice.
    """

    distances: np.ndarray
    indices: np.ndarray
    scan: str
    plan: plan.Plan
    evaluated: float
    completed: int


def nearest(
    queries: np.ndarray,
    references: np.ndarray,
    k: int = 1,
    memory_bytes: int = 2 << 30,
    metric: str = "l2",
    scan: str = "auto",
) -> tuple[np.ndarray, np.ndarray]:
    """Distances and indices `(q, k)` of the `k` references nearest to each query; see `search`."""
    found = search(queries, references, k, memory_bytes, metric, scan)
    return found.distances, found.indices


def search(
    queries: np.ndarray,
    references: np.ndarray,
    k: int = 1,
    memory_bytes: int = 2 << 30,
    metric: str = "l2",
    scan: str = "auto",
    tell: Callable[[str], None] | None = None,
) -> Found:
    """The `k` references nearest to each query, ranked as in float64, ties to the lower index.

    Args:
      queries: `(q, d)` array or memory map of any float type, the same on every process.
      references: `(r, d)`, likewise.
      k: number of neighbours, 1..r.
      memory_bytes: bound on this process's blocks of rows and distances (see `plan`).
      metric: "l2", or "cosine": `1 - cos`, whatever the rows' norms.
      scan: scan method of the lower bounds: "float32", "bfloat16", "int8" or "pruned" (bfloat16 along
        the main directions). "auto" is float32; on a CPU it is the fastest for a sample.
      tell: receives one sentence on scan method, blocks and memory before the first block.

    Raises:
      ValueError: shapes do not fit, `k` is not in 1..r, a descriptor is not finite, or the budget is too
        small for any block.
    """
    _check(queries, references, k, metric, scan)
    unit, q, (r, d) = metric == "cosine", len(queries), references.shape
    own, others = Rows(queries, unit), Rows(references, unit)
    way = choose.way(scan, own, others, k)
    kept = min(k + way.spare, r)
    size = plan.make(max(q, 1), r, d, kept, memory_bytes, parallel.device_count())
    if tell is not None:
        tell(f"{way.name}, {size}")
    distances, indices = np.empty((q, k), np.float32), np.empty((q, k), np.int64)
    evaluated = completed = 0
    for first in range(0, q, size.query_rows):
        part = slice(first, min(first + size.query_rows, q))
        block = Block(own, part, hold=size.columns == d)
        if size.columns == d:
            candidates = way.scanner.scan(block(slice(None)), others, size, k)
        else:
            candidates = scan_columns(block, others, size)
        ranked = refine.rank(block, others, candidates, k)
        completed += refine.complete(block, others, ranked, memory_bytes)
        squared = ranked.squared
        distances[part], indices[part] = squared / 2 if unit else np.sqrt(squared), ranked.indices
        evaluated += ranked.evaluated
    return Found(distances, indices, way.name, size, evaluated / max(q, 1), completed)


def _check(queries, references, k: int, metric: str, scan: str) -> None:
    if queries.ndim != 2 or references.ndim != 2 or queries.shape[1] != references.shape[1]:
        raise ValueError(
            f"queries {queries.shape} and references {references.shape} must be (q, d) and (r, d)"
        )
    if not 1 <= k <= len(references):
        raise ValueError(f"k={k} must be between 1 and the {len(references)} references")
    if metric not in METRICS or scan not in SCANS:
        raise ValueError(
            f"metric={metric!r} must be one of {METRICS} and scan={scan!r} one of {SCANS}"
        )
