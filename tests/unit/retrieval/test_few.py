"""Queries one at a time find what the search of many finds: the same neighbours at the same distances."""

import numpy as np
import pytest

from vprjax import retrieval
from vprjax.retrieval import few as few_module
from vprjax.retrieval.few import Few
from vprjax.retrieval.rows import Parts, Rows


@pytest.fixture(params=["rows", "codes"], autouse=True)
def coded(request, monkeypatch):
    """Every test runs over the rows and over their int8 codes."""
    monkeypatch.setattr(few_module, "CODED", 0 if request.param == "codes" else 1 << 60)


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def made_up(n=300, d=40, seed=0):
    return unit(np.random.default_rng(seed).normal(size=(n, d)))


def mapped(path, rows):
    rows.tofile(path)
    return np.memmap(path, np.float32, "r", shape=rows.shape)


@pytest.mark.parametrize("count", [1, 7])
@pytest.mark.parametrize("k", [1, 5, 300])
def test_as_the_search_of_many(count, k, tmp_path):
    references = made_up()
    parts = [mapped(tmp_path / "a", references[:170]), mapped(tmp_path / "b", references[170:])]
    queries = made_up(count, seed=1)
    distances, indices = Few(parts)(queries, k)
    found = retrieval.search(queries, references, k)
    assert (indices == found.indices).all() and (distances == found.distances).all()


def test_many_equal_rows_are_ranked_by_their_number():
    references = np.tile(made_up(20), (30, 1))
    queries = unit(references[[3, 11]] + np.float32(0.01))
    few, found = Few([references]), retrieval.search(queries, references, 25)
    for number in range(2):
        distances, indices = few(queries[number : number + 1], 25)
        assert (indices == found.indices[number]).all()
        assert (distances == found.distances[number]).all()
    assert indices[0].tolist() == list(range(11, 511, 20))


def test_rows_that_do_not_count():
    references, queries = made_up(), made_up(3, seed=1)
    left_out = np.zeros((3, 300), bool)
    left_out[1] = True
    left_out[1, [7, 250]] = False
    left_out[2, ::2] = True
    distances, indices = Few([references])(queries, 4, left_out)
    whole = retrieval.search(queries, references, 4)
    assert (indices[0] == whole.indices[0]).all() and (distances[0] == whole.distances[0]).all()
    assert set(indices[1, :2]) == {7, 250} and np.isinf(distances[1, 2:]).all()
    odd = retrieval.search(queries, np.ascontiguousarray(references[1::2]), 4)
    assert (indices[2] == 2 * odd.indices[2] + 1).all()
    assert (distances[2] == odd.distances[2]).all()


def test_the_nearest_that_is_not_beside_the_first():
    references, queries = made_up(), made_up(7, seed=1)
    evens = np.arange(300) % 2 == 0
    left_out = np.zeros((7, 300), bool)
    left_out[4, 50:] = True

    def beside(number):  # those as even or odd as it; of the first 100, all
        return np.full(300, True) if number < 100 else evens == (number % 2 == 0)

    few = Few([references[:120], references[120:]])
    distances, indices, others = few.with_next(queries, 3, beside, left_out)
    full = np.linalg.norm(queries[:, None].astype(np.float64) - references, axis=2)
    full[left_out] = np.inf
    assert (indices == np.argsort(full, axis=1)[:, :3]).all()
    far = [
        np.where(beside(own[0]), np.inf, row).min() for own, row in zip(indices, full, strict=True)
    ]
    np.testing.assert_allclose(others, far, rtol=1e-6)
    assert np.isinf(others[4]) and np.isfinite(others).any()
    assert (distances == few(queries, 3, left_out)[0]).all()


def test_equal_rows_that_do_not_count_stay_out():
    references = np.tile(made_up(1), (60, 1))
    left_out = np.zeros((1, 60), bool)
    left_out[0, 5:] = True
    distances, indices = Few([references])(references[:1], 8, left_out)
    assert indices[0, :5].tolist() == [0, 1, 2, 3, 4]
    assert (distances[0, :5] == 0).all() and np.isinf(distances[0, 5:]).all()


def test_what_cannot_be_searched():
    few = Few([made_up(4)])
    with pytest.raises(ValueError, match="k=5 must be between 1 and the 4"):
        few(made_up(1), 5)
    with pytest.raises(ValueError, match="NaN or infinity"):
        few(np.full((1, 40), np.nan, np.float32), 1)
    with pytest.raises(ValueError, match="NaN or infinity"):
        Few([np.full((9, 40), np.nan, np.float32)])(made_up(1), 1)


def test_parts_read_as_one_array():
    rows = made_up(10, 4)
    parts = Parts([rows[:3], rows[3:4], rows[4:]])
    assert parts.shape == (10, 4) and len(parts) == 10 and parts.dtype == np.float32
    for key in (slice(0, 3), slice(2, 9), slice(None), slice(9, 30), slice(1, 9, 2), slice(4, 4)):
        assert (parts[key] == rows[key]).all() and parts[key].shape == rows[key].shape
    numbers = np.array([9, 0, 3, 3, 5])
    assert (parts[numbers] == rows[numbers]).all()
    assert (parts[numbers, 1:3] == rows[numbers, 1:3]).all()
    assert (Rows(parts)(slice(2, 5)) == rows[2:5]).all()
