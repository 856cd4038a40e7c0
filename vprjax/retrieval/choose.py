"""The choice of the fastest scan method on a sample; all give the same neighbours."""

import dataclasses
import functools

import jax
import numpy as np

from vprjax.retrieval import chunk, codes, encode, product
from vprjax.retrieval.rows import Rows
from vprjax.retrieval.scan import Encoder, Scanner
from vprjax.runtime import parallel

SHARES = (0.125, 0.25, 0.5)  # shares of the dimensions that a pruned scan may multiply
SMALL = 3e9  # multiplications below which choosing takes longer than the search
LEARN, QUERIES, MEASURED = 256, 64, 16  # rows to learn from; queries, rows encoded for a trial
FARTHER = 8  # times as many references as k, whose distance tells how fast their number grows
MOST_POWER = 50.0  # of e, past all numbers of references
UNMEASURED = {"bfloat16": 0.5, "int8": 0.5}  # times of products, float32's being 1
BLOCKS = 2  # blocks of dimensions whose spectra stand for all
# Times in float32 products of a matrix: an exact distance, one of rows that no cache holds, its calls.
GATHER, FAR, CALLS = 16.0, 45.0, 24e3
ENCODING = 60.0  # time of encoding a number, likewise
AGAIN = 2.0  # time of searching a query again, in scans of one query
SPARE = 7  # candidates kept beyond k: a float32 scan's
FEWEST_SPARE = {
    "bfloat16": 39,
    "int8": 39,
    "pruned": 119,
}  # of other scans, whose bounds are looser
MOST_SPARE = 250
FULL = 0.02  # share of queries that may need more


@dataclasses.dataclass(frozen=True)
class Way:
    """A scan method.

    Attributes:
      name: "float32", "bfloat16", "int8" or "pruned 0.25" (share of the dimensions).
      scanner: its scanner.
      spare: candidates that it keeps beyond k.
    """

    name: str
    scanner: Scanner
    spare: int = SPARE


@dataclasses.dataclass(frozen=True)
class _Sample:
    """Centred rows of both sides, and per query of the trial where its nearest references are.

    Attributes:
      mean: of the references.
      queries: `(n, d)`.
      references: `(m, d)`.
      kth: about the distance of a k-th neighbour.
      slope: about how fast the logarithm of the number of references grows there with the distance.
    """

    mean: np.ndarray
    queries: np.ndarray
    references: np.ndarray
    kth: np.ndarray
    slope: np.ndarray


def way(scan: str, queries: Rows, references: Rows, k: int) -> Way:
    """The chosen scan method.

    "auto" is float32 on accelerators, among several processes and for small searches. On a CPU it is the
    method with the shortest time predicted from a sample's distances and this processor's speed.

    Raises:
      ValueError: a descriptor of the sample is not finite.
    """
    q, (r, d) = len(queries), references.shape
    alone = jax.default_backend() == "cpu" and parallel.process_count() == 1
    if scan == "float32" or not q or (scan == "auto" and not (alone and q * r * d >= SMALL)):
        return Way("float32", Scanner(encode.float32))
    sample = _sample(queries, references, k)
    if not (np.isfinite(sample.queries).all() and np.isfinite(sample.references).all()):
        raise ValueError("descriptors hold NaN or infinity")
    costs = _costs(sample, q, r, k, scan)
    best = min(costs, key=lambda name: costs[name][0])
    if best == "float32":
        return Way(best, Scanner(encode.float32))
    of_queries, of_references = _encoders(best, sample, sample.mean)
    scanner = Scanner(of_references, float(np.median(sample.kth)), of_queries)
    return Way(best, scanner, costs[best][1])


def _encoders(name: str, sample: _Sample, mean: np.ndarray) -> list[Encoder]:
    """Those of queries and of references."""
    if name == "int8":
        sides = codes.QUERIES, codes.REFERENCES
        return [functools.partial(codes.int8, mean=mean, side=side) for side in sides]
    if name == "bfloat16":
        return 2 * [functools.partial(encode.bfloat16, mean=mean)]
    both = np.concatenate([sample.references, sample.queries])
    bases = encode.learn_bases(both, float(name.split()[1]))
    return 2 * [functools.partial(encode.rotated, mean=mean, bases=bases)]


