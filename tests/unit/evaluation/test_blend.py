"""Blends of parameters: the formula, what they refuse, and the choice on validation and keep set."""

import json
import shutil
import types

import numpy as np
import pytest

from configs import base
from tests.helpers.memory_places import drive
from vprjax.errors import ConfigError, DataError, WeightsError
from vprjax.evaluation import blend, choose, elsewhere
from vprjax.storage.checkpoint import Checkpoints, open_for_reading

START = {"params": {"w": np.array([1.0, 2.0], np.float32), "p": np.array([3.0], np.float32)},
         "batch_stats": {"var": np.array([0.5], np.float32)},
         "preprocess": {"bgr": np.array(1), "mean": np.array([0.485], np.float32)}}  # fmt: skip


def moved(w, p=3.0, var=0.5):
    """Variables after training."""
    params = {"w": np.array(w, np.float32), "p": np.array([p], np.float32)}
    return {**START, "params": params, "batch_stats": {"var": np.array([var], np.float32)}}


def run(folder, end, start=START, validations=()):
    """Writes a run's checkpoints of steps 0 and 5."""
    checkpoints = Checkpoints(folder / "checkpoints")
    config = base.get_config().to_dict()
    saved = {"config": config, "provenance": {}, "validations": [*validations]}
    for step, model in ((0, start), (5, end)):
        checkpoints.save(step, model, {"x": np.zeros(1)}, saved)
    checkpoints.close()
    return folder


@pytest.mark.parametrize("share", [0.0, 0.35, 1.0])
def test_every_array_lies_on_the_line_between_both(share):
    found = blend.mixed(START, [moved([3.0, 0.0], 5.0, 1.5)], (1.0,), share)
    expected = {"w": [1 + 2 * share, 2 - 2 * share], "p": [3 + 2 * share]}
    for name, value in expected.items():
        array = found["params"][name]
        np.testing.assert_allclose(array, np.float32(value), rtol=1e-7)
        assert array.dtype == np.float32
    np.testing.assert_allclose(found["batch_stats"]["var"], [0.5 + share], rtol=1e-7)
    assert found["preprocess"]["bgr"] == 1
    assert found["preprocess"]["mean"] == START["preprocess"]["mean"]  # to the bit


def test_the_ends_are_the_checkpoints_to_the_bit():
    rng = np.random.default_rng(0)
    first, last = (
        {"w": (rng.normal(size=999) * 10.0 ** rng.integers(-6, 6, 999)).astype(np.float32)}
        for _ in range(2)
    )
    assert (blend.mixed(first, [last], (1.0,), 1.0)["w"] == last["w"]).all()
    assert (blend.mixed(first, [last], (1.0,), 0.0)["w"] == first["w"]).all()


def test_several_runs_enter_by_their_weights(tmp_path):
    paths = [run(tmp_path / name, moved(w)) for name, w in (("a", [2.0, 2.0]), ("b", [5.0, 6.0]))]
    config = base.get_config()
    config.eval.update(blend="0.5", blend_runs=(str(paths[1]),), blend_weights=(3.0, 1.0))
    asked = blend.asked(config)
    assert asked.weights == (0.75, 0.25) and not asked.whole
    reader = open_for_reading(paths[0])
    found = blend.taken(reader, asked)["params"]["w"]
    # 1 + 0.5 * (0.75 * 1 + 0.25 * 4), 2 + 0.5 * (0.75 * 0 + 0.25 * 4)
    np.testing.assert_allclose(found, [1.875, 2.5])
    config.eval.blend_weights = ()
    assert blend.asked(config).weights == (0.5, 0.5)
    reader.close()


def test_runs_of_another_start_and_a_missing_start_are_refused(tmp_path):
    other = {**START, "params": {**START["params"], "w": np.array([1.0, 2.5], np.float32)}}
    own = run(tmp_path / "own", moved([2.0, 2.0]))
    apart = run(tmp_path / "apart", moved([2.0, 2.0]), start=other)
    reader = open_for_reading(own)
    with pytest.raises(ConfigError, match=r"apart starts from other parameters than .*own"):
        blend.check_starts(reader, [str(own), str(apart)])
    with pytest.raises(WeightsError, match="no checkpoint in"):
        blend.Ends(reader, [str(tmp_path)])
    reader.close()
    (own / "checkpoints/0").rename(own / "gone")
    reader = open_for_reading(own)
    with pytest.raises(WeightsError, match=r"0 is gone, .* set eval.blend='off'"):
        blend.Ends(reader, [])
    assert (blend.taken(reader, blend.Blend())["params"]["w"] == 2).all()  # which needs none
    reader.close()


