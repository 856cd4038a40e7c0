"""Training that keeps the untrained model: keep images, pull to the start, stages released later."""

import dataclasses
import pathlib
import types

import cv2
import jax
import numpy as np
import pytest

from configs import nordland, places_csv
from tests.helpers import memory_places, short_run
from tests.helpers.memory_places import drive
from tests.helpers.short_run import config, state_of
from tfds_builders.synthetic.synthetic_dataset_builder import Builder
from vprjax.config import checks, limits
from vprjax.data import named, source
from vprjax.errors import ConfigError, WeightsError
from vprjax.storage.checkpoint import open_for_reading
from vprjax.storage.json_lines import read_rows
from vprjax.training import begin, keep, loop, preflight


@dataclasses.dataclass
class Other:
    """Another prepared dataset, of larger images."""

    name, version, counts = "places_csv/other", "1.0.0", {"drive": 12, "none": 0}
    folder = pathlib.Path("nowhere")

    def places(self, splits):
        return drive(n=12, laps=1, size=(10, 12))


@pytest.fixture
def others(monkeypatch):
    monkeypatch.setattr(source, "open_dataset", lambda config: Other())


def keeping(**values):
    c = config()
    c.keep.update(images=("places_csv/other:drive",), batch=8, weight=5.0, **values)
    return c


def test_a_cut_run_keeps_to_the_same_bits(tmp_path, monkeypatch, others):
    c = keeping(batch_weight=2.0)
    c.model.train_from = "expanded_conv"
    c.optim.update(keep_start=1.0, depth_rate=0.5, release=((4, ""),))
    add = loop.Recorder.add

    def stop(self, done, *rest):
        if done == 5:
            raise KeyboardInterrupt
        return add(self, done, *rest)

    for run in ("whole", "cut"):
        (tmp_path / run).mkdir()
    short_run.train(c, tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(loop.Recorder, "add", stop)
        with pytest.raises(KeyboardInterrupt):
            short_run.train(c, tmp_path / "cut")
    assert {file.name for file in (tmp_path / "cut/untrained").iterdir()} == {"batch", "keep"}
    start = tmp_path / "cut/checkpoints/0"
    start.rename(tmp_path / "away")
    with (
        monkeypatch.context() as patch,
        pytest.raises(WeightsError, match="0 is gone, which holds"),
    ):
        patch.setattr(begin, "compile_step", None)  # which takes long
        short_run.train(c, tmp_path / "cut")
    (tmp_path / "away").rename(start)
    short_run.train(c, tmp_path / "cut")
    assert not (tmp_path / "cut/untrained").exists()  # the end removes it
    (whole, _), (resumed, _) = state_of(tmp_path / "whole"), state_of(tmp_path / "cut")
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(resumed), strict=True):
        assert a.tobytes() == b.tobytes()
    rows = read_rows(tmp_path / "whole/metrics.jsonl")
    assert rows == read_rows(tmp_path / "cut/metrics.jsonl")
    assert all(0 < row["keep"] < 1 for row in rows[1:])
    # The first steps leave Conv1 as it was, the later ones do not.
    reader = open_for_reading(tmp_path / "whole")
    start, held, end = (
        jax.tree.leaves(reader.restore_model(step)["params"]["backbone"]["Conv1"])
        for step in (0, 3, 7)
    )
    assert all((a == b).all() for a, b in zip(start, held, strict=True))
    assert all((a != b).any() for a, b in zip(start, end, strict=True))
    provenance = reader.config(7)["provenance"]
    assert provenance["keep_images"] == {"places_csv/other:1.0.0:drive": 12}
    c.keep.images = ("places_csv/other:drive,drive",)
    with pytest.raises(ConfigError, match=r"run with (keep_set|keep\.images)"):
        short_run.train(c, tmp_path / "whole")


