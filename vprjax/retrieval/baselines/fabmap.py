"""FAB-MAP 2.0 (Cummins & Newman 2011): the probability of every place given the words of an image."""

from collections.abc import Callable

import numpy as np
from scipy import sparse
from scipy.special import logsumexp

from vprjax.data.source import Places
from vprjax.retrieval.baselines import chow_liu, vlad_sift, vocabulary
from vprjax.retrieval.baselines.images import mapped, spread
from vprjax.retrieval.baselines.variant import Baseline, Facts, Matching
from vprjax.variants import Key, Number, Whole

INNER = Number(high=1, above=True, below=True)
TREE_IMAGES = 10_000  # training images that the tree's chances count, at most
KEYS = {
    "words": Key(1000, Whole(2, 100_000), "words of the vocabulary, by k-means on training images"),
    "sample": vocabulary.SAMPLE,
    "detection": Key(0.39, INNER, "p(z|e): chance that the detector sees a word that is there"),
    "false_detection": Key(
        0.0, Number(high=1, below=True), "p(z|not e): chance that it sees one that is not"
    ),
    "new_place": Key(0.1, INNER, "chance, before a look, that a query shows no reference"),
    "samples": Key(
        1000, Whole(1, 100_000), "training images that stand for places unknown to the map"
    ),
    **vlad_sift.KEYPOINTS,
}


def describe(image: np.ndarray, state, settings) -> np.ndarray:
    """Presence `(words,)` float32 of each word, 0 or 1."""
    out, found = np.zeros(len(state["centres"]), np.float32), vlad_sift.local(image, settings)
    if len(found):
        out[vocabulary.nearest(found, state["centres"])] = 1
    return out


def fit(places: Places, settings, seed: int):
    """Words, Chow-Liu tree and chances of words, and the training images that stand for unknown places.

    Raises:
      ConfigError: the images hold fewer local descriptors than words.
    """
    key = "baseline.fabmap"
    centres = vocabulary.words(
        lambda image: vlad_sift.local(image, settings), places, settings, seed, key
    )
    numbers, rows = spread(len(places), TREE_IMAGES), []
    for block in mapped(
        lambda image: describe(image, {"centres": centres}, settings).astype(np.uint8),
        places,
        numbers,
        vocabulary.BATCH,
        "words of training images",
    ):
        rows += block
    presence = np.stack(rows)
    parents = chow_liu.tree(presence)
    alone, given = chow_liu.chances(presence, parents)
    unknown = presence[spread(len(presence), settings.samples)]
    return {
        "centres": centres,
        "parents": parents,
        "alone": alone,
        "given": given,
        "unknown": unknown,
    }, []


def evidence(state, settings) -> np.ndarray:
    """`log p(z_q | z_p, L)`, the detector's model and the tree's together.

    `p(z | z_p, L) = sum_e p(z | e, z_p) p(e | L)`, with `p(z | e, z_p) = b / (a + b)`,
    `a = p(z) p(not z | e) p(not z | z_p)`, `b = p(not z) p(z | e) p(z | z_p)`. A place's own image gives
    `p(e | L)` by Bayes from `p(e) = p(z)`. The root has no parent: `p(z | e)`.

    Returns:
      `(w, 2, 2, 2)`: word, seen in the query, its parent seen in the query, seen at the place.
    """
    alone, given, parents = state["alone"], state["given"], state["parents"]
    seen = np.array([settings.false_detection, settings.detection])  # p(z = 1 | e)
    by_e = np.stack([1 - seen, seen])  # (z, e)
    chance = np.stack([1 - alone, alone], axis=1)  # (w, z)
    from_parent = np.stack([1 - given, given], axis=1)  # (w, z, z_p)
    other = slice(None, None, -1)
    a = chance[:, :, None, None] * by_e[None, other, :, None] * from_parent[:, other, None, :]
    b = chance[:, other, None, None] * by_e[None, :, :, None] * from_parent[:, :, None, :]
    observed = b / (a + b)  # (w, z, e, z_p)
    root = parents == np.arange(len(parents))
    observed[root] = by_e[None, :, :, None]
    exists = by_e[None] * chance[:, None, :]  # (w, place's z, e)
    exists /= exists.sum(axis=2, keepdims=True)
    return np.log(np.einsum("wzep,wle->wzpl", observed, exists))


def _objections(settings, facts: Facts) -> list[str]:
    found = vocabulary.objections(settings, "baseline.fabmap")
    if settings.detection <= settings.false_detection:
        found.append(
            f"baseline.fabmap.detection={settings.detection:g} must be above "
            f"baseline.fabmap.false_detection={settings.false_detection:g}: else a word that is seen tells "
            "nothing, or speaks against its place"
        )
    return found


class Index:
    """An inverted index: for every word the places that show it, so that a query reads its words' alone.

    `log p(Z | L)` differs from a place without words only at the place's words. Most of those words, and
    their parents, are not in the query: their sum is the place's own. A query corrects it at its words and
    at their children.
    """

    def __init__(self, places: np.ndarray, logs: np.ndarray, parents: np.ndarray):
        """Takes presence of words at places `(r, w)`, `evidence` and the tree."""
        self._logs, self._parents = logs, parents
        self._index = sparse.csc_matrix(np.asarray(places), dtype=np.float64)
        self._silent = logs[:, 0, 0, 1] - logs[:, 0, 0, 0]
        self._own = self._index @ self._silent

    def __call__(self, query: np.ndarray) -> np.ndarray:
        """Returns `log p(Z | L)` `(r,)` of a query's words `(w,)`."""
        z = query.astype(np.int64)
        logs = self._logs[np.arange(len(z)), z, z[self._parents]]  # (w, place's z)
        touched = np.flatnonzero(z | z[self._parents])
        more = (logs[:, 1] - logs[:, 0] - self._silent)[touched]
        return logs[:, 0].sum() + self._own + self._index[:, touched] @ more


def _costs(references: np.ndarray, state, settings) -> Callable[[np.ndarray], np.ndarray]:
    logs = evidence(state, settings)
    known, unknown = (Index(x, logs, state["parents"]) for x in (references, state["unknown"]))
    prior = np.log((1 - settings.new_place) / len(references))

    def costs(queries: np.ndarray) -> np.ndarray:
        """Returns `-log p(L | Z)` `(n, r)`; what is missing to a sum of 1 is a new place's."""
        out = np.empty((len(queries), len(references)))
        for row, query in zip(out, queries, strict=True):
            likely, other = known(query) + prior, unknown(query)
            new = logsumexp(other) - np.log(len(other)) + np.log(settings.new_place)
            row[:] = np.logaddexp(logsumexp(likely), new) - likely
        return out

    return costs


BASELINE = Baseline(
    title="FAB-MAP 2.0",
    reference="Cummins & Newman 2011",
    about="An image becomes the set of its SIFT words, and a tree tells which words appear together. A "
    "detector's model then gives the probability of every place, and of a place outside the map.",
    describe=describe,
    keys=KEYS,
    fit=fit,
    objections=_objections,
    matching=Matching(costs=_costs),
    bits=1,
    lacks="a keypoint",
)
