"""What two-stage re-ranking gains and costs beside an exact search of the same descriptors."""

import dataclasses
import time
from collections.abc import Callable

import numpy as np

from vprjax import retrieval
from vprjax.data import protocol
from vprjax.evaluation.result import ReRanked, by_tolerance, keyed
from vprjax.evaluation.truth import Truth
from vprjax.retrieval import rerank


def search(
    config, queries: np.ndarray, references: np.ndarray, exact: Callable[[], retrieval.Found]
) -> tuple[retrieval.Found, rerank.TwoStages, retrieval.Found, float]:
    """Runs both stages and the exact search.

    Args:
      config: the whole config.
      queries: `(q, d)` descriptors.
      references: `(r, d)`.
      exact: the exact search of both.

    Returns:
      the re-ranked neighbours as the search gives its own, both stages, the exact neighbours and the
      exact search's seconds.
    """
    start, e = time.perf_counter(), config.eval
    found = exact()
    seconds = time.perf_counter() - start
    stages = rerank.search(
        queries, references, found.indices.shape[1], e.rerank, e.rerank_bits, config.seed
    )
    reranked = dataclasses.replace(found, distances=stages.distances, indices=stages.indices)
    return reranked, stages, found, seconds


def figures(
    config, truth: Truth, stages: rerank.TwoStages, exact: retrieval.Found, seconds: float
) -> ReRanked:
    """The figures of the first stage and of the exact search, and what each costs."""
    e, tolerances = config.eval, config.dataset.tolerances

    def fcm(indices: np.ndarray) -> dict[str, float]:
        return by_tolerance(tolerances, truth.errors(indices[:, 0])[truth.known])

    def recall(indices: np.ndarray) -> dict[str, float]:
        if not len(truth.known):
            return keyed(e.recalls, [np.nan] * len(e.recalls))
        return keyed(e.recalls, truth.recall(indices, protocol.radius(config), e.recalls))

    kept = stages.indices[:, 0] == exact.indices[:, 0]
    return ReRanked(
        candidates=e.rerank,
        bits=e.rerank_bits,
        first_fcm=fcm(stages.first),
        first_recall=recall(stages.first),
        exact_fcm=fcm(exact.indices),
        exact_recall=recall(exact.indices),
        same_as_exact=round(100 * float(kept.mean()), 4) if len(kept) else np.nan,
        hash_bytes=stages.hash_bytes,
        row_bytes=stages.row_bytes,
        seconds={
            "first": round(stages.seconds[0], 3),
            "second": round(stages.seconds[1], 3),
            "exact": round(seconds, 3),
        },
    )
