"""The figures of a split against a count by hand; the files that hold them."""

import contextlib
import csv
import json
from types import SimpleNamespace

import numpy as np
import pytest

from configs import base
from tests.helpers.memory_places import drive, standing
from vprjax import models
from vprjax.config import limits
from vprjax.descriptors import store, whitening
from vprjax.errors import ConfigError, DataError, WeightsError
from vprjax.evaluation import elsewhere, evaluate, measure, parts
from vprjax.evaluation.result import LabelFcm
from vprjax.report import result_files
from vprjax.runtime import parallel

KEYS = [
    *("fcm", "interval", "oracle_fcm", "segments", "labels", "recall", "queries", "references"),
    *("average_precision", "recall_at_full_precision"),
]
FEW = ["interval_exact"]  # of four queries, or where all answers are alike


@pytest.fixture
def config():
    c = base.get_config()
    c.dataset.tolerances = (10.0, 5.0, 1.0)
    c.dataset.query_splits = ("test01",)
    c.eval.recalls = (1, 2)
    return c


def measured(config, reduce=None, headings=(None, None)):
    """Four queries; the descriptors of the last two point to references 6 m and 40 m away."""
    references = np.array([[0.0, 0.0], [10.0, 0.0], [20.0, 0.0], [60.0, 0.0]])
    queries = np.array([[0.5, 0.0], [14.0, 0.0], [26.0, 0.0], [20.0, 0.0]])
    eye = np.eye(4, dtype=np.float32)
    described = np.stack([eye[0], eye[1], eye[2], eye[3] + 0.9 * eye[2]])
    query = measure.Described(standing(queries, headings[0], ["a", "b", "b", ""]), described)
    reference = measure.Described(standing(references, headings[1]), eye)
    return measure.measure(config, query, reference, reduce)


def test_figures_by_hand(config):
    found = measured(config)
    assert found.figures.fcm == {"10": 75.0, "5": 50.0, "1": 25.0}
    assert found.figures.oracle_fcm == {"10": 100.0, "5": 75.0, "1": 50.0}
    assert found.figures.recall == {"1": 75.0, "2": 100.0}
    assert found.matches.numbers.tolist() == [0, 1, 2, 3]
    assert found.matches.nearest_errors.tolist() == [0.5, 4.0, 6.0, 0.0]
    np.testing.assert_allclose(found.curves.tolerances[[0, -1]], [0, 12])
    np.testing.assert_allclose(found.curves.fcm[-1], 75.0)
    np.testing.assert_allclose(found.curves.oracle_fcm[-1], 100.0)


def test_descriptors_that_are_not_finite_are_a_sentence(config):
    places, rows = standing(np.zeros((4, 2))), np.eye(4, dtype=np.float32)
    broken = measure.Described(places, np.where(rows[:, :1] > 0, np.float32("nan"), rows))
    with pytest.raises(WeightsError, match=r"of 0 of 4 queries and 1 of 4 references hold NaN"):
        measure.measure(config, measure.Described(places, rows), broken)


def test_segments_labels_and_confidence_by_hand(config):
    found = measured(config)
    figures, curves = found.figures, found.curves
    assert [part.fcm["5"] for part in figures.segments] == [100.0, 100.0, 0.0, 0.0]
    assert figures.labels == {
        "a": LabelFcm(1, {"10": 100.0, "5": 100.0, "1": 100.0}),
        "b": LabelFcm(2, {"10": 100.0, "5": 50.0, "1": 0.0}),
    }
    # Within 10 m three of four are right, and the wrong one is the least confident.
    assert figures.average_precision == figures.recall_at_full_precision == 75.0
    assert curves.precision.tolist() == [100, 75] and curves.recall.tolist() == [75, 75]
    for t, (low, high) in figures.interval.items():
        assert low <= figures.fcm[t] <= high
    assert figures.interval["10"][0] < 75


