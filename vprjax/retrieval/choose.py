"""The choice of the fastest scan method on a sample; all give the same neighbours."""

import functools
import time

import jax
import jax.numpy as jnp
import numpy as np

from vprjax.retrieval import encode
from vprjax.retrieval.rows import Rows
from vprjax.retrieval.scan import Scanner, dot
from vprjax.runtime import parallel

SHARES = (0.125, 0.25, 0.5)  # shares of the dimensions that a pruned scan may multiply
SMALL = 2e10  # multiplications below which choosing takes longer than the search
LEARN, QUERIES = 512, 64  # rows of each side to learn directions from; queries of the trial
BLOCKS = 2  # blocks of dimensions whose spectra stand for all
GATHER = 100.0  # time of one exact distance, in float32 multiplications of a matrix product


SPARE = {"float32": 7, "bfloat16": 31, "pruned": 63}  # candidates kept beyond k


def spare(way: str) -> int:
    """Candidates that a scan method keeps beyond k."""
    return SPARE[way.split()[0]]


def scanner(scan: str, queries: Rows, references: Rows, k: int) -> tuple[str, Scanner]:
    """The chosen scan method's full name and its scanner.

    "auto" is float32 on accelerators, among several processes and for small searches. On a CPU it is the
    method with the shortest time predicted from a sample's distances and this processor's speed.
    """
    q, (r, d) = len(queries), references.shape
    alone = jax.default_backend() == "cpu" and parallel.process_count() == 1
    if scan == "float32" or not q or (scan == "auto" and not (alone and q * r * d >= SMALL)):
        return "float32", Scanner(encode.float32)
    ours, others = _sample(queries), _sample(references)
    mean = others.mean(axis=0)
    if scan == "bfloat16":
        return scan, Scanner(encode.bfloat16, mean)
    costs = _costs(ours - mean, others - mean, q, r, k)
    wanted = [name for name in costs if scan == "auto" or name.startswith(scan)]
    best = min(wanted, key=costs.__getitem__)
    if best == "float32":
        return best, Scanner(encode.float32)
    if best == "bfloat16":
        return best, Scanner(encode.bfloat16, mean)
    bases = encode.learn_bases(np.concatenate([others, ours]) - mean, float(best.split()[1]))
    return best, Scanner(encode.rotated, mean, bases)


def _sample(rows: Rows) -> np.ndarray:
    """At most `LEARN` rows, evenly spread over all."""
    chosen = np.unique(np.linspace(0, len(rows) - 1, min(LEARN, len(rows))).astype(np.int64))
    return rows(chosen)


def _costs(queries: np.ndarray, references: np.ndarray, q: int, r: int, k: int) -> dict[str, float]:
    """Time of each scan method on centred samples, as a share of all float32 multiplications."""
    products = _bfloat16_time()
    exact, norms = _distances(queries[:: -(-len(queries) // QUERIES)], references)
    # The sample's share of the k neighbours among all r; the nearest stands in for less than one.
    sampled = min(max(1, round(k * len(references) / r)), len(references))
    kth = np.partition(exact, sampled - 1, axis=1)[:, sampled - 1 : sampled]

    def refining(way: str, outside: float) -> float:
        """Time of the exact distances if the bounds miss the share `outside` of the squared norms."""
        missed = 2 * (outside + 2 * encode.HALF) * norms
        share = (exact - missed <= kth).mean(axis=1) - sampled / len(references)
        left = np.maximum(share, 0) * r + k
        # A query with more left than it keeps is searched again, at twice the price.
        again = (left > k + spare(way)).mean()
        return float(GATHER * left.mean() / r + 2 * again)

    costs = {"float32": 1 + GATHER * k / r, "bfloat16": products + refining("bfloat16", 0)}
    _, width = encode.block_sizes(queries.shape[1])
    energy = _energy(np.concatenate([queries, references]))
    for share in SHARES:
        inside = energy[max(1, round(width * share)) - 1]
        rotating = share * width * (1 / q + 1 / r)
        costs[f"pruned {share:g}"] = (
            share * products + rotating + refining("pruned", 1 - float(inside))
        )
    return costs


def _distances(queries: np.ndarray, references: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Squared distances and products of the norms, both `(n, m)`."""
    squares = [np.einsum("nd,nd->n", x, x) for x in (queries, references)]
    exact = np.add.outer(*squares) - 2 * queries @ references.T
    return exact, np.sqrt(np.multiply.outer(*squares))


def _energy(rows: np.ndarray) -> np.ndarray:
    """Share `(width,)` of the squared norms along a block's first 1, 2, ... main directions."""
    blocks, width = encode.block_sizes(rows.shape[1])
    total = np.zeros(width)
    for number in np.unique(np.linspace(0, blocks - 1, BLOCKS).astype(int)):
        values = np.linalg.eigvalsh(encode.block_covariance(rows, number))[::-1]
        total += np.cumsum(values) / values.sum()
    return total / total[-1]


@functools.cache
def _bfloat16_time() -> float:
    """Time of a bfloat16 matrix product on this processor, as a share of a float32 product's."""
    rows = np.random.default_rng(0).normal(size=(1024, 1024)).astype(np.float32)
    seconds = {}
    for kind in (jnp.float32, jnp.bfloat16):
        placed = jnp.asarray(rows, kind)
        product = jax.jit(dot)
        product(placed, placed).block_until_ready()
        times = []
        for _ in range(5):
            start = time.perf_counter()
            product(placed, placed).block_until_ready()
            times.append(time.perf_counter() - start)
        seconds[kind] = min(times)
    return seconds[jnp.bfloat16] / seconds[jnp.float32]
