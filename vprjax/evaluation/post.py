"""Post-processing of descriptors before the search: standardisation, query expansion, augmentation.

All of it needs no label. The search stays exact; it searches other vectors.
"""

from collections.abc import Callable

import numpy as np

CLUSTERS, ROUNDS = 3, 30  # of per-cluster standardisation: clusters per set and iterations
LEAST = 8  # descriptors of a set or cluster, below which its deviations are chance
ROWS = 1024
Nearest = Callable[[np.ndarray, np.ndarray, int], object]  # with `indices` and `distances` `(q, k)`


def processed(
    settings, queries: np.ndarray, references: np.ndarray, search: Nearest
) -> tuple[np.ndarray, np.ndarray]:
    """Queries and references as the `eval` section has them post-processed; unchanged by its defaults.

    Standardisation comes first, then the references' augmentation, then the queries' expansion.

    Args:
      settings: the `eval` section.
      queries: `(q, d)` descriptors, an array or memory map.
      references: `(r, d)`.
      search: `(queries, references, k)` to the nearest by L2.
    """
    e = settings
    if e.standardise:
        every = standardised if e.standardise == "sets" else standardised_by_cluster
        queries, references = every(queries), every(references)
    neighbours = min(e.database_augmentation, len(references) - 1)
    plain = references
    if neighbours > 0:
        found = search(plain, plain, neighbours + 1)
        references = expanded(plain, plain, *others(found.indices), e.expansion_power)
    if e.query_expansion:
        found = search(queries, references, min(e.query_expansion, len(references)))
        queries = expanded(queries, references, found.indices, e.expansion_power)
    return queries, references


def doubts(settings, queries: int, references: int) -> list[str]:
    """One sentence per set whose mean and deviation are chance, as it has few images."""
    return [
        f"eval.standardise takes mean and deviation of only {count} {what}: below {LEAST} they are chance"
        for count, what in ((queries, "queries"), (references, "references"))
        if settings.standardise and count < LEAST
    ]


def words(settings) -> list[str]:
    """Phrases on what `processed` does, for results; empty with the defaults."""
    e, out = settings, []
    if e.standardise:
        whose = "per set" if e.standardise == "sets" else f"in {CLUSTERS} clusters per set"
        out.append(f"mean and deviation standardised {whose}")
    for count, what in (
        (e.database_augmentation, "references averaged with their {} nearest"),
        (e.query_expansion, "queries averaged with their {} nearest references"),
    ):
        if count:
            weights = f", weighted by cosine^{e.expansion_power:g}" if e.expansion_power else ""
            out.append(what.format(count) + weights)
    return out


def standardised(rows: np.ndarray) -> np.ndarray:
    """`normalize((f - mean) / deviation)` with mean and deviation of this set, per dimension.

    A dimension without deviation becomes 0, and so does every dimension of a single descriptor.

    Shapes: `(n, d) -> (n, d)` float32, unit rows.
    Source: Schubert, Neubert & Protzel 2020 (arXiv 2001.08960).
    """
    total, n = np.zeros(rows.shape[1]), len(rows)
    for part in _parts(rows):
        total += part.sum(axis=0, dtype=np.float64)
    mean, squares = total / n, np.zeros(rows.shape[1])
    for part in _parts(rows):
        squares += ((part - mean) ** 2).sum(axis=0)
    deviation = np.sqrt(squares / n)
    some = deviation > 1e-6 * max(float(deviation.max(initial=0)), 1e-30)
    scale = np.where(some, 1 / np.where(some, deviation, 1), 0)
    out = np.empty(rows.shape, np.float32)
    for number, part in enumerate(_parts(rows)):
        out[number * ROWS : number * ROWS + len(part)] = (part - mean) * scale
    return _unit(out)


def standardised_by_cluster(rows: np.ndarray) -> np.ndarray:
    """`standardised` inside every cluster of the set, for sets whose light or weather changes.

    k-means by cosine finds the clusters, from descriptors far apart. A cluster too small for deviations
    joins the nearest other one.

    Shapes: `(n, d) -> (n, d)` float32, unit rows.
    """
    unit = _unit(np.array(rows, np.float32))
    owner = clusters(unit)
    out = np.empty(rows.shape, np.float32)
    for number in np.unique(owner):
        own = owner == number
        out[own] = standardised(np.asarray(rows)[own])
    return out


def clusters(unit: np.ndarray) -> np.ndarray:
    """Cluster `(n,)` of each unit descriptor `(n, d)`, at most `CLUSTERS`, each of `LEAST` or more."""
    centres = unit[:1]
    for _ in range(1, min(CLUSTERS, len(unit) // LEAST)):
        farthest = np.argmin((unit @ centres.T).max(axis=1))
        centres = np.concatenate([centres, unit[farthest : farthest + 1]])
    owner = np.zeros(len(unit), np.int64)
    for _ in range(ROUNDS):
        now = np.argmax(unit @ centres.T, axis=1)
        counts = np.bincount(now, minlength=len(centres))
        if counts.min() < LEAST and len(centres) > 1:
            centres = np.delete(centres, np.argmin(counts), axis=0)
            continue
        centres = _unit(np.stack([unit[now == c].sum(axis=0) for c in range(len(centres))]))
        if (now == owner).all():
            break
        owner = now
    return np.argmax(unit @ centres.T, axis=1)


def others(indices: np.ndarray) -> tuple[np.ndarray]:
    """Neighbours `(n, k)` of each of n descriptors but itself, of `(n, k + 1)` that may hold it."""
    itself = indices == np.arange(len(indices))[:, None]
    itself[:, -1] |= ~itself.any(axis=1)  # twins may have pushed it out: the last one goes
    return (indices[~itself].reshape(len(indices), -1),)


def expanded(rows: np.ndarray, others: np.ndarray, indices: np.ndarray, power: float) -> np.ndarray:
    """`normalize(f + sum_k max(cos(f, g_k), 0)^alpha g_k)`; alpha 0 is the plain average.

    Shapes: `(n, d)`, `(r, d)`, numbers of rows of `others` `(n, k) -> (n, d)` float32, unit rows.
    Source: Chum et al. 2007; Radenovic, Tolias & Chum 2018 (alpha-QE); Arandjelovic & Zisserman 2012
    (the same of references).
    """
    out = np.empty(rows.shape, np.float32)
    for first in range(0, len(rows), ROWS):
        part = slice(first, first + ROWS)
        own = _unit(np.array(rows[part], np.float32))
        total = own.copy()
        for column in indices[part].T:
            near = _unit(np.array(others[column], np.float32))
            cosine = np.maximum(np.einsum("nd,nd->n", own, near), 0)
            total += near * (cosine**power if power else np.ones_like(cosine))[:, None]
        out[part] = total
    return _unit(out)


def _parts(rows: np.ndarray):
    for first in range(0, len(rows), ROWS):
        yield np.asarray(rows[first : first + ROWS], np.float32)


def _unit(rows: np.ndarray) -> np.ndarray:
    """Divides rows `(n, d)` by their lengths, in place; zero stays zero."""
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return rows