def test_of_many_labels_those_of_most_queries_are_listed(monkeypatch):
    monkeypatch.setattr(parts, "LABELS", 2)
    labels = np.array(["c", "a", "b", "b", "c", "d"], object)
    found = parts.labels(np.array([0.0, 0.0, 9.0, 0.0, 0.0, 0.0]), labels, (1.0,))
    assert found == {"b": LabelFcm(2, {"1": 50.0}), "c": LabelFcm(2, {"1": 100.0})}


def test_a_match_that_looks_the_other_way_is_wrong(config):
    config.eval.heading_degrees = 30.0
    headings = np.array([0.0, 0.1, np.pi, 0.0]), np.array([2 * np.pi, 0.0, 0.0, 0.0])
    found = measured(config, headings=headings).figures
    assert found.fcm == {"10": 50.0, "5": 50.0, "1": 25.0}
    assert found.oracle_fcm == {"10": 75.0, "5": 75.0, "1": 50.0}
    assert found.recall == {"1": 50.0, "2": 75.0}
    with pytest.raises(ConfigError, match="needs headings"):
        measured(config)


def unlocated(config, *numbers):
    """`measured`, with the queries `numbers` at unknown positions."""
    config.eval.sequence_length = 2
    queries = np.array([[0.5, 0.0], [14.0, 0.0], [26.0, 0.0], [20.0, 0.0]])
    queries[list(numbers)] = np.nan
    eye = np.eye(4, dtype=np.float32)
    described = np.stack([eye[0], eye[1], eye[2], eye[3] + 0.9 * eye[2]])
    references = np.array([[0.0, 0.0], [10.0, 0.0], [20.0, 0.0], [60.0, 0.0]])
    query = measure.Described(standing(queries, labels=["a", "b", "b", ""]), described)
    reference = measure.Described(standing(references), eye)
    return measure.measure(config, query, reference), measure.fcm_of(config, query, reference)


def test_queries_without_a_position_are_matched_and_do_not_count(config):
    found, alone = unlocated(config, 1)
    figures = found.figures
    assert figures.fcm == alone == {"10": 66.6667, "5": 33.3333, "1": 33.3333}
    assert figures.oracle_fcm == {"10": 100.0, "5": 66.6667, "1": 66.6667}
    assert figures.recall == {"1": 66.6667, "2": 100.0}
    assert (figures.queries, figures.with_position) == (4, 3)
    assert [part.first for part in figures.segments] == [0, 2, 3]
    assert figures.labels["b"] == LabelFcm(1, {"10": 100.0, "5": 0.0, "1": 0.0})
    assert figures.to_json()["with_position"] == 3 and figures.sequence.length == 2
    assert "3 of 4 queries have a position" in figures.position_words()
    assert "3 queries with these answers" in figures.exact_words("m")
    matches = found.matches
    assert matches.numbers.tolist() == [0, 1, 2, 3] and matches.nearest.tolist() == [0, -1, 2, 2]
    np.testing.assert_equal(matches.errors, [0.5, np.nan, 6.0, 40.0])


def test_without_any_position_there_are_matches_and_no_figures(config):
    found, alone = unlocated(config, 0, 1, 2, 3)
    saved = json.loads(json.dumps(found.figures.to_json(), allow_nan=False))
    assert saved["fcm"] == saved["oracle_fcm"] == dict.fromkeys(("10", "5", "1"))
    assert saved["recall"] == {"1": None, "2": None} and saved["average_precision"] is None
    assert saved["interval"]["5"] == [None, None] and saved["with_position"] == 0
    assert np.isnan(list(alone.values())).all() and "sequence" not in saved
    assert found.matches.numbers.tolist() == [0, 1, 2, 3]


def test_headings_count_for_queries_with_a_position_alone(config):
    config.eval.heading_degrees = 30.0
    places = standing([[0.0, 0.0], [np.nan, np.nan]], [0.1, np.nan])
    rows = np.eye(2, dtype=np.float32)
    reference = measure.Described(standing([[0.0, 0.0], [9.0, 0.0]], [0.0, 0.0]), rows)
    assert (
        measure.measure(config, measure.Described(places, rows), reference).figures.fcm["1"] == 100
    )


