"""`nearest` against faiss and float64 NumPy."""

import numpy as np
import pytest

from vprjax import retrieval


def unit(rng, n, d):
    x = rng.normal(size=(n, d)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def brute(queries, references, k):
    gaps = queries[:, None].astype(np.float64) - references[None]
    squared = (gaps**2).sum(axis=2)
    order = np.argsort(squared, axis=1, kind="stable")[:, :k]
    return np.sqrt(np.take_along_axis(squared, order, axis=1)), order


@pytest.mark.parametrize(
    ("q", "r", "d", "k"), [(130, 1000, 64, 20), (7, 5000, 33, 1), (1, 3, 5, 3)]
)
def test_same_as_faiss_and_float64(q, r, d, k):
    faiss = pytest.importorskip("faiss")
    rng = np.random.default_rng(q)
    queries, references = unit(rng, q, d), unit(rng, r, d)
    distances, indices = retrieval.nearest(queries, references, k)
    index = faiss.IndexFlatL2(d)
    index.add(references)
    squared, expected = index.search(queries, k)
    assert (indices == expected).all()
    assert np.allclose(distances, np.sqrt(squared), atol=1e-4)
    exact, order = brute(queries, references, k)
    assert (indices == order).all() and np.allclose(distances, exact, rtol=1e-6, atol=0)


def test_blocks_do_not_matter():
    rng = np.random.default_rng(0)
    queries, references = unit(rng, 37, 16), unit(rng, 501, 16)
    whole = retrieval.nearest(queries, references, 5)
    blocks = retrieval.nearest(queries, references, 5, memory_bytes=20_000)
    rows = retrieval._block_rows(queries, references, 20_000)
    assert rows[0] < 37 and rows[1] < 501
    assert all((a == b).all() for a, b in zip(whole, blocks, strict=True))


def test_ties_and_duplicates_go_to_the_lower_index():
    rng = np.random.default_rng(1)
    base = unit(rng, 10, 8)
    references = np.concatenate([base] * 30)  # every row 30 times: more ties than spare candidates
    queries = base + 1e-3 * rng.normal(size=base.shape).astype(np.float32)
    distances, indices = retrieval.nearest(queries, references, 40, memory_bytes=20_000)
    exact, order = brute(queries, references, 40)
    assert (indices == order).all() and np.allclose(distances, exact, rtol=1e-6)


def test_neighbours_closer_than_float32_sums_can_tell():
    """Far from the origin `|q|^2 + |r|^2 - 2 q.r` cancels; the ranking must still be exact."""
    rng = np.random.default_rng(2)
    centre = 100 * unit(rng, 1, 64)
    references = (centre + 1e-3 * rng.normal(size=(400, 64))).astype(np.float32)
    queries = (centre + 1e-3 * rng.normal(size=(20, 64))).astype(np.float32)
    assert (retrieval.nearest(queries, references, 3)[1] == brute(queries, references, 3)[1]).all()


def test_memory_maps_and_empty_queries(tmp_path):
    rng = np.random.default_rng(3)
    stored = np.memmap(tmp_path / "r.f32", np.float32, "w+", shape=(50, 12))
    stored[:] = unit(rng, 50, 12)
    queries = unit(rng, 4, 12)
    assert (retrieval.nearest(queries, stored, 2)[1] == brute(queries, stored, 2)[1]).all()
    distances, indices = retrieval.nearest(queries[:0], stored, 2)
    assert distances.shape == indices.shape == (0, 2)


@pytest.mark.parametrize("k", [0, 6])
def test_k_outside_the_gallery_is_refused(k):
    x = np.eye(5, dtype=np.float32)
    with pytest.raises(ValueError, match=f"k={k} must be between 1 and the 5 references"):
        retrieval.nearest(x, x, k)


def test_nan_and_other_width_are_refused():
    x = np.eye(5, dtype=np.float32)
    with pytest.raises(ValueError, match="must be"):
        retrieval.nearest(x, x[:, :3])
    bad = x.copy()
    bad[2, 2] = np.nan
    for queries, references in ((bad, x), (x, bad)):
        with pytest.raises(ValueError, match="NaN"):
            retrieval.nearest(queries, references)
