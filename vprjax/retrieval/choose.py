"""Which way of scanning is fastest, judged on a sample; all give the same neighbours."""

import functools
import time

import jax
import jax.numpy as jnp
import numpy as np

from vprjax.retrieval import encode
from vprjax.retrieval.rows import Rows
from vprjax.retrieval.scan import Scanner, dot
from vprjax.runtime import parallel

SHARES = (0.125, 0.25, 0.5)  # of the dimensions, that a pruned scan may multiply
SMALL = 2e10  # multiplications below which choosing would take longer than the search
LEARN, QUERIES = 512, 64  # rows of each side that directions are learned from; queries of the trial
BLOCKS = 2  # of the dimensions, whose spectra stand for all
GATHER = 100.0  # time to compute one exact distance, in float32 multiplications of a matrix product


SPARE = {"float32": 7, "bfloat16": 31, "pruned": 63}  # candidates that are kept beyond k


def spare(way: str) -> int:
    """Candidates beyond k that a scan so called keeps."""
    return SPARE[way.split()[0]]


def scanner(scan: str, queries: Rows, references: Rows, k: int) -> tuple[str, Scanner]:
    """The scanner of that name and what it is called.

    "auto" is float32 on accelerators, on several processes and for small searches; on a CPU it is the
    one for which the speed of products here and the distances of a sample predict the shortest time.
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
    """Rows spread evenly over all."""
    chosen = np.unique(np.linspace(0, len(rows) - 1, min(LEARN, len(rows))).astype(np.int64))
    return rows(chosen)


def _costs(queries: np.ndarray, references: np.ndarray, q: int, r: int, k: int) -> dict[str, float]:
    """Time of each way, as a share of multiplying everything in float32; of centred samples."""
    products = _bfloat16_time()
    exact, norms = _distances(queries[:: -(-len(queries) // QUERIES)], references)
    # k neighbours of all r are so many of the sample; with fewer than one, the nearest stands in.
    sampled = min(max(1, round(k * len(references) / r)), len(references))
    kth = np.partition(exact, sampled - 1, axis=1)[:, sampled - 1 : sampled]

    def refining(way: str, outside: float) -> float:
        """Time for the exact distances, if the bounds miss so much of the norms' squares."""
        missed = 2 * (outside + 2 * encode.HALF) * norms
        share = (exact - missed <= kth).mean(axis=1) - sampled / len(references)
        left = np.maximum(share, 0) * r + k
        # Queries with more left than are kept are searched again, at twice the price.
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
    """Squared distances `(n, m)` and products of the norms."""
    squares = [np.einsum("nd,nd->n", x, x) for x in (queries, references)]
    exact = np.add.outer(*squares) - 2 * queries @ references.T
    return exact, np.sqrt(np.multiply.outer(*squares))


def _energy(rows: np.ndarray) -> np.ndarray:
    """`(width,)` share of the squared norms along the first 1, 2, ... main directions of a block."""
    blocks, width = encode.block_sizes(rows.shape[1])
    total = np.zeros(width)
    for number in np.unique(np.linspace(0, blocks - 1, BLOCKS).astype(int)):
        values = np.linalg.eigvalsh(encode.block_covariance(rows, number))[::-1]
        total += np.cumsum(values) / values.sum()
    return total / total[-1]


@functools.cache
def _bfloat16_time() -> float:
    """Time of a bfloat16 matrix product as a share of a float32 one, on this processor."""
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