def test_sequences_mend_single_errors(config):
    """A drive whose every fifth image looks like another place, matched alone and in sequences."""
    rng = np.random.default_rng(0)
    references = rng.normal(size=(60, 16)).astype(np.float32)
    queries = references + 0.01
    queries[3::5] = references[(np.arange(60)[3::5] + 30) % 60]
    positions = np.stack([10.0 * np.arange(60), np.zeros(60)], axis=1)
    config.eval.sequence_length = 6
    sides = [measure.Described(standing(positions), rows) for rows in (queries, references)]
    found = measure.measure(config, *sides).figures
    assert found.fcm["1"] == 80.0
    assert measure.fcm_of(config, *sides) == found.fcm
    assert found.sequence.length == 6 and found.sequence.fcm["1"] > 95
    assert list(found.to_json()) == [*KEYS, "sequence"]  # many queries, right and wrong
    assert found.to_json()["sequence"] == {"length": 6, "fcm": found.sequence.fcm}


POST = [
    {"standardise": "sets"},
    {"standardise": "clusters"},
    {"query_expansion": 3},
    {"database_augmentation": 2},
    {"standardise": "sets", "query_expansion": 4, "database_augmentation": 3},
    {"rerank": 3, "rerank_bits": 32},
]


@pytest.mark.parametrize("post", POST)
def test_validation_measures_what_evaluation_reports(config, post):
    """A night drive: its descriptors are the day's, shifted, and noise makes every step of both count."""
    rng = np.random.default_rng(1)
    day = rng.normal(size=(60, 12))
    night = day + 1.5 * rng.normal(size=(60, 12)) + 2 * rng.normal(size=12)
    places = standing(np.stack([3.0 * np.arange(60), np.zeros(60)], axis=1))
    rows = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (night, day))
    sides = [measure.Described(places, x.astype(np.float32)) for x in rows]
    plain = measure.fcm_of(config, *sides)
    config.eval.update(post)
    found = measure.fcm_of(config, *sides)
    assert found == measure.measure(config, *sides).figures.fcm
    assert found != plain


def test_validation_puts_all_of_few_references_in_order(config):
    config.eval.rerank = 100
    rows = np.eye(2, dtype=np.float32)
    query = measure.Described(standing([[0.0, 0.0], [30.0, 0.0]]), rows)
    reference = measure.Described(standing([[0.0, 0.0], [9.0, 0.0]]), rows)
    assert measure.fcm_of(config, query, reference) == {"10": 50.0, "5": 50.0, "1": 50.0}


def test_a_search_memory_for_no_block_is_a_config_error(config):
    config.eval.search_memory = 1e-6
    with pytest.raises(ConfigError, match=r"eval\.search_memory=1e-06 GiB: .* need at least"):
        measured(config)


def test_recall_radius_is_the_configs(config):
    config.eval.recall_radius = 1.0
    assert measured(config).figures.recall == {"1": 25.0, "2": 50.0}


