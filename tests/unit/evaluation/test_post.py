"""Post-processing of descriptors against loops in float64."""

import numpy as np
import pytest
from ml_collections import ConfigDict

from vprjax import retrieval
from vprjax.evaluation import post


def unit(x):
    return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-12)


def rows(n, d=6, seed=0, shift=0.0):
    return unit(np.random.default_rng(seed).normal(size=(n, d)) + shift).astype(np.float32)


def section(**changes):
    base = {
        "standardise": "",
        "query_expansion": 0,
        "database_augmentation": 0,
        "expansion_power": 3.0,
    }
    return ConfigDict(base | changes)


def search(queries, references, k):
    return retrieval.search(queries, references, k)


def test_defaults_change_nothing_and_search_nothing():
    queries, references = rows(5), rows(9, seed=1)
    found = post.processed(section(), queries, references, lambda *_: pytest.fail("searched"))
    assert found[0] is queries and found[1] is references
    assert post.words(section()) == []


def test_each_set_gets_its_own_mean_and_deviation(monkeypatch):
    monkeypatch.setattr(post, "ROWS", 4)
    queries, references = rows(11, shift=3), rows(9, seed=1)
    found = post.processed(section(standardise="sets"), queries, references, search)
    for own, x in zip(found, (queries, references), strict=True):
        x = x.astype(np.float64)
        assert np.abs(own - unit((x - x.mean(axis=0)) / x.std(axis=0))).max() < 1e-5


def test_a_dimension_without_deviation_is_zero():
    x = rows(8)
    x[:, 2] = 0.3
    assert (post.standardised(x)[:, 2] == 0).all()
    assert (post.standardised(x[:1]) == 0).all()


def test_a_shift_between_the_sets_no_longer_hides_the_places():
    references = rows(60, 16)
    queries = unit(references + 1.5 * rows(1, 16, seed=9)[0]).astype(np.float32)
    plain = search(queries, references, 1).indices[:, 0]
    found = post.processed(section(standardise="sets"), queries, references, search)
    there = search(*found, 1).indices[:, 0]
    assert (plain == np.arange(60)).mean() < (there == np.arange(60)).mean() == 1


def test_clusters_are_standardised_apart():
    day, night = rows(20, shift=4), rows(20, seed=1, shift=-4)
    found = post.standardised_by_cluster(np.concatenate([day, night]))
    for own in (found[:20], found[20:]):
        assert np.abs(own.mean(axis=0)).max() < 0.2
    owner = post.clusters(np.concatenate([day, night]))
    assert not set(owner[:20]) & set(owner[20:])
    few = rows(10)
    assert np.allclose(post.standardised_by_cluster(few), post.standardised(few), atol=1e-6)


@pytest.mark.parametrize("power", [0.0, 3.0])
def test_query_expansion_is_the_weighted_mean(monkeypatch, power):
    monkeypatch.setattr(post, "ROWS", 3)
    queries, references = rows(7), rows(12, seed=1)
    own = section(query_expansion=3, expansion_power=power)
    found, kept = post.processed(own, queries, references, search)
    assert kept is references
    for q, new in zip(queries.astype(float), found, strict=True):
        cosine = references @ q
        best = np.argsort(-cosine)[:3]
        weights = np.maximum(cosine[best], 0) ** power if power else np.ones(3)
        assert np.abs(new - unit(q + weights @ references[best])).max() < 1e-5


def test_augmentation_averages_references_with_others_than_themselves():
    references = rows(12, seed=1)
    references[5] = references[4]  # twins: each finds the other, and not itself first
    own = section(database_augmentation=2, expansion_power=0.0)
    kept, found = post.processed(own, rows(4), references, search)
    assert (kept == rows(4)).all()
    for i, new in enumerate(found):
        cosine = references.astype(float) @ references[i]
        cosine[i] = -2
        best = np.argsort(-cosine, kind="stable")[:2]
        assert np.abs(new - unit(references[i] + references[best].sum(axis=0))).max() < 1e-5


def test_expansion_sees_the_augmented_references_and_few_references_suffice():
    queries, references = rows(3), rows(2, seed=1)
    own = section(query_expansion=9, database_augmentation=9, expansion_power=0.0)
    new_queries, new = post.processed(own, queries, references, search)
    both = unit(references.astype(float).sum(axis=0))
    assert np.abs(new - both).max() < 1e-5
    assert np.abs(new_queries - unit(queries + new.sum(axis=0))).max() < 1e-5


def test_few_images_of_a_set_are_doubted():
    own = section(standardise="clusters")
    assert post.doubts(own, 8, 7) == [
        "eval.standardise takes mean and deviation of only 7 references: below 8 they are chance"
    ]
    assert len(post.doubts(own, 2, 7)) == 2
    assert not post.doubts(own, 8, 8) and not post.doubts(section(query_expansion=2), 2, 2)


def test_words_name_what_is_done():
    own = section(standardise="clusters", query_expansion=5, database_augmentation=4)
    assert post.words(own) == [
        "mean and deviation standardised in 3 clusters per set",
        "references averaged with their 4 nearest, weighted by cosine^3",
        "queries averaged with their 5 nearest references, weighted by cosine^3",
    ]
