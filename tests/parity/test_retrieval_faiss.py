"""`nearest` against faiss and float64 NumPy."""

import ml_dtypes
import numpy as np
import pytest

from vprjax import retrieval

pytestmark = pytest.mark.usefixtures("devices")


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


def test_blocks_do_not_matter(devices):
    if devices == "one device":
        pytest.skip("cut rows are scanned by all devices that there are")
    rng = np.random.default_rng(0)
    queries, references = unit(rng, 137, 700), unit(rng, 1501, 700)
    whole = retrieval.search(queries, references, 5)
    for budget, columns in ((4_800_000, 700), (2_800_000, 350)):
        cut = retrieval.search(queries, references, 5, memory_bytes=budget)
        assert cut.plan.query_rows < 137 and cut.plan.reference_rows < 1501
        assert cut.plan.columns == columns and cut.plan.bytes <= budget
        assert (cut.indices == whole.indices).all() and (cut.distances == whole.distances).all()


@pytest.mark.parametrize("scan", ["float32", "bfloat16", "int8", "pruned"])
@pytest.mark.parametrize("metric", ["l2", "cosine"])
def test_every_way_of_scanning_gives_the_same_neighbours(scan, metric):
    """Rows far from the origin, of unequal length and with duplicates; 1,030 dimensions are two blocks."""
    rng = np.random.default_rng(4)
    low = rng.normal(size=(12, 1030)) * np.linspace(3, 0.1, 1030)
    references = (5 + rng.normal(size=(900, 12)) @ low + 0.1 * rng.normal(size=(900, 1030))).astype(
        np.float32
    )
    references[500:530] = references[17]
    queries = references[10:60] + 0.05 * rng.normal(size=(50, 1030)).astype(np.float32)
    found = retrieval.search(queries, references, 7, metric=metric, scan=scan)
    if metric == "cosine":
        scale = [1 / np.linalg.norm(x, axis=1, keepdims=True) for x in (queries, references)]
        queries, references = queries * scale[0], references * scale[1]
    exact, order = brute(queries, references, 7)
    exact = exact**2 / 2 if metric == "cosine" else exact
    assert found.scan.startswith(scan) and found.evaluated < 300
    assert (found.indices == order).all() and np.allclose(found.distances, exact, rtol=1e-4)


def test_more_duplicates_than_candidates_are_searched_again():
    rng = np.random.default_rng(5)
    references = np.repeat(unit(rng, 3, 40), 300, axis=0)
    found = retrieval.search(references[:2] + np.float32(0.01), references, 30)
    assert found.completed == 2
    assert (found.indices == np.arange(30)).all()


def test_equal_queries_with_many_duplicates_are_all_answered():
    rng = np.random.default_rng(8)
    references = np.repeat(unit(rng, 3, 40), 300, axis=0)
    queries = np.repeat(references[[0, 300, 600]], [4, 1, 3], axis=0)[[0, 4, 1, 5, 2, 6, 3, 7]]
    found = retrieval.search(queries, references, 9)
    assert found.completed == 8 and (found.indices == brute(queries, references, 9)[1]).all()


def test_ties_and_duplicates_go_to_the_lower_index():
    rng = np.random.default_rng(1)
    base = unit(rng, 10, 8)
    references = np.concatenate([base] * 30)  # every row 30 times: more ties than spare candidates
    queries = base + 1e-3 * rng.normal(size=base.shape).astype(np.float32)
    distances, indices = retrieval.nearest(queries, references, 40, memory_bytes=200_000)
    exact, order = brute(queries, references, 40)
    assert (indices == order).all() and np.allclose(distances, exact, rtol=1e-6)


def test_neighbours_closer_than_float32_sums_can_tell():
    """Far from the origin `|q|^2 + |r|^2 - 2 q.r` cancels; the ranking must still be exact."""
    rng = np.random.default_rng(2)
    centre = 100 * unit(rng, 1, 64)
    references = (centre + 1e-3 * rng.normal(size=(400, 64))).astype(np.float32)
    queries = (centre + 1e-3 * rng.normal(size=(20, 64))).astype(np.float32)
    assert (retrieval.nearest(queries, references, 3)[1] == brute(queries, references, 3)[1]).all()


@pytest.mark.parametrize("kind", [np.float16, ml_dtypes.bfloat16])
def test_halves_are_ranked_by_what_is_stored(kind):
    rng = np.random.default_rng(6)
    queries, references = unit(rng, 9, 24).astype(kind), unit(rng, 300, 24).astype(kind)
    found = retrieval.nearest(queries, references, 4)[1]
    assert (found == brute(queries.astype(np.float64), references.astype(np.float64), 4)[1]).all()


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


def test_a_budget_too_small_is_refused_with_the_least():
    x = np.zeros((100, 70_000), np.float32)
    with pytest.raises(ValueError, match=r"in 1,000 bytes is not possible.* need at least [\d,]+"):
        retrieval.nearest(x, x, memory_bytes=1000)


def test_a_zero_descriptor_has_no_cosine():
    x = np.eye(5, dtype=np.float32)
    x[3] = 0
    with pytest.raises(ValueError, match="descriptor 3 is zero"):
        retrieval.nearest(x, x, metric="cosine")


def test_nan_and_other_width_are_refused():
    x = np.eye(5, dtype=np.float32)
    with pytest.raises(ValueError, match="must be"):
        retrieval.nearest(x, x[:, :3])
    bad = x.copy()
    bad[2, 2] = np.nan
    for queries, references in ((bad, x), (x, bad)):
        with pytest.raises(ValueError, match="NaN"):
            retrieval.nearest(queries, references)