def test_the_files_hold_what_was_measured(config, tmp_path):
    dataset = SimpleNamespace(
        name="places_csv/x", version="1.0.0", counts={"test01": 4, "reference": 4}, metadata={}
    )
    provenance = dict.fromkeys(
        ("weights_sha256", "steps", "device", "code_version", "written"), "someword"
    )
    results = {
        "off_the_shelf": {"test01": measured(config)},
        "fine_tuned": {"test01": measured(config)},
    }
    result_files.write(tmp_path, config, dataset, results, provenance)
    saved = json.loads((tmp_path / "results.json").read_text())
    assert saved["schema"] == 1 and saved["tolerances_m"] == [10.0, 5.0, 1.0]
    figures = saved["results"]["fine_tuned"]["test01"]
    assert list(figures) == KEYS + FEW and figures["fcm"] == {"10": 75.0, "5": 50.0, "1": 25.0}
    assert figures["segments"][1] == {
        "first": 1,
        "queries": 1,
        "fcm": {"10": 100.0, "5": 100.0, "1": 0.0},
    }
    text = (tmp_path / "results.md").read_text()
    assert "| test01 | fine-tuned | 75.00 | 50.00 | 25.00 | 75.00 | 100.00 |" in text
    assert "| test01 | oracle (ceiling) | 100.00 | 75.00 | 50.00 |" in text
    assert "any reference within tau.\n" in text
    assert (
        "- test01, fine-tuned: 4 queries with these answers are too few for a bootstrap, so the 95 % "
        "interval is Clopper-Pearson's: 19.4 to 100.0 at 10 m, 0.0 to 100.0 at 5 m" in text
    )
    config.eval.heading_degrees = 30.0
    assert "tau. A reference counts only where it looks the same way, to 30 degrees.\n" in (
        result_files.markdown(config, dataset, results, provenance)
    )
    assert "Warning" not in text and "frames" not in text
    config.eval.update(sequence_length=3, heading_degrees=0.0)
    results["fine_tuned"]["test01"] = measured(config)
    assert (
        "The last 3 frames are matched together:\n\n| queries | model | FCM 10 m | FCM 5 m | FCM 1 m |\n"
        "| --- | --- | ---: | ---: | ---: |\n| test01 | fine-tuned | "
        + " | ".join(
            f"{share:.2f}"
            for share in results["fine_tuned"]["test01"].figures.sequence.fcm.values()
        )
        + " |\n\n"
    ) in result_files.markdown(config, dataset, results, provenance)
    doubtful = provenance | {"warnings": ["the descriptors collapsed"]}
    assert "\n\n**Warning:** the descriptors collapsed.\n\nFCM: " in (
        result_files.markdown(config, dataset, results, doubtful)
    )
    assert (tmp_path / "fcm.png").stat().st_size > 5000
    rows = list(csv.reader((tmp_path / "matches/fine_tuned_test01.csv").read_text().splitlines()))
    assert rows[3][:7] == ["image2", "26.0", "0.0", "image2", "20.0", "0.0", "6.0"]
    assert len(rows) == 5


class Built:
    """A dataset whose splits are drives of as many images as given; counts what is described."""

    name, version, metadata = "places_csv/x", "1.0.0", {}

    def __init__(self, **counts):
        self.splits, self.described = {s: drive(n, laps=1) for s, n in counts.items()}, []

    def places(self, names):
        return self.splits[names[0]]

    def apply_fn(self, variables, images):
        return images[:, :2, 0, 0].astype(np.float32)

    def stream(self, variables, places, indices, what, first):
        self.described.append(what.split()[1])
        yield self.apply_fn(variables, places.images(indices[first:]))


def test_a_map_keeps_its_descriptors_where_only_the_queries_change(config, tmp_path, monkeypatch):
    said, model = [], {"params": {"w": np.ones(2)}}
    monkeypatch.setattr(evaluate, "log", said.append)

    def described(dataset, variables=model):
        evaluate.evaluate(config, dataset, variables, "fine_tuned", tmp_path, dataset)
        return dataset.described

    built = Built(reference=9, test01=5)
    assert described(built) == ["reference", "test01"]
    assert described(Built(reference=9, test01=5)) == []
    other = Built(reference=9, test01=6)
    other.name = "places_csv/rebuilt"
    assert described(other) == ["test01"] and "another" in said[-2]
    same_ids = Built(reference=9, test01=6)  # and positions, but another image
    same_ids.splits["reference"].sources[0].encoded[4] = drive(9).encoded([8])[0]
    assert described(same_ids) == ["reference"]
    assert described(same_ids, {"params": {"w": np.zeros(2)}})[1:] == ["reference", "test01"]
    config.eval.descriptor_dtype = "float16"
    assert described(Built(reference=9, test01=6)) == ["reference", "test01"]


