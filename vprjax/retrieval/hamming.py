"""Nearest neighbours by Hamming distance between binary hashes of descriptors, 64 bytes for 512 bits."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from vprjax.retrieval.rows import CHUNK_BYTES, Rows

WORD = 32  # bits of a packed number
QUERIES, REFERENCES = 256, 4096  # hashes of a block


@dataclasses.dataclass(frozen=True)
class Hashing:
    """Signs of random directions around a mean: nearby descriptors share most bits.

    Bit `j` of a descriptor `f` is `(f - mean) . r_j >= 0`, with normal `r_j`. Two descriptors that the
    angle `a` parts around the mean differ in `bits a / pi` bits in the mean.

    Attributes:
      mean: `(d,)` float32, that of the references.
      directions: `(d, bits)` float32.

    Source: Charikar 2002.
    """

    mean: np.ndarray
    directions: np.ndarray

    def __call__(self, descriptors) -> np.ndarray:
        """Returns the hashes of descriptors `(n, d)`, packed: `(n, bits / 32)` uint32."""
        rows, (n, d) = Rows(descriptors), descriptors.shape
        out = np.empty((n, self.directions.shape[1] // WORD), np.uint32)
        step = max(1, CHUNK_BYTES // (4 * d))
        for first in range(0, n, step):
            part = slice(first, min(first + step, n))
            bits = (rows(part) - self.mean) @ self.directions >= 0
            out[part] = np.packbits(bits, axis=1).view(np.uint32)
        return out


def learn(references, bits: int, seed: int = 0) -> Hashing:
    """Makes the hashing of descriptors like `references` `(r, d)`.

    Raises:
      ValueError: `bits` is no multiple of 32 above 0.
    """
    if bits < WORD or bits % WORD:
        raise ValueError(f"a hash has a multiple of {WORD} bits, not {bits}")
    rows, (r, d) = Rows(references), references.shape
    step, total = max(1, CHUNK_BYTES // (4 * d)), np.zeros(d)
    for first in range(0, r, step):
        total += rows(slice(first, min(first + step, r))).sum(axis=0, dtype=np.float64)
    directions = np.random.default_rng((seed, 9)).standard_normal((d, bits), np.float32)
    return Hashing((total / r).astype(np.float32), directions)


def nearest(queries: np.ndarray, references: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Hamming distances and numbers `(q, k)` int32 of the `k` references nearest to each query.

    Exact; ties go to the lower number. Blocks of hashes meet on the device, which counts bits.

    Args:
      queries: `(q, words)` uint32.
      references: `(r, words)` uint32.
      k: neighbours, 1..r.

    Raises:
      ValueError: shapes do not fit, or `k` is not in 1..r.
    """
    (q, words), r = queries.shape, len(references)
    if references.shape[1:] != (words,) or not 1 <= k <= r:
        raise ValueError(
            f"hashes {queries.shape} and {references.shape} must have as many words, and k={k} must be "
            f"between 1 and {r}"
        )
    blocks = [_padded(references[i : i + REFERENCES], REFERENCES) for i in range(0, r, REFERENCES)]
    apart, numbers = np.empty((q, k), np.int32), np.empty((q, k), np.int32)
    for first in range(0, q, QUERIES):
        part = slice(first, min(first + QUERIES, q))
        own = jnp.asarray(_padded(queries[part], QUERIES))
        best = jnp.full((QUERIES, k), jnp.inf), jnp.zeros((QUERIES, k), jnp.int32)
        for number, block in enumerate(blocks):
            best = _merge(own, block, number * REFERENCES, r, *best)
        apart[part], numbers[part] = (np.asarray(x)[: part.stop - first] for x in best)
    return apart, numbers


def _padded(hashes: np.ndarray, rows: int) -> np.ndarray:
    return np.pad(hashes, ((0, rows - len(hashes)), (0, 0)))


@functools.partial(jax.jit, donate_argnums=(4, 5))
def _merge(queries, block, first, count, apart, numbers):
    """The best of those found so far and a block of references, by distance, then by number."""
    bits = jax.lax.population_count(queries[:, None, :] ^ block[None, :, :])
    found = bits.sum(axis=2, dtype=jnp.int32).astype(jnp.float32)  # exact, and top_k is fast
    number = first + jnp.arange(len(block), dtype=jnp.int32)[None, :]
    found = jnp.where(number < count, found, jnp.inf)
    values = jnp.concatenate([apart, found], axis=1)
    every = jnp.concatenate([numbers, jnp.broadcast_to(number, found.shape)], axis=1)
    smallest, at = jax.lax.top_k(-values, apart.shape[1])  # of equal ones the first comes first
    return -smallest, jnp.take_along_axis(every, at, axis=1)
