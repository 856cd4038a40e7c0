"""Chow-Liu tree of binary words: the tree of pairs that keeps most of what words tell of each other."""

import numpy as np
from scipy.special import xlogy


def mutual_information(presence: np.ndarray, word: int) -> np.ndarray:
    """Mutual information of one word and every word, in nats: `sum p(a,b) log(p(a,b) / (p(a) p(b)))`.

    Shapes: presence `(n, w)` of 0 and 1 -> `(w,)` float64; a word's own entry is its entropy.
    """
    n = len(presence)
    counts = presence.sum(axis=0, dtype=np.float64)
    own = counts[word]
    data = np.asarray(presence, np.float32)  # counts below 2**24 are exact
    both = (data.T @ data[:, word]).astype(np.float64)
    total = np.zeros(presence.shape[1])
    for joint, a, b in (
        (both, counts, own),
        (counts - both, counts, n - own),
        (own - both, n - counts, own),
        (n - counts - own + both, n - counts, n - own),
    ):
        expected = np.maximum(a * b, 1)  # joint is 0 where it is
        total += xlogy(joint, np.maximum(joint, 1) * n / expected) / n
    return total


def tree(presence: np.ndarray) -> np.ndarray:
    """Parents `(w,)` in the maximum spanning tree of mutual information; word 0 is its own parent.

    Prim's algorithm computes a word's row when the tree reaches it, so that memory grows with `w` and not
    with its square. Ties go to the lower number.

    Source: Chow & Liu 1968.
    """
    w = presence.shape[1]
    data = np.asfortranarray(presence, np.float32)
    parents, best = np.zeros(w, np.int64), np.full(w, -np.inf)
    outside, last = np.ones(w, bool), 0
    outside[0] = False
    for _ in range(w - 1):
        row = mutual_information(data, last)
        better = outside & (row > best)
        best[better], parents[better] = row[better], last
        last = int(np.argmax(np.where(outside, best, -np.inf)))
        outside[last] = False
    return parents


def chances(presence: np.ndarray, parents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Chances of a word alone `(w,)` and given its parent's absence or presence `(w, 2)`.

    Half an image with and half one without the word are added to the counts, and one image at the word's
    own chance to the counts given a parent, so that all lie between 0 and 1 and none is either.
    """
    n, counts = len(presence), presence.sum(axis=0, dtype=np.float64)
    alone = (counts + 0.5) / (n + 1)
    of_parent = counts[parents]
    both = (presence * presence[:, parents]).sum(axis=0, dtype=np.float64)
    absent = (counts - both + alone) / (n - of_parent + 1)
    present = (both + alone) / (of_parent + 1)
    return alone, np.stack([absent, present], axis=1)
