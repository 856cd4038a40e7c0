"""Means, intervals and pairs against figures worked out by hand."""

import json

import pytest
from analysis import conclusions, scores
from analysis.scores import Key

from tests.helpers import made_up_runs
from vprjax.errors import DataError
from vprjax.report.published import Cell

ARC, TRI = ("vgg16", "gem", "arcface"), ("vgg16", "gem", "triplet")
VLAD = ("vgg16", "netvlad", "arcface")
WIDE = Key(Cell("arcface", "gem", "vgg16"), "test01", 25.0)


def test_mean_and_students_interval():
    # t(0.975, 2) = 4.302653, s = 10, n = 3: half-width 4.302653 * 10 / sqrt(3) = 24.8414
    found = scores.mean([30.0, 40.0, 50.0])
    assert found.mean == 40 and found.n == 3
    assert found.interval == pytest.approx((40 - 24.8414, 40 + 24.8414), abs=1e-3)
    assert scores.mean([7.0]) == (7.0, None, 1)


def test_reading_keeps_seeds_apart_and_counts_the_untrained_model_once(tmp_path):
    runs = {(ARC, 0): 40.0, (ARC, 1): 60.0, (TRI, 0): 30.0, (TRI, 1): 54.0}
    found = scores.read(made_up_runs.write(tmp_path, runs))
    assert found.values[WIDE][1].fcm == 60.0
    assert found.mean(WIDE).mean == 50.0
    untrained = WIDE._replace(cell=Cell(scores.OFF_THE_SHELF, "gem", "vgg16"))
    assert set(found.values[untrained]) == {0, 1}
    assert [cell.loss for cell in found.cells] == ["off_the_shelf", "triplet", "arcface"]
    assert found.tests == ["test01", "test02"] and found.tolerances == (25.0, 10.0, 5.0, 2.0)


def test_a_projection_makes_another_untrained_model(tmp_path):
    paths = made_up_runs.write(tmp_path, {(ARC, 0): 40.0}, off_the_shelf=16.0, projection=512)
    paths += made_up_runs.write(tmp_path, {(TRI, 0): 30.0})
    for order in (paths, paths[::-1]):
        found = scores.read(order)
        cells = {cell.loss: found.values[WIDE._replace(cell=cell)][0].fcm for cell in found.cells}
        assert list(cells.items()) == [
            ("off_the_shelf", 10.0),
            ("off_the_shelf_projected", 16.0),
            ("triplet", 30.0),
            ("arcface", 40.0),
        ]


def test_no_untrained_model_is_compared(tmp_path):
    paths = made_up_runs.write(tmp_path, {(ARC, 0): 40.0, (VLAD, 0): 30.0}, projection=512)
    paths += made_up_runs.write(tmp_path, {(TRI, 0): 30.0})
    pairs = conclusions.trained_pairs(scores.read(paths), "pooling", "gem", "netvlad")
    assert {pair.key.cell.loss for pair in pairs} == {"arcface"}


def test_one_seed_takes_the_interval_over_its_queries(tmp_path):
    found = scores.read(made_up_runs.write(tmp_path, {(ARC, 0): 40.0}))
    assert found.mean(WIDE) == (40.0, (39.0, 41.0), 1)


def test_pairs_are_of_the_same_seed_and_everything_else(tmp_path):
    runs = {(ARC, 0): 40.0, (ARC, 1): 60.0, (TRI, 0): 30.0, (TRI, 2): 99.0}
    found = scores.read(made_up_runs.write(tmp_path, runs))
    pairs = scores.pairs(found, "loss", "arcface", "triplet")
    assert {pair.key.test for pair in pairs} == {"test01", "test02"} and len(pairs) == 8
    assert [pair.by_seed for pair in pairs if pair.key == WIDE] == [{0: 10.0}]


def test_units_are_models_where_there_are_several_else_seeds_never_query_splits():
    def pair(*differences):
        return scores.Pair(WIDE, dict(enumerate(differences)))

    assert scores.paired_mean([]) is None
    assert scores.paired_mean([pair(1.0, 3.0)]) == scores.mean([1.0, 3.0])
    other = WIDE._replace(cell=WIDE.cell._replace(backbone="resnet50"))
    two = [pair(1.0, 3.0), scores.Pair(other, {0: 4.0, 1: 4.0})]
    assert scores.paired_mean(two) == scores.mean([2.0, 4.0])
    # The same weights on a second query split are no unit of their own.
    night = scores.Pair(WIDE._replace(test="test02"), {0: 7.0, 1: 9.0})
    assert scores.paired_mean([two[0], night]) == scores.mean([4.0, 6.0])
    assert scores.paired_mean([*two, night]) == scores.mean([5.0, 4.0])


def test_two_protocols_make_no_table(tmp_path):
    paths = made_up_runs.write(tmp_path / "a", {(ARC, 0): 40.0}, protocol="msls_25m")
    assert scores.read(paths).protocol == "msls_25m"
    paths += made_up_runs.write(tmp_path / "b", {(TRI, 0): 40.0}, protocol="msls_10m")
    with pytest.raises(
        DataError, match=r"by the protocol msls_10m, .* by msls_25m: one table holds one"
    ):
        scores.read(paths)


