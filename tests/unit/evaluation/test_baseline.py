"""A baseline's evaluation: the same figures and stores as a model's, its doubts and cost."""

import numpy as np
import pytest

from configs import base
from tests.helpers.baselines import picture, places
from vprjax.errors import ConfigError
from vprjax.evaluation import baseline, evaluate
from vprjax.report import result_files, titles
from vprjax.retrieval.baselines import BASELINES


class Town:
    """A reference drive of pictures, and the same places a little darker and noisier."""

    name, version, metadata = "places_csv/x", "1.0.0", {}

    def __init__(self, blank=()):
        views = np.stack([picture(i, (40, 64)) for i in range(14)])
        rng = np.random.default_rng(0)
        again = np.clip(0.8 * views + rng.normal(0, 4, views.shape), 0, 255).astype(np.uint8)[:9]
        again[list(blank)] = 60
        self.splits = {"reference": places(views), "test01": places(again), "train": places(views)}
        self.counts = {split: len(found) for split, found in self.splits.items()}

    def places(self, names):
        return self.splits[names[0]]


@pytest.fixture
def config():
    c = base.get_config()
    c.dataset.query_splits = ("test01",)
    c.eval.recalls, c.eval.batch = (1, 2), 4
    for name in ("vlad_sift", "dense_vlad"):
        c.baseline[name].words = 8
    c.baseline.fabmap.words = 40
    c.baseline.vlad_sift.dimensions = c.baseline.dense_vlad.dimensions = 5
    c.baseline.dense_vlad.update(bins=(4, 6), step=6)
    c.baseline.hog.size = 64
    c.baseline.seqslam.update(length=3, window=4, contrast=4)
    return c


@pytest.mark.parametrize("name", BASELINES)
def test_every_baseline_finds_the_places_and_tells_its_cost(config, tmp_path, name):
    config.baseline.name, town = name, Town()
    results, cost, notes = baseline.run(config, tmp_path, town)
    figures = results["test01"].figures
    least = {"fabmap": 40, "vlad_sift": 60}.get(name, 88)  # few words tell little
    assert figures.fcm["2"] >= least and figures.oracle_fcm["2"] == 100
    assert figures.queries == 9 and figures.references == 14
    assert len(notes) == (name == "seqslam")  # 14 references to 9 queries
    dimension = {
        "pixels": 2048,
        "seqslam": 2048,
        "hog": 324,
        "fabmap": 40,
        "vlad_sift": 5,
        "dense_vlad": 5,
    }
    assert cost["dimension"] == dimension[name] and cost["ms_per_image"] > 0
    bits = 1 if name == "fabmap" else 32
    assert cost["bytes_per_image"] == -(-dimension[name] * bits // 8)
    text = result_files.markdown(config, town, {"baseline": results}, provenance(cost))
    assert text.startswith(f"# {BASELINES[name].title}: places_csv/x\n")
    assert BASELINES[name].about in text and "weights:" not in text and " bytes per image" in text


def provenance(cost):
    words = ("weights_sha256", "device", "code_version", "written")
    return dict.fromkeys(words, "a word") | {"steps": 0, "cost": cost}


def test_a_second_evaluation_reads_the_descriptors_of_the_first(config, tmp_path, monkeypatch):
    config.baseline.name = "pixels"
    first = baseline.run(config, tmp_path, Town())
    monkeypatch.setattr(baseline, "mapped", lambda *_: pytest.fail("described again"))
    again, cost, _ = baseline.run(config, tmp_path, Town())
    assert again["test01"].figures == first[0]["test01"].figures and cost["ms_per_image"] is None
    assert "ms per image" not in titles.cost_words(cost)
    config.baseline.pixels.patch = 16
    monkeypatch.undo()
    other = baseline.run(config, tmp_path, Town())[0]["test01"]
    assert (other.matches.distances != first[0]["test01"].matches.distances).any()


def test_images_without_a_keypoint_count_and_are_told(config, tmp_path):
    config.baseline.name = "vlad_sift"
    found = baseline.run(config, tmp_path, Town(blank=(2, 5)))[0]["test01"].figures
    assert found.queries == found.with_position == 9
    assert (
        "2 of 9 images of split 'test01' are without a keypoint, so their descriptors are zero and their "
        "answers chance; they count like all others" in found.warnings
    )


def test_settings_are_checked_before_the_fit(config, monkeypatch):
    config.baseline.name, config.baseline.seqslam.length = "seqslam", 10
    with pytest.raises(
        ConfigError, match=r"length=10 must not go over the 9 images of the shortest"
    ):
        baseline.check(config, Town())
    config.baseline.seqslam.length = 3
    baseline.check(config, Town())


@pytest.mark.parametrize("name", ["fabmap", "vlad_sift", "dense_vlad"])
def test_more_words_than_the_sample_holds_are_refused_before_the_fit(config, name):
    config.baseline.name = name
    baseline.check(config, Town())
    config.baseline[name].update(words=50, sample=49)
    words = rf"baseline\.{name}\.words=50 must not go over the 49 local descriptors of baseline"
    with pytest.raises(ConfigError, match=words):
        baseline.check(config, Town())


def test_without_training_splits_the_references_fit_it(config):
    town = Town()
    assert baseline.training_images(config, town) is town.splits["train"]
    assert baseline.learnt_elsewhere(config, town) == []
    for splits in ((), ("trian",)):
        config.dataset.train_splits = splits
        assert baseline.training_images(config, town) is town.splits["reference"]
        (words,) = baseline.learnt_elsewhere(config, town)
        assert words.startswith("the baseline learns from the references, split 'reference', as")
    config.dataset.train_splits = ("train", "trian")
    (words,) = baseline.learnt_elsewhere(config, town)
    assert "names ['trian'], of which there are no images" in words


def test_the_result_tells_of_an_unknown_training_split(config, tmp_path):
    config.dataset.train_splits = ("trian",)
    config.baseline.vlad_sift.dimensions = 0
    for name, told in (("vlad_sift", True), ("pixels", False)):
        config.baseline.name = name
        notes = baseline.run(config, tmp_path, Town())[2]
        assert any("learns from the references" in note for note in notes) is told


def test_time_per_image_leaves_out_the_first_batch():
    ms = []
    assert len(list(evaluate.timed(iter([np.ones((2, 1))] * 3), ms))) == 3
    assert len(ms) == 2 and min(ms) >= 0


def test_post_processing_changes_the_answers_and_is_told(config, tmp_path):
    config.baseline.name = "pixels"
    plain = baseline.run(config, tmp_path, Town())[0]["test01"]
    config.eval.update(standardise="sets", query_expansion=1)
    found, cost, _ = baseline.run(config, tmp_path, Town())
    assert (found["test01"].matches.distances != plain.matches.distances).any()
    text = result_files.markdown(config, Town(), {"baseline": found}, provenance(cost))
    assert (
        "- post-processing: mean and deviation standardised per set; queries averaged with their 1 nearest "
        "references, weighted by cosine^3" in text
    )