def test_the_cosines_of_a_batch_are_those_of_its_images(tmp_path, others):
    c = keeping(batch_weight=2.0)
    data = preflight.training_data(c, short_run.Dataset())
    keeper = keep.Keeper(c, data.keep, data.images)
    rng = np.random.default_rng(0)
    known = {"batch": rng.normal(size=(80, 4)), "keep": rng.normal(size=(12, 4))}

    def stream(places, indices, words, first):
        rows = known["keep" if len(places) == 12 else "batch"].astype(np.float32)
        yield rows[first:7]
        yield rows[max(first, 7) :]

    keeper.describe(tmp_path / "untrained", {"model": "x"}, lambda places: 4, stream)
    chosen = np.array([[3, 9], [70, 3]])
    added = keeper.added(2, chosen, slice(1, 2))
    rows = known["batch"][[3, 9, 70, 3]]
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    np.testing.assert_allclose(added["untrained"][0], (unit @ unit.T)[2:], atol=1e-6)
    images = keep.drawn(12, 8, c.seed, 2)
    assert len(set(images.tolist())) == 8 and (images == keep.drawn(12, 8, c.seed, 2)).all()
    assert (images != keep.drawn(12, 8, c.seed, 3)).any()
    assert (added["keep"]["images"][:, 0, 0, 0] == images).all()  # image i is grey level i
    rows = known["keep"][images]
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    np.testing.assert_allclose(added["keep"]["similarities"], unit @ unit.T, atol=1e-6)


def test_the_untrained_model_describes_images_at_the_size_of_a_step(tmp_path, monkeypatch):
    """Joined sizes have other cosines, and a loss would pull to these ahead of any change."""
    rng = np.random.default_rng(0)
    noise = (rng.integers(0, 256, (10, 12, 3), np.uint8) for _ in range(12))
    images = memory_places.Memory([cv2.imencode(".png", image)[1].tobytes() for image in noise])

    class Noisy(Other):
        def places(self, splits):
            return dataclasses.replace(super().places(splits), sources=(images,))

    monkeypatch.setattr(source, "open_dataset", lambda config: Noisy())
    c = keeping()
    c.model.scales = (1.0, 0.5)
    c.train.update(steps=1, log_every=1)
    short_run.train(c, tmp_path)
    (row,) = read_rows(tmp_path / "metrics.jsonl")
    assert row["keep"] < 1e-9


def test_fewer_keep_images_than_a_batch_repeat():
    assert sorted(set(keep.drawn(3, 8, 0, 0).tolist())) == [0, 1, 2]


def test_a_zero_descriptor_has_no_cosine():
    found = keep.cosines(np.array([[3.0, 4.0], [0.0, 0.0]]))
    assert np.allclose(found, [[1, 0], [0, 0]]) and found.dtype == np.float32


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("places_csv/other", "must name a dataset and splits"),
        ("places_csv/other:", "must name a dataset and splits"),
        ("places_csv/other:none", "keep.images: dataset nowhere has no images in split 'none'"),
    ],
)
def test_a_keep_set_that_is_not_there_is_told(others, text, words):
    with pytest.raises(Exception, match=words):
        named.open_named(config(), "keep.images", text)


def test_a_name_may_hold_a_version_and_several_splits():
    assert named.parse("k", "a/b:1.0.0:x,y") == ("a/b:1.0.0", ("x", "y"))


@pytest.mark.parametrize(
    ("section", "values", "words"),
    [
        ("keep", {"weight": 1.0}, r"keep.images=\(\) and keep.weight=1 go together"),
        ("keep", {"images": ("a:b",)}, "go together"),
        ("keep", {"images": ("a:b",), "weight": 1.0, "batch": 12}, "keep.batch=12 must be a mult"),
        ("optim", {"keep_start": 101.0}, "is 1.01: above 1 a step overshoots"),
        ("optim", {"release": ((5, ""),)}, r"release: \(5, ''\) must come after step 0 and free"),
    ],
)
def test_values_that_do_not_go_together_are_refused(section, values, words):
    c = config()
    c.dataset.name = "places_csv/mine"
    checks.check_values(c)
    c[section].update(values)
    with pytest.raises(ConfigError, match=words):
        checks.check_values(c)