@np.errstate(invalid="ignore", over="ignore")  # the scan refuses what is not finite
def _sample(queries: Rows, references: Rows, k: int) -> _Sample:
    """At most `LEARN` rows of each side, evenly spread; the trial takes fewer queries."""
    ours, others = (
        rows(np.unique(np.linspace(0, len(rows) - 1, min(LEARN, len(rows))).astype(np.int64)))
        for rows in (queries, references)
    )
    mean = others.mean(axis=0)
    ours -= mean  # in place: some hosts hand out fresh memory slowly
    others -= mean
    trial = ours[:: -(-len(ours) // QUERIES)]
    squares = [encode.squared_norms(x) for x in (trial, others)]
    apart = np.sqrt(
        np.maximum(np.add.outer(*squares) - 2 * np.asarray(product.of_rows(trial, others)), 0)
    )
    apart.sort(axis=1)
    # The sample's share of the k neighbours among all r; the nearest stands in for less than one.
    first = min(max(1, round(k * len(others) / len(references))), len(others))
    last = min(FARTHER * first, len(others))
    kth, farther = apart[:, first - 1], apart[:, last - 1]
    slope = np.log(last / first) / np.maximum(farther - kth, 1e-6 * farther + 1e-30)
    return _Sample(mean, ours, others, kth, slope)


def _costs(sample: _Sample, q: int, r: int, k: int, scan: str) -> dict[str, tuple[float, int]]:
    """Time of each method that `scan` allows, as a share of all float32 products, and its spare."""
    d = sample.references.shape[1]
    # Several processes must choose alike, whatever each of them measures.
    speeds = product.times() if parallel.process_count() == 1 else UNMEASURED
    encoding = ENCODING * (1 / q + 1 / r)
    costs = {}
    if scan == "auto":
        costs["float32"] = 1 + _gather(d) * k / r, SPARE
    nothing = np.zeros(d, np.float32)
    for name in ("bfloat16", "int8"):
        if scan in ("auto", name):
            kind = name if name == "bfloat16" else product.fastest_whole()
            sides = (sample.queries, sample.references)
            both = zip(_encoders(name, sample, nothing), sides, strict=True)
            own, error = (run(x[:: -(-len(x) // MEASURED)]).error.mean() for run, x in both)
            missed = np.hypot(own, error) if name == "int8" else own + error
            cost, spare = _refining(sample, missed, r, k, FEWEST_SPARE[name])
            costs[name] = speeds[kind] + encoding + cost, spare
    if scan == "pruned":
        costs |= _pruned(sample, q, r, k, speeds["bfloat16"], encoding)
    return costs


def _pruned(sample: _Sample, q: int, r: int, k: int, speed: float, encoding: float):
    """`_costs` of the pruned scans."""
    _, width = encode.block_sizes(sample.references.shape[1])
    energy = _energy(np.concatenate([sample.queries, sample.references]))
    norm = float(np.sqrt(encode.squared_norms(sample.references).mean()))
    costs, fewest = {}, FEWEST_SPARE["pruned"]
    for share in SHARES:
        outside = 1 - float(energy[max(1, round(width * share)) - 1])
        # Leaving out both sides' rest shortens squared distances by up to twice its squared norm.
        missed = sample.kth - np.sqrt(np.maximum(sample.kth**2 - 2 * outside * norm**2, 0))
        cost, spare = _refining(sample, missed + 2.0**-8 * norm, r, k, fewest)
        rotating = share * width * (1 / q + 1 / r)
        costs[f"pruned {share:g}"] = share * speed + rotating + encoding + cost, spare
    return costs


def _refining(sample: _Sample, missed, r: int, k: int, fewest: int) -> tuple[float, int]:
    """Time of the exact distances if bounds lie `missed` below them, and how many to keep beyond k."""
    left = np.minimum(k * np.expm1(np.minimum(sample.slope * missed, MOST_POWER)), r)
    left = np.where(np.isnan(left), r, left)  # the scan refuses what is not finite
    spare = int(np.clip(2 * np.quantile(left, 1 - FULL), fewest, MOST_SPARE))
    # A query with more left than it keeps is searched again.
    gather = _gather(sample.references.shape[1])
    return float(gather * (left.mean() + k) / r + AGAIN * (left > spare).mean()), spare


def _gather(d: int) -> float:
    """Time of one exact distance, in float32 products of a matrix."""
    return (FAR if d >= chunk.DIMENSIONS else GATHER) + CALLS / d


def _energy(rows: np.ndarray) -> np.ndarray:
    """Share `(width,)` of the squared norms along a block's first 1, 2, ... main directions."""
    blocks, width = encode.block_sizes(rows.shape[1])
    total = np.zeros(width)
    for number in np.unique(np.linspace(0, blocks - 1, BLOCKS).astype(int)):
        values = np.linalg.eigvalsh(encode.block_covariance(rows, number))[::-1]
        total += np.cumsum(values) / values.sum()
    return total / total[-1]