def test_a_second_evaluation_leaves_no_tables_of_the_first(config, tmp_path):
    dataset = SimpleNamespace(name="places_csv/x", version="1.0.0", counts={}, metadata={})
    provenance = dict.fromkeys(
        ("weights_sha256", "steps", "device", "code_version", "written"), "someword"
    )
    both = {
        "off_the_shelf": {"test01": measured(config)},
        "fine_tuned": {"test01": measured(config)},
    }
    result_files.write(tmp_path, config, dataset, both, provenance)
    for name in ("pca_off_the_shelf.npz", "pca_fine_tuned.npz", "matches/notes.csv"):
        (tmp_path / name).touch()
    config.dataset.query_splits = ("night",)
    second = {"off_the_shelf": {"night": measured(config)}}
    result_files.write(tmp_path, config, dataset, second, provenance)
    left = sorted(path.name for path in (tmp_path / "matches").iterdir())
    assert left == ["notes.csv", "off_the_shelf_night.csv"]
    assert not list(tmp_path.glob("pca_*"))


def test_descriptors_that_the_disk_has_no_room_for_are_a_config_error(
    config, tmp_path, monkeypatch
):
    config.model.update(backbone="mobilenetv2", stage="expanded_conv")  # 16 dimensions
    counts, small = {"reference": 60, "test01": 40, "train": 1000}, drive(size=(64, 64))
    dataset = SimpleNamespace(images=counts.get, places=lambda _: small)
    module = models.build_for_platform(config.model, parallel.AXIS)
    begun = tmp_path / "descriptors/off_the_shelf_reference/rows"
    begun.parent.mkdir(parents=True)
    begun.write_bytes(bytes(1000))
    other = tmp_path / "descriptors/off_the_shelf_test02/rows"  # is not counted
    other.parent.mkdir()
    other.write_bytes(bytes(9000))
    for free, pca, dtype, fits in (
        (11_800, 0, "float32", True),  # 2 models x 100 images x 16 dimensions x 4 bytes - 1,000
        (11_799, 0, "float32", False),
        (11_799, 0, "float16", True),
        (11_800, 4, "float32", False),  # training images too
    ):
        usage = SimpleNamespace(free=free)
        monkeypatch.setattr(limits.shutil, "disk_usage", lambda _, u=usage: u)
        config.eval.update(pca=pca, descriptor_dtype=dtype)
        refused = pytest.raises(ConfigError, match=r"of 16 dimensions .*name a --workdir")
        with contextlib.nullcontext() if fits else refused:
            limits.check_disk(config, module, dataset, tmp_path)


def test_abroad_the_projection_of_home_follows_the_model(config, tmp_path):
    home, there = Built(train=30, reference=9, test01=5), Built(reference=7, val=6)
    there.name, there.counts = "places_csv/abroad", {"reference": 7, "val": 6}
    config.dataset.train_splits, config.eval.pca = ("train",), 1
    config.eval.pca_whiten = True
    own = config.copy_and_resolve_references()
    own.dataset.query_splits = ("val",)
    own.eval.update(pca=0, pca_whiten=False)
    other = elsewhere.Elsewhere(own, there)
    variables = {"params": {"w": np.ones(2)}}
    measured = config, there, variables, "fine_tuned", tmp_path
    with pytest.raises(DataError, match=r"pca_fine_tuned\.npz is not there"):
        evaluate.abroad(*measured, other)
    evaluate.evaluate(config, home, variables, "fine_tuned", tmp_path, home)
    found = evaluate.abroad(*measured, other)
    model = store.fingerprint(config.model, variables)
    projection = whitening.read(evaluate.pca_file(tmp_path, "fine_tuned"), model)
    rows = [
        there.apply_fn(None, there.splits[s].images(np.arange(n)))
        for s, n in (("val", 6), ("reference", 7))
    ]
    sides = [
        measure.Described(there.splits[s], r)
        for s, r in zip(("val", "reference"), rows, strict=True)
    ]
    expected = measure.measure(own, *sides, projection)
    np.testing.assert_array_equal(found["val"].strip, expected.strip)
    assert not np.allclose(found["val"].strip, measure.measure(own, *sides).strip)
    assert (
        list(found) == ["val"]
        and (tmp_path / "descriptors/fine_tuned_places_csv+abroad_val").is_dir()
    )
    assert (tmp_path / "descriptors/fine_tuned_reference").is_dir()  # home's own stays