def test_a_run_that_has_taken_no_step_is_refused(tmp_path):
    own, begun = (run(tmp_path / name, moved([2.0, 2.0])) for name in ("own", "begun"))
    shutil.rmtree(begun / "checkpoints/5")
    reader = open_for_reading(own)
    with pytest.raises(ConfigError, match="begun has taken no step"):
        blend.check_starts(reader, [str(own), str(begun)])
    reader.close()


def test_the_best_validated_checkpoint_is_the_other_end(tmp_path):
    folder = run(tmp_path, moved([3.0, 2.0]), validations=[[5, 1.0]])
    reader = open_for_reading(folder)
    assert blend.taken(reader, blend.Blend(share=0.5))["params"]["w"][0] == 2.0
    reader.close()


def test_whole_numbers_that_differ_have_no_mean():
    with pytest.raises(ValueError, match="have no mean"):
        blend.mixed({"n": np.array(1)}, [{"n": np.array(2)}], (1.0,), 0.5)


class Line:
    """Ends whose blend is its share."""

    def at(self, found):
        return found.share


def test_the_share_of_the_highest_mean_is_chosen_and_the_smallest_of_equals():
    home = {share: 10 * share for share in choose.GRID}
    keep = {share: 8.0 if share <= 0.4 else 0.0 for share in choose.GRID}
    asked = blend.Blend(keep="places_csv/x:1.0.0")
    found = choose.choose(Line(), asked, lambda a: (home[a], keep[a]))
    assert found.share == 0.4 and [point.share for point in found.curve] == list(choose.GRID)
    assert found.curve[4] == blend.Point(0.4, 4.0, 8.0) and found.curve[4].score == 6.0
    assert choose.choose(Line(), asked, lambda a: (home[a], None)).share == 1.0
    assert choose.choose(Line(), asked, lambda a: (5.0, None)).share == 0.0
    assert (
        "the best of 11 shares by the mean FCM on validation and on places_csv/x" in found.words()
    )


def test_the_score_is_the_mean_over_tolerances_and_over_the_keep_sets_query_splits(monkeypatch):
    """Image i of a drive is grey level i; the model sees it, or sees nothing on the keep set."""
    config = base.get_config()
    config.dataset.tolerances = (25.0, 5.0)
    places = drive(n=20, laps=1)

    def extract(variables, images, indices, words):
        grey = images.images(indices)[:, 0, 0, 0].astype(np.float32)
        return np.stack([np.cos(grey * variables / 40), np.sin(grey * variables / 40)], axis=1)

    monkeypatch.setattr(choose.parallel, "replicate", lambda x: x)
    shifted = places.subset(np.arange(2, 20))
    counts = {"reference": 20, "test01": 20, "test02": 18}
    held = {"reference": places, "test01": places, "test02": shifted}
    dataset = types.SimpleNamespace(
        name="k", version="1", counts=counts, metadata={}, places=lambda names: held[names[0]]
    )
    own = config.copy_and_resolve_references()
    own.dataset.query_splits = ("test01", "test02")
    keep = elsewhere.Elsewhere(own, dataset)
    score = choose.scorer(config, extract, (places, places), keep)
    assert score(1.0) == (100.0, 100.0)
    # Without any difference all queries take reference 0: within 25 m of it lie 3 of 20, within 5 m 1.
    home, kept = score(0.0)
    assert home == pytest.approx((15 + 5) / 2)
    assert kept == pytest.approx((10 + (100 / 18 + 0) / 2) / 2, abs=1e-3)
    assert choose.scorer(config, extract, (places, places), None)(1.0) == (100.0, None)
    nowhere = np.full((20, 2), np.nan)
    lost = types.SimpleNamespace(located=np.empty(0, int), positions=nowhere)
    dataset.places = lambda names: lost
    with pytest.raises(ConfigError, match="no query has a position"):
        choose.scorer(config, extract, (places, places), keep)


def test_what_was_taken_is_kept_beside_the_run(tmp_path):
    config = base.get_config()
    assert blend.read(tmp_path, config) == blend.Blend()
    config.eval.blend = "auto"
    with pytest.raises(DataError, match=r"blend\.json is not there, .*'auto' came to: evaluate"):
        blend.read(tmp_path, config)
    curve = (blend.Point(0.0, 1.0, None), blend.Point(0.3, 2.0, 3.0))
    found = blend.Blend(0.3, ("/runs/b",), (0.5, 0.5), curve, "k:1")
    blend.write(tmp_path, found)
    assert blend.read(tmp_path, config) == found
    text = (tmp_path / blend.FILE).read_text()
    (tmp_path / blend.FILE).write_text(text.replace("0.3", "0.4"))
    with pytest.raises(DataError, match=r"blend\.json cannot be read \(its checksum"):
        blend.read(tmp_path, config)
    (tmp_path / blend.FILE).write_text(json.dumps({"share": 1.0}))
    with pytest.raises(DataError, match="evaluate the run again"):
        blend.read(tmp_path, config)