def test_stages_are_released_from_the_last_to_the_first():
    c = config()
    c.dataset.name, c.model.stage, c.model.train_from = "places_csv/mine", "block_3", "head"
    c.model.update(projection=4)
    c.train.steps = 10
    c.optim.release = ((3, "block_2"), (9, "Conv1"))
    checks.check_values(c)
    for wrong, words in (
        (((3, "block_2"), (3, "")), r"\(3, ''\) must come after step 3"),
        (((3, "block_2"), (9, "block_3")), r"\(9, 'block_3'\) must come after step 3 and free"),
        (((3, "block9"),), "mobilenetv2 has no stage 'block9'"),
        (((3, "block_9"),), "optim.release: 'block_9' lies behind model.stage='block_3'"),
        (((3, "block_2"), (c.train.steps, "")), r"after step \[10\], but the run ends at train"),
    ):
        c.optim.release = wrong
        with pytest.raises(ConfigError, match=words):
            checks.check_values(c)
    c.optim.release = ((3, "block_2"),)
    c.model.batch_norm = "train"
    with pytest.raises(ConfigError, match="release freezes no BatchNorm"):
        checks.check_values(c)


class Flat:
    """A model whose descriptors are the pixels."""

    def init_with_output(self, key, images):
        return images.reshape(len(images), -1), {}


def test_a_disk_without_room_for_the_descriptors_is_told(tmp_path, monkeypatch):
    images, module = drive(n=5, laps=2, size=(4, 6)), Flat()
    limits.check_untrained(module, [images], tmp_path / "run")
    usage = types.SimpleNamespace(free=4 * (10 * 72 + 5 * 144))  # larger images, longer descriptors
    monkeypatch.setattr(limits.shutil, "disk_usage", lambda _: usage)
    both = [images, drive(n=5, laps=1, size=(8, 6))]
    limits.check_untrained(module, both, tmp_path / "run")
    usage.free -= 1
    with pytest.raises(
        ConfigError, match=r"15 descriptors of 96 dimensions in .*untrained: it take"
    ):
        limits.check_untrained(module, both, tmp_path / "run")


def test_keep_images_that_are_the_tests_are_refused(monkeypatch):
    class Same(Other):
        counts = short_run.Dataset.counts

        def places(self, splits):
            return short_run.Dataset().places(splits)

    monkeypatch.setattr(source, "open_dataset", lambda config: Same())
    c = keeping()
    c.keep.images = ("places_csv/other:test02",)
    words = (
        "of split 'test02' are those of split 'test02' of places_csv/other.*what it is measured on"
    )
    with pytest.raises(ConfigError, match=words):
        preflight.training_data(c, short_run.Dataset())
    c.keep.images = ("places_csv/other:train",)
    assert not preflight.training_data(c, short_run.Dataset()).doubts


@pytest.mark.parametrize(("weights", "steps"), [("", 7), ("a.npz", 0), ("a.npz", 7)])
def test_a_random_model_knows_nothing_to_keep(weights, steps, capfd):
    c = keeping()
    c.model.weights, c.train.steps = weights, steps
    used = keep.worthwhile(c.lock())
    assert c.keep.images  # the caller's config stays
    assert bool(used.keep.images) == bool(used.keep.weight) == bool(weights and steps)
    told = "keep.images is left out" in capfd.readouterr().err
    assert told == (not weights)


@pytest.mark.parametrize("file", [nordland, places_csv])
@pytest.mark.parametrize(
    ("loss", "weight"), [("triplet", 300), ("contrastive", 30), ("arcface", 0)]
)
def test_the_shipped_configs_keep_rendered_images(file, loss, weight):
    c = file.get_config(f"mobilenetv2,gem,{loss}")
    assert c.keep.weight == weight
    assert bool(c.keep.images) == bool(weight)
    rendered = {config.name for config in Builder.BUILDER_CONFIGS}
    assert {text.split("/")[1].split(":")[0] for text in c.keep.images} <= rendered