def test_two_datasets_make_no_table(tmp_path):
    paths = made_up_runs.write(tmp_path / "a", {(ARC, 0): 40.0})
    paths += made_up_runs.write(tmp_path / "b", {(TRI, 0): 40.0}, dataset="cold/paper:1.0.0")
    with pytest.raises(DataError, match="one table holds one dataset"):
        scores.read(paths)


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "results.json").write_text('{"schema": 1')
    with pytest.raises(DataError, match=r"results\.json is not a run's results"):
        scores.read([tmp_path / "results.json"])
    with pytest.raises(DataError, match="no results"):
        scores.read([])


def test_seeds_that_change_nothing_take_the_interval_over_queries(tmp_path):
    runs = {(ARC, seed): 40.0 + seed for seed in (0, 1, 2)}
    found = scores.read(made_up_runs.write(tmp_path, runs))
    untrained = WIDE._replace(cell=WIDE.cell._replace(loss="off_the_shelf"))
    assert found.mean(untrained) == (10.0, (9.0, 11.0), 3)
    assert found.mean(WIDE) == scores.mean([40.0, 41.0, 42.0])


def test_two_grids_make_no_table(tmp_path):
    paths = made_up_runs.write(tmp_path / "a", {(ARC, 0): 40.0})
    with pytest.raises(DataError, match=r"b/.* and .*a/.* are runs of the same model and seed"):
        scores.read(paths + made_up_runs.write(tmp_path / "b", {(ARC, 0): 50.0}))
    other = made_up_runs.write(tmp_path / "b", {(ARC, 1): 50.0}, projection=512)
    with pytest.raises(DataError, match=r"has model\.projection=512, .*a/.* of the same model 0"):
        scores.read(paths + other)


def test_a_run_may_know_a_key_that_an_earlier_version_lacked(tmp_path):
    paths = made_up_runs.write(tmp_path, {(ARC, 0): 40.0})
    document = made_up_runs.document(ARC, 1, 50.0)
    document["provenance"]["config"]["model"]["remat"] = False
    (tmp_path / "later.json").write_text(json.dumps(document))
    assert len(scores.read([*paths, tmp_path / "later.json"]).values[WIDE]) == 2


def test_runs_share_the_margin_of_their_own_loss_alone(tmp_path):
    paths = []
    for seed, own, others in ((0, 0.1, 0.2), (1, 0.1, 0.7), (2, 0.3, 0.7)):
        document = made_up_runs.document(TRI, seed, 50.0)
        document["provenance"]["config"]["loss"] |= {
            "triplet": {"margin": own},
            "contrastive": {"margin": others},
        }
        paths.append(tmp_path / f"{seed}.json")
        paths[-1].write_text(json.dumps(document))
    assert len(scores.read(paths[:2]).values) == 16
    with pytest.raises(
        DataError, match=r"has loss\.triplet\.margin=0\.3, .* of the same model 0\.1"
    ):
        scores.read(paths)


@pytest.mark.parametrize(
    ("part", "key", "message"),
    [
        (("weights_sha256",), "facts.weights_sha256", "of the same model"),
        (("trained_on",), "facts.trained_on", "of the same model"),
        (("config", "eval", "pca"), "eval.pca", "of the same model"),
        (("config", "eval", "rerank"), "eval.rerank", "of the same model"),
        (("config", "keep", "weight"), "keep.weight", "of the same model"),
        (("config", "others", "names"), "others.names", "of the same model"),
        (("config", "validation", "every"), "validation.every", "of the same model"),
        (("config", "dataset", "train_splits"), "dataset.train_splits", "of the same model"),
        (("config", "eval", "batch"), None, None),
        (("dataset", "counts", "test01"), "is of 2 test01 images", "of 1"),
    ],
)
def test_runs_share_weights_images_and_evaluation(tmp_path, part, key, message):
    paths = []
    for value in (1, 2):
        document = made_up_runs.document(ARC, value, 50.0)
        *outer, last = part
        place = document["provenance"]
        for name in outer:
            place = place.setdefault(name, {})
        place[last] = value
        paths.append(tmp_path / f"{value}.json")
        paths[-1].write_text(json.dumps(document))
    if key is None:
        assert len(scores.read(paths).values[WIDE]) == 2
        return
    with pytest.raises(DataError, match=rf"{key}.*{message}"):
        scores.read(paths)


def test_a_run_may_have_a_query_split_more(tmp_path):
    paths = made_up_runs.write(tmp_path / "a", {(ARC, 0): 40.0})
    document = made_up_runs.document(ARC, 1, 50.0)
    document["results"]["fine_tuned"]["sunny"] = document["results"]["fine_tuned"]["test01"]
    document["provenance"]["dataset"] = {"counts": {"sunny": 3}}
    document["provenance"]["config"]["dataset"]["query_splits"].append("sunny")
    (tmp_path / "more.json").write_text(json.dumps(document))
    assert scores.read([*paths, tmp_path / "more.json"]).tests == ["test01", "test02", "sunny"]
