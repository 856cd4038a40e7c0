"""Baselines that are no network: one file each, listed here by the name that `baseline.name` takes."""

from vprjax.retrieval.baselines import dense_vlad, fabmap, hog, pixels, seqslam, vlad_sift
from vprjax.retrieval.baselines.variant import Baseline, Facts, Matching, State

BASELINES: dict[str, Baseline] = {
    "pixels": pixels.BASELINE,
    "hog": hog.BASELINE,
    "seqslam": seqslam.BASELINE,
    "fabmap": fabmap.BASELINE,
    "vlad_sift": vlad_sift.BASELINE,
    "dense_vlad": dense_vlad.BASELINE,
}
__all__ = ["BASELINES", "Baseline", "Facts", "Matching", "State"]
