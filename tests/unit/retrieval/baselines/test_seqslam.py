"""SeqSLAM's matrix, contrast and search against loops in float64."""

import numpy as np
import pytest

from tests.helpers.baselines import settings
from vprjax.evaluation import baseline, sequence
from vprjax.retrieval.baselines import BASELINES, Facts, seqslam


def looped_contrast(d, r):
    out = np.empty_like(d)
    for i in range(d.shape[0]):
        for j in range(d.shape[1]):
            near = d[i, max(0, j - r // 2) : j + r // 2 + 1]
            out[i, j] = (d[i, j] - near.mean()) / near.std() if near.std() > 1e-12 else 0
    return out + np.sqrt(r)


def test_differences_and_contrast_are_loops(monkeypatch):
    monkeypatch.setattr(seqslam, "COLUMNS", 7)
    rng = np.random.default_rng(0)
    queries, references = rng.normal(size=(5, 12)), rng.normal(size=(30, 12))
    found = seqslam.differences(queries, references)
    wanted = np.array([[np.mean(np.abs(q - r)) for r in references] for q in queries])
    assert np.abs(found - wanted).max() < 1e-12
    for neighbours in (2, 5, 10, 60):
        assert (
            np.abs(seqslam.contrast(found, neighbours) - looped_contrast(found, neighbours)).max()
            < 1e-9
        )


def test_contrast_has_no_negative_cost():
    spikes = np.ones((1, 40))
    spikes[0, 20] = -1e6  # the least that a window can hold
    found = seqslam.contrast(spikes, 10)
    assert found.min() == pytest.approx(0, abs=1e-6)
    assert (seqslam.contrast(np.ones((2, 9)), 4) == 2).all()  # flat


def test_uniqueness_is_the_best_over_the_best_elsewhere():
    costs = np.array([[5.0, 1.0, 1.2, 1.6, 9.0, 2.0], [1.0, 9, 9, 9, 9, 1.0]])
    assert seqslam.uniqueness(costs, 4) == pytest.approx([0.5, 1.0])
    assert seqslam.uniqueness(costs, 2) == pytest.approx([0.625, 1.0])
    assert seqslam.uniqueness(costs, 40) == pytest.approx([1.0, 1.0])


def test_the_whole_search_is_a_loop_in_float64():
    own = settings("seqslam", length=4, window=4, contrast=4, speeds=(0.8, 1.0, 1.2))
    rng = np.random.default_rng(1)
    references = rng.normal(size=(40, 16)).astype(np.float32)
    queries = (references[5:25] + rng.normal(size=(20, 16))).astype(np.float32)
    found = baseline.searcher(BASELINES["seqslam"], {}, own)(queries, references, 3)
    d = np.array([[np.abs(q.astype(float) - r).mean() for r in references] for q in queries])
    d = looped_contrast(d, 4)
    for i in range(20):
        rows = [b for b in range(4) if i >= b]
        lines = [
            [
                np.mean(
                    [
                        d[i - b, j - round(b * v)] if j >= round(b * v) else d[i - b].mean()
                        for b in rows
                    ]
                )
                for j in range(40)
            ]
            for v in (0.8, 1.0, 1.2)
        ]
        cost = np.min(lines, axis=0)
        best = int(np.argmin(cost))
        rival = min(c for j, c in enumerate(cost) if abs(j - best) > 2)
        assert found.indices[i].tolist() == np.argsort(cost, kind="stable")[:3].tolist()
        assert found.distances[i, 0] == pytest.approx(cost[best] / rival, abs=1e-9)
        assert found.distances[i, 1] == pytest.approx(np.sort(cost)[1], abs=1e-9)


def test_a_sequence_finds_what_a_frame_does_not():
    rng = np.random.default_rng(2)
    references = rng.normal(size=(120, 32)).astype(np.float32)
    queries = (references[20:100] + 3 * rng.normal(size=(80, 32))).astype(np.float32)
    right = []
    for length in (1, 10):
        own = settings("seqslam", length=length)
        found = baseline.searcher(BASELINES["seqslam"], {}, own)(queries, references, 1)
        right.append((np.abs(found.indices[:, 0] - np.arange(20, 100)) <= 1).mean())
    assert right[1] > right[0] + 0.15 and right[1] > 0.9


def test_blocks_of_queries_change_nothing(monkeypatch):
    own = settings("seqslam", length=5)
    rng = np.random.default_rng(3)
    queries, references = rng.normal(size=(30, 8)), rng.normal(size=(25, 8))
    found = []
    for rows in (256, 7):
        monkeypatch.setattr(sequence, "ROWS", rows)
        found.append(baseline.searcher(BASELINES["seqslam"], {}, own)(queries, references, 2))
    assert (found[0].indices == found[1].indices).all()
    assert np.allclose(found[0].distances, found[1].distances, atol=1e-12)


@pytest.mark.parametrize("references", [1, 2])
def test_a_map_without_neighbours_is_refused_with_no_advice_that_cannot_help(references):
    own = settings("seqslam", length=1, window=1, contrast=2)
    (found,) = BASELINES["seqslam"].objections(own, Facts(references, 9, height=48, width=64))
    assert f"references, 3 or more, and there are {references}: name another" in found
    assert not BASELINES["seqslam"].objections(own, Facts(3, 9, height=48, width=64))


def test_drives_of_unlike_length_are_doubted():
    def doubts(references, queries, **changes):
        facts = Facts(references, queries, height=48, width=64)
        return BASELINES["seqslam"].doubts(settings("seqslam", **changes), facts)

    assert doubts(1371, 1021) == [
        "there are 1.34 references per query, and baseline.seqslam.speeds go from 0.8 to 1.2: where both "
        "drives cover one route, no line follows it; add that ratio"
    ]
    assert doubts(100, 200) and not doubts(100, 100) and not doubts(1371, 1021, length=1)
    assert not doubts(1371, 1021, speeds=(1.0, 1.4))
