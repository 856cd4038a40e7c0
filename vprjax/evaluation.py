"""FCM and its companions of one model on the splits of a dataset."""

import numpy as np

from vprjax import fcm, retrieval
from vprjax.data import source
from vprjax.extraction import Extractor


def evaluate(config, extract: Extractor, variables, model_name: str) -> dict[str, dict]:
    """Matches every query split to the reference split and measures it.

    Args:
      config: the whole config.
      extract: the model's extractor.
      variables: the model's variables, replicated.
      model_name: words for the progress bars.

    Returns:
      For every query split: `fcm` and `oracle_fcm` by tolerance, `recall` by n (percentages of all
      queries), `queries` and `references` counts, and for pictures the arrays `curve`,
      `oracle_curve`, `matched` (reference numbers) and `distance`.
    """
    reference = source.load(config, (config.dataset.reference_split,))
    described = extract(
        variables, reference, np.arange(len(reference)), f"describe reference ({model_name})"
    )
    out = {}
    for split in config.dataset.query_splits:
        queries = source.load(config, (split,))
        descriptors = extract(
            variables, queries, np.arange(len(queries)), f"describe {split} ({model_name})"
        )
        out[split] = measure(config, queries.positions, reference.positions, descriptors, described)
    return out


def measure(
    config,
    query_positions: np.ndarray,
    reference_positions: np.ndarray,
    query_descriptors: np.ndarray,
    reference_descriptors: np.ndarray,
) -> dict:
    """The figures of one query split from positions `(n, 2)` and descriptors `(n, d)`."""
    tolerances = config.dataset.tolerances
    k = min(max(config.eval.recalls), len(reference_descriptors))
    distances, indices = retrieval.nearest(query_descriptors, reference_descriptors, k=k)
    matched = reference_positions[indices[:, 0]]
    radius = config.eval.recall_radius or max(tolerances)
    recall = fcm.recall_at(
        query_positions, reference_positions, indices, radius, config.eval.recalls
    )
    return {
        "fcm": _by(tolerances, fcm.fcm(query_positions, matched, tolerances)),
        "oracle_fcm": _by(
            tolerances, fcm.oracle_fcm(query_positions, reference_positions, tolerances)
        ),
        "recall": _by(config.eval.recalls, recall),
        "queries": len(query_positions),
        "references": len(reference_positions),
        "curve": fcm.fcm(query_positions, matched, curve_tolerances(tolerances)),
        "oracle_curve": fcm.oracle_fcm(
            query_positions, reference_positions, curve_tolerances(tolerances)
        ),
        "matched": indices[:, 0],
        "distance": distances[:, 0],
    }


def curve_tolerances(tolerances) -> np.ndarray:
    """`(100,)` tolerances for the FCM curve, from 0 to a little past the widest of `tolerances`."""
    return np.linspace(0, 1.2 * max(tolerances) or 1.0, 100)


def _by(keys, values) -> dict[str, float]:
    return {f"{key:g}": round(float(value), 4) for key, value in zip(keys, values, strict=True)}
