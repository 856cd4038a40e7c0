"""Hashes and two-stage search against brute force in NumPy."""

import numpy as np
import pytest

from vprjax.retrieval import hamming, rerank

D = 24


def rows(n, seed, spread=1.0):
    return (3 + spread * np.random.default_rng(seed).normal(size=(n, D))).astype(np.float32)


def bits_of(hashes):
    return np.unpackbits(hashes.view(np.uint8), axis=1)


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks that few rows fill several times, the last in part."""
    monkeypatch.setattr(hamming, "QUERIES", 8)
    monkeypatch.setattr(hamming, "REFERENCES", 16)


def test_bits_are_the_sides_of_random_planes_through_the_mean(monkeypatch):
    references = rows(50, 0)
    monkeypatch.setattr(hamming, "CHUNK_BYTES", 4 * D * 7)
    hashing = hamming.learn(references, 64, seed=3)
    np.testing.assert_allclose(hashing.mean, references.mean(axis=0), rtol=1e-6)
    wanted = (references - hashing.mean) @ hashing.directions >= 0
    assert hashing(references).shape == (50, 2)
    np.testing.assert_array_equal(bits_of(hashing(references)), wanted)
    assert (
        0.3 < wanted.mean() < 0.7
    )  # around the mean; around 0 all descriptors would share most bits
    assert (hamming.learn(references, 64, seed=4).directions != hashing.directions).any()


def test_the_share_of_bits_apart_is_the_angle():
    hashing = hamming.Hashing(
        np.zeros(2, np.float32), hamming.learn(rows(1, 0), 4096).directions[:2]
    )
    angles = np.float32([0.0, np.pi / 6, np.pi / 2, np.pi])
    hashes = hashing(np.stack([np.cos(angles), np.sin(angles)], axis=1))
    apart = (bits_of(hashes) != bits_of(hashes)[:1]).mean(axis=1)
    np.testing.assert_allclose(apart, angles / np.pi, atol=0.03)


@pytest.mark.parametrize("k", [1, 5, 37])
def test_hamming_neighbours_are_those_of_a_count(small_blocks, k):
    """With 32 bits many distances tie, within a block and across blocks."""
    rng = np.random.default_rng(1)
    queries, references = (
        rng.integers(0, 2**32, (n, 1), np.uint32) & np.uint32(0x000000FF) for n in (19, 37)
    )
    apart = (bits_of(queries)[:, None] != bits_of(references)[None]).sum(axis=2)
    order = np.argsort(apart, axis=1, kind="stable")[:, :k]
    found, numbers = hamming.nearest(queries, references, k)
    np.testing.assert_array_equal(numbers, order)
    np.testing.assert_array_equal(found, np.take_along_axis(apart, order, axis=1))


def test_candidates_come_in_the_order_of_l2_and_the_rest_in_that_of_the_hashes(small_blocks):
    queries, references = rows(21, 1), rows(40, 2)
    references[7] = references[3]  # a tie of both stages
    found = rerank.search(queries, references, k=12, candidates=9, bits=32, seed=5)
    hashing = hamming.learn(references, 32, 5)
    apart = bits_of(hashing(queries))[:, None] != bits_of(hashing(references))[None]
    first = np.argsort(apart.sum(axis=2), axis=1, kind="stable")[:, :12]
    np.testing.assert_array_equal(found.first, first)
    gap = references[None].astype(np.float64) - queries[:, None]
    l2 = np.sqrt((gap**2).sum(axis=2))
    for row, (numbers, near) in enumerate(zip(found.indices, found.distances, strict=True)):
        chosen = np.sort(first[row, :9])
        wanted = chosen[np.argsort(l2[row, chosen], kind="stable")]
        np.testing.assert_array_equal(numbers, [*wanted, *first[row, 9:]])
        np.testing.assert_allclose(near[:9], l2[row, wanted], rtol=1e-6)
        assert np.isnan(near[9:]).all()
    assert (found.hash_bytes, found.row_bytes) == (4, 4 * D)


def test_with_all_as_candidates_the_answer_is_exact(small_blocks):
    queries, references = rows(10, 3), rows(30, 4)
    found = rerank.search(queries, references, k=4, candidates=30, bits=32)
    l2 = ((references[None].astype(np.float64) - queries[:, None]) ** 2).sum(axis=2)
    np.testing.assert_array_equal(found.indices, np.argsort(l2, axis=1)[:, :4])


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="a multiple of 32 bits, not 48"):
        hamming.learn(rows(3, 0), 48)
    hashes = np.zeros((3, 2), np.uint32)
    with pytest.raises(ValueError, match="k=4 must be between 1 and 3"):
        hamming.nearest(hashes, hashes, 4)
    with pytest.raises(ValueError, match="as many words"):
        hamming.nearest(hashes, hashes[:, :1], 1)
    with pytest.raises(ValueError, match="candidates=4 must be between 1 and the 3 references"):
        rerank.search(rows(2, 0), rows(3, 0), 1, 4, 32)