def test_the_disk_needs_room_for_other_datasets_too(config, tmp_path, monkeypatch):
    config.model.update(backbone="mobilenetv2", stage="expanded_conv")  # 16 dimensions
    small = drive(size=(64, 64))
    dataset = SimpleNamespace(images={"reference": 60, "test01": 40}.get, places=lambda _: small)
    module = models.build_for_platform(config.model, parallel.AXIS)
    own = config.copy_and_resolve_references()
    own.dataset.query_splits = ("val",)
    counts = {"reference": 10, "val": 5, "train": 99}
    there = SimpleNamespace(images=counts.get, places=lambda _: small)
    other = elsewhere.Elsewhere(own, there)
    usage = SimpleNamespace(free=2 * 115 * 16 * 4)
    monkeypatch.setattr(limits.shutil, "disk_usage", lambda _: usage)
    limits.check_disk(config, module, dataset, tmp_path, 2, [other])
    usage.free -= 1
    with pytest.raises(ConfigError, match="keeps 115 descriptors"):
        limits.check_disk(config, module, dataset, tmp_path, 2, [other])
    # A flat map of images twice as wide is twice as long.
    config.model.pooling, there.places = "flatten", lambda _: drive(size=(64, 128))
    module = models.build_for_platform(config.model, parallel.AXIS)
    usage.free = 2 * 4 * (100 * 16 * 32 * 32 + 15 * 16 * 32 * 64)
    limits.check_disk(config, module, dataset, tmp_path, 2, [other])
    usage.free -= 1
    with pytest.raises(ConfigError, match="keeps 115 descriptors"):
        limits.check_disk(config, module, dataset, tmp_path, 2, [other])


def test_two_stages_are_told_beside_the_exact_search(config, tmp_path):
    """Of one candidate the second stage changes nothing; of all, the answers are the exact search's."""
    rng = np.random.default_rng(0)
    at = np.stack([np.arange(40.0), np.zeros(40)], axis=1)
    references = rng.normal(size=(40, 16)).astype(np.float32)
    queries = references + 0.5 * rng.normal(size=references.shape).astype(np.float32)
    sides = [measure.Described(standing(at, None), x) for x in (queries, references)]
    exact = measure.measure(config, *sides)
    assert exact.figures.rerank is None and "rerank" not in exact.figures.to_json()
    config.eval.rerank_bits = 32
    config.eval.rerank = 1
    first = measure.measure(config, *sides).figures
    assert first.fcm == first.rerank.first_fcm != first.rerank.exact_fcm == exact.figures.fcm
    assert first.recall["1"] == first.rerank.first_recall["1"]
    config.eval.rerank = 40
    every = measure.measure(config, *sides)
    np.testing.assert_array_equal(every.matches.numbers, exact.matches.numbers)
    np.testing.assert_allclose(every.matches.distances, exact.matches.distances, rtol=1e-6)
    told = every.figures.to_json()["rerank"]
    assert told["first_fcm"] == first.fcm and told["exact_recall"] == exact.figures.recall
    assert (told["same_as_exact"], told["hash_bytes"], told["row_bytes"]) == (100.0, 4, 64)
    assert set(told["seconds"]) == {"first", "second", "exact"}
    (line,) = result_files.two_stages(config, {"fine_tuned": {"test01": every}})
    assert line.startswith("- test01, fine-tuned: two stages: 32-bit hashes choose 40 references")
    assert "100.0 % of the answers are the exact search's; 4 against 64 bytes per image" in line
