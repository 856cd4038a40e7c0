"""FAB-MAP's tree against brute-force mutual information, its probabilities against the written-out sum."""

import itertools
import math

import numpy as np
import pytest

from tests.helpers.baselines import settings
from vprjax.retrieval.baselines import BASELINES, chow_liu, fabmap


def presence(n=60, w=7, seed=0):
    """Words of which some follow others."""
    rng = np.random.default_rng(seed)
    out = (rng.uniform(size=(n, w)) < rng.uniform(0.1, 0.7, w)).astype(np.uint8)
    for word, other in ((3, 1), (4, 3), (2, 0)):
        out[:, word] = np.where(rng.uniform(size=n) < 0.85, out[:, other], out[:, word])
    return out


def information(x, y):
    total = 0.0
    for a, b in itertools.product((0, 1), repeat=2):
        both = np.mean((x == a) & (y == b))
        if both:
            total += both * math.log(both / (np.mean(x == a) * np.mean(y == b)))
    return total


def test_mutual_information_is_the_sum_over_the_four_cases():
    data = presence()
    data[:, 2] = 0  # a word never seen tells nothing
    for word in range(7):
        found = chow_liu.mutual_information(data, word)
        wanted = [information(data[:, word], data[:, other]) for other in range(7)]
        assert np.abs(found - wanted).max() < 1e-12


@pytest.mark.parametrize("seed", range(4))
def test_no_other_tree_has_more_information(seed):
    data = presence(w=5, seed=seed)
    weights = np.array([chow_liu.mutual_information(data, word) for word in range(5)])
    parents = chow_liu.tree(data)
    own = sum(weights[word, parents[word]] for word in range(1, 5))
    edges = list(itertools.combinations(range(5), 2))
    best = max(
        sum(weights[e] for e in chosen)
        for chosen in itertools.combinations(edges, 4)
        if connected(chosen, 5)
    )
    assert own == pytest.approx(best, abs=1e-12)
    assert connected([(word, parents[word]) for word in range(1, 5)], 5) and parents[0] == 0


def connected(edges, count):
    reached, more = {0}, True
    while more:
        more = {x for edge in edges if reached & set(edge) for x in edge} - reached
        reached |= more
    return len(reached) == count


def test_chances_are_smoothed_counts():
    data, parents = presence(), np.array([0, 0, 0, 1, 0, 3, 0])
    alone, given = chow_liu.chances(data, parents)
    for word in range(7):
        p = (data[:, word].sum() + 0.5) / 61
        assert alone[word] == pytest.approx(p)
        for value in (0, 1):
            own = data[data[:, parents[word]] == value, word]
            assert given[word, value] == pytest.approx((own.sum() + p) / (len(own) + 1))


def brute(query, place, state, s):
    """p(Z | L) word by word, as the paper writes it."""
    z_e = {(1, 1): s.detection, (0, 1): 1 - s.detection}
    z_e |= {(1, 0): s.false_detection, (0, 0): 1 - s.false_detection}
    out = 1.0
    for q, parent in enumerate(state["parents"]):
        z, seen = int(query[q]), int(place[q])
        p1 = state["alone"][q]
        chance = {1: p1, 0: 1 - p1}
        exists = {e: z_e[seen, e] * chance[e] for e in (0, 1)}
        total = sum(exists.values())
        one = state["given"][q, int(query[parent])]
        given = {1: one, 0: 1 - one}
        word = 0.0
        for e in (0, 1):
            if q == parent:
                observed = z_e[z, e]
            else:
                alpha = chance[z] * z_e[1 - z, e] * given[1 - z]
                beta = chance[1 - z] * z_e[z, e] * given[z]
                observed = beta / (alpha + beta)
            word += observed * exists[e] / total
        out *= word
    return out


@pytest.mark.parametrize("false_detection", [0.0, 0.05])
def test_probabilities_are_the_written_out_sum(false_detection):
    data = presence(seed=5)
    parents = chow_liu.tree(data)
    alone, given = chow_liu.chances(data, parents)
    state = {"parents": parents, "alone": alone, "given": given, "unknown": data[:9]}
    own = settings("fabmap", false_detection=false_detection, new_place=0.3)
    places, queries = data[20:32].astype(np.float32), presence(n=6, seed=6).astype(np.float32)
    queries[0] = 0  # an image without a keypoint
    costs = BASELINES["fabmap"].matching.costs(places, state, own)(queries)
    for query, row in zip(queries, costs, strict=True):
        likely = [0.7 / 12 * brute(query, place, state, own) for place in places]
        new = 0.3 * np.mean([brute(query, place, state, own) for place in data[:9]])
        wanted = np.array(likely) / (sum(likely) + new)
        assert np.abs(np.exp(-row) - wanted).max() < 1e-9
        assert np.exp(-row).sum() < 1  # the rest is the new place's


def test_the_inverted_index_reads_the_query_s_words_alone():
    data = presence(n=300, w=40, seed=7)
    parents = chow_liu.tree(data)
    alone, given = chow_liu.chances(data, parents)
    state = {"parents": parents, "alone": alone, "given": given}
    logs = fabmap.evidence(state, settings("fabmap"))
    places, query = data[:50], data[60]
    dense = [
        sum(logs[q, query[q], query[parents[q]], place[q]] for q in range(40)) for place in places
    ]
    assert np.abs(fabmap.Index(places, logs, parents)(query) - dense).max() < 1e-10


def test_a_place_seen_again_is_likelier_than_others_and_an_unseen_one_is_new():
    data = presence(n=400, w=60, seed=8)
    data[:60] = np.eye(60, dtype=np.uint8) | data[:60]
    parents = chow_liu.tree(data)
    alone, given = chow_liu.chances(data, parents)
    state = {"parents": parents, "alone": alone, "given": given, "unknown": data[200:]}
    costs = BASELINES["fabmap"].matching.costs(data[:30], state, settings("fabmap"))
    again = costs(data[:30].astype(np.float32))
    assert (again.argmin(axis=1) == np.arange(30)).mean() > 0.9
    elsewhere = costs(data[100:130].astype(np.float32))
    assert again.min(axis=1).mean() < elsewhere.min(axis=1).mean()
