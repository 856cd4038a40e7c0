"""Every scan finds what a float64 comparison of all pairs finds, whatever the rows look like."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vprjax import retrieval
from vprjax.retrieval import choose, codes, plan, select
from vprjax.retrieval import scan as scan_room
from vprjax.retrieval.rows import Rows

pytestmark = pytest.mark.usefixtures("devices")


SHAPES = [(7, 60, 1), (5, 300, 33), (9, 130, 515)]  # queries, references, dimensions


def brute(queries, references, k):
    gaps = queries[:, None].astype(np.float64) - references[None]
    return np.argsort(np.einsum("qrd,qrd->qr", gaps, gaps), axis=1, kind="stable")[:, :k]


def made_up(seed, shape, size, kind):
    """Rows of one size: apart, far from the origin, of two sizes, duplicates, in one point, or zeros."""
    q, r, d = shape
    rng = np.random.default_rng(seed)
    references = rng.normal(size=(r, d))
    if kind == "far":
        references = 30 + 0.01 * references
    elif kind == "unequal":
        references[::7] *= 300
    elif kind == "duplicates":
        references = references[rng.integers(0, 5, r)]
    elif kind == "constant":
        references[:] = references[0]
    elif kind == "zeros":
        references[rng.integers(0, r, r // 2)] = 0
    queries = references[rng.integers(0, r, q)] + 0.1 * rng.normal(size=(q, d))
    queries[0] = references[-1]
    return (size * queries).astype(np.float32), (size * references).astype(np.float32)


@pytest.mark.parametrize("scan", ["float32", "bfloat16", "int8"])
@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    shape=st.sampled_from(SHAPES),
    size=st.sampled_from([1e-41, 1e-22, 1e-18, 1e-3, 1.0, 1e12]),
    kind=st.sampled_from(["apart", "far", "unequal", "duplicates", "constant", "zeros"]),
    k=st.sampled_from([1, 20, 60]),
)
def test_neighbours_are_those_of_float64(scan, seed, shape, size, kind, k):
    queries, references = made_up(seed, shape, size, kind)
    found = retrieval.search(queries, references, k, scan=scan)
    assert (found.indices == brute(queries, references, k)).all()


@pytest.mark.parametrize("scan", ["bfloat16", "int8"])
@pytest.mark.parametrize("reach", [0.0, 1e-3, 1.0, 40.0])
def test_any_reach_is_right(scan, reach, monkeypatch):
    """A few rows 50 times as long as the others have errors as much larger."""
    rng = np.random.default_rng(3)
    queries, references = made_up(3, (40, 700, 65), 1.0, "unequal")
    references[rng.integers(0, 700, 9)] *= 50
    whole = choose.Scanner
    monkeypatch.setattr(choose, "Scanner", lambda one, _=0.0, two=None: whole(one, reach, two))
    found = retrieval.search(queries, references, 3, scan=scan)
    assert (found.indices == brute(queries, references, 3)).all()


def nearly_tied(q, r, d, spread=2e-3):
    """References whose distances from a query differ by less than the errors of codes."""
    rng = np.random.default_rng(5)
    centre = rng.normal(size=d)
    away = rng.normal(size=(r, d))
    away *= (1 + spread * rng.random(r))[:, None] / np.linalg.norm(away, axis=1, keepdims=True)
    queries = centre + 1e-3 * rng.normal(size=(q, d)) / np.sqrt(d)
    return queries.astype(np.float32), (centre + away).astype(np.float32)


def without_error(encoded):
    return encoded._replace(error=np.zeros_like(encoded.error))


def not_in_step(encoded):
    """The shortest tenth of the rows with squared norms of rows farther away."""
    squared = encoded.squared.copy()
    squared[np.argsort(squared)[: len(squared) // 10]] *= 2
    return encoded._replace(squared=squared)


@pytest.mark.parametrize(
    ("mutation", "count", "spread"), [(without_error, 60, 2e-4), (not_in_step, 400, 0.3)]
)
def test_a_wrong_bound_is_found_out(mutation, count, spread, devices, monkeypatch):
    """With a wrong bound the search goes wrong, and with the right one it does not, on the same rows."""
    if (mutation, devices) == (without_error, "one device"):
        pytest.skip("the host's limit, as wrong, leaves no query sure, and a second search follows")
    queries, references = nearly_tied(60, count, 96, spread)
    expected = brute(queries, references, 1)
    assert (retrieval.search(queries, references, 1, scan="int8").indices == expected).all()
    right = codes.int8
    monkeypatch.setattr(codes, "int8", lambda x, mean, side: mutation(right(x, mean, side)))
    assert (retrieval.search(queries, references, 1, scan="int8").indices != expected).any()


@pytest.mark.parametrize("scan", ["float32", "bfloat16", "int8"])
def test_nearly_tied_neighbours(scan):
    queries, references = nearly_tied(60, 1500, 96)
    found = retrieval.search(queries, references, 5, scan=scan)
    assert (found.indices == brute(queries, references, 5)).all()


@pytest.mark.parametrize("scan", ["float32", "bfloat16", "int8", "pruned"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_refused(scan, bad):
    x = np.random.default_rng(0).normal(size=(40, 12)).astype(np.float32)
    broken = x.copy()
    broken[33, 2] = bad
    for queries, references in ((broken, x), (x, broken)):
        with pytest.raises(ValueError, match="NaN or infinity"):
            retrieval.search(queries, references, 3, scan=scan)


def test_candidates_shared_by_a_chunk_are_narrowed_to_the_same_answer():
    """Queries of one place: products of the chunk take the place of most exact distances."""
    queries, references = nearly_tied(200, 400, 700)
    found = retrieval.search(queries, references, 5, scan="int8")
    assert (found.indices == brute(queries, references, 5)).all()
    assert found.evaluated < 60


def test_what_a_scan_leaves_out_too_early_is_found_by_a_second_search(devices, monkeypatch):
    """The limit past which references are left out may be wrong: bounds know what it left out."""
    if devices != "one device":
        pytest.skip("several devices keep as many as fit")
    queries, references = nearly_tied(60, 1500, 96)
    expected = brute(queries, references, 1)
    whole = retrieval.search(queries, references, 1, scan="int8")
    assert (whole.indices == expected).all()
    monkeypatch.setattr(select, "farthest", lambda keys, *rest: keys)
    cut = retrieval.search(queries, references, 1, scan="int8")
    assert (cut.indices == expected).all() and cut.completed == 60
    right = scan_room.bounded
    monkeypatch.setattr(
        scan_room,
        "bounded",
        lambda kept, last, *rest: right(kept, np.full_like(last, np.inf), *rest),
    )
    blind = retrieval.search(queries, references, 1, scan="int8")
    assert (blind.indices != expected).any() and blind.completed == 0


def test_a_scan_leaves_out_what_cannot_be_near(devices):
    """Rows far apart: of 46 candidates per query hardly two may be nearest."""
    if devices != "one device":
        pytest.skip("several devices keep as many as fit")
    rng = np.random.default_rng(3)
    references = rng.normal(size=(3000, 96)).astype(np.float32)
    queries = references[:300] + np.float32(0.05) * rng.normal(size=(300, 96)).astype(np.float32)
    own, others = Rows(queries), Rows(references)
    way = choose.way("int8", own, others, 1)
    size = plan.make(300, 3000, 96, 1 + way.spare, 1 << 30)
    found = way.scanner.scan(queries, others, size, 1)
    assert np.isfinite(found.lower).sum(axis=1).mean() < 3
    assert (found.rest > found.upper[:, 0]).mean() > 0.9


@pytest.mark.parametrize("scan", ["float32", "bfloat16", "int8"])
def test_long_rows_at_the_end_do_not_loosen_what_is_known_of_those_before(scan):
    """Rounding grows with the longest row: what a block leaves out is bounded ahead of the next block."""
    rng = np.random.default_rng(5)
    references = rng.normal(size=(2000, 128)).astype(np.float32)
    queries = references[:200] + np.float32(0.05) * rng.normal(size=(200, 128)).astype(np.float32)
    references[-5:] *= 10
    found = retrieval.search(queries, references, 1, 2 << 20, scan=scan)
    assert found.plan.reference_rows <= 1000
    assert (found.indices == brute(queries, references, 1)).all()
    assert found.completed == 0


@pytest.mark.parametrize("d", [700, 4608])
def test_a_distance_is_the_same_to_the_bit_whatever_queries_stand_beside(d):
    """Queries of one place, whose candidates a chunk's products narrow."""
    queries, references = nearly_tied(200, 400, d)
    found = retrieval.search(queries, references, 5, scan="int8")
    for row in range(0, 200, 40):
        alone = retrieval.search(queries[row : row + 1], references, 5, scan="int8")
        assert (alone.distances == found.distances[row]).all()
        assert (alone.indices == found.indices[row]).all()
