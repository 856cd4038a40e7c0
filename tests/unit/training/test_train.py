"""The host loop: what trains and what stays, running means, validation, early stop, refusals."""

import types

import jax
import numpy as np
import pytest

from tests.helpers import memory_places, short_run
from tests.helpers.short_run import config
from vprjax import models, optim
from vprjax.data import source
from vprjax.descriptors import extraction, whitening
from vprjax.errors import ConfigError
from vprjax.evaluation import collapse
from vprjax.runtime import parallel
from vprjax.storage.checkpoint import open_for_reading
from vprjax.storage.json_lines import read_rows
from vprjax.training import begin, loop, preflight, validation


def refused_ahead(monkeypatch, c, folder):
    """Checks the job as `main` does; nothing may be made."""
    monkeypatch.setattr(source, "open_dataset", lambda _: short_run.Dataset())
    c.dataset.name = short_run.Dataset.name
    try:
        preflight.check_training(c, folder / "workdir")
    finally:
        assert not list(folder.iterdir())


def test_more_components_than_dimensions_are_refused_before_training(tmp_path, monkeypatch):
    c = config("triplet")
    refused_ahead(monkeypatch, c, tmp_path)  # what follows is of `eval.pca` alone
    c.eval.pca = 40
    with pytest.raises(ConfigError, match=r"eval\.pca=40 must be at most the \d+ dimensions"):
        refused_ahead(monkeypatch, c, tmp_path)


def test_training_moves_what_it_should_and_warns_once_of_a_collapse(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(collapse, "LEAST_VARIANCE", 2.0)  # every logged row lies below
    c = config("arcface")
    c.model.train_from = "expanded_conv"
    short_run.train(c, tmp_path)
    (warned,) = [line for line in capsys.readouterr().err.splitlines() if "collapsed" in line]
    assert warned.startswith("warning: the descriptors collapsed at step 2 (variance 0.")
    reader = open_for_reading(tmp_path)
    before, after = reader.restore_model(0), reader.restore_model(7)
    frozen, free = "Conv1", "expanded_conv"
    for name, moved in ((frozen, False), (free, True)):
        old, new = (jax.tree.leaves(v["params"]["backbone"][name]) for v in (before, after))
        assert any((a != b).any() for a, b in zip(old, new, strict=True)) is moved
    assert before["params"]["pooling"]["p"] != after["params"]["pooling"]["p"]
    statistics = [jax.tree.leaves(v["batch_stats"]) for v in (before, after)]
    assert all((a == b).all() for a, b in zip(*statistics, strict=True))


@pytest.mark.parametrize("batch_norm", ["frozen", "train"])
def test_the_head_may_train_alone(tmp_path, batch_norm):
    c = config()
    c.model.update(train_from="head", pooling="netvlad", projection=8, batch_norm=batch_norm)
    c.model.netvlad.clusters = 4
    c.optim.weight_decay = 0.1
    short_run.train(c, tmp_path)
    reader = open_for_reading(tmp_path)
    before, after = reader.restore_model(0), reader.restore_model(7)
    moved = jax.tree_util.tree_map_with_path(
        lambda path, a, b: (optim.path_name(path), bool((a != b).any())), before, after
    )
    moved = dict(jax.tree.leaves(moved, is_leaf=lambda x: isinstance(x, tuple)))
    for name, it_moved in moved.items():
        assert it_moved is name.startswith(("params/pooling", "params/projection")), name
    assert sum(moved.values()) == 5  # weights, biases, centers, kernel and bias


def test_batch_statistics_train_when_asked(tmp_path):
    c = config()
    c.model.batch_norm = "train"
    short_run.train(c, tmp_path)
    reader = open_for_reading(tmp_path)
    before, after = (jax.tree.leaves(reader.restore_model(s)["batch_stats"]) for s in (0, 7))
    assert all((a != b).any() for a, b in zip(before, after, strict=True))


def test_too_few_negatives_are_told_before_anything_compiles(tmp_path, monkeypatch):
    c = config()
    c.tuples.negative_radius = 1e6
    monkeypatch.setattr(begin, "compile_step", lambda *_: pytest.fail("compiles first"))
    with pytest.raises(
        ConfigError, match=r"beyond tuples\.negative_radius=1e\+06 .* span 390 x 0 m"
    ):
        short_run.train(c, tmp_path)


def test_a_later_pool_without_negatives_is_told_before_anything_compiles(tmp_path, monkeypatch):
    c = config()
    c.tuples.update(negative_radius=120.0, mining_pool=4, batch=4, mining_interval=1)
    monkeypatch.setattr(begin, "compile_step", lambda *_: pytest.fail("compiles first"))
    with pytest.raises(ConfigError, match=r"draws tuples\.mining_pool=4 images.*enlarge"):
        short_run.train(c, tmp_path)


def test_images_too_small_for_the_backbone_are_refused():
    c = config()
    c.model.update(backbone="vgg16", stage="")
    tiny = types.SimpleNamespace(images=lambda _: np.zeros((1, 12, 40, 3), np.uint8))
    with pytest.raises(ConfigError, match="images of 12 x 40 pixels are too small"):
        extraction.model_shapes(models.build_for_platform(c.model, parallel.AXIS), tiny)


def models_without_and_with_mean(c, tmp_path, steps):
    found = []
    for ema in (0.0, 0.9):
        folder = tmp_path / str(ema)
        folder.mkdir()
        c.optim.ema = ema
        short_run.train(c, folder)
        reader = open_for_reading(folder)
        found.append([reader.restore_model(step) for step in steps])
    return found


def test_the_running_mean_is_what_is_saved_and_lags_behind(tmp_path):
    found = models_without_and_with_mean(config(), tmp_path, (0, 7))
    (start, last), (start_mean, mean) = ([m["params"]["pooling"]["p"] for m in f] for f in found)
    assert start == start_mean and 0 < abs(mean - start) < abs(last - start)


def test_the_running_mean_is_one_of_trained_batch_norms_statistics_too(tmp_path):
    c = config()
    c.model.batch_norm = "train"
    found = models_without_and_with_mean(c, tmp_path, (0, 3, 6))
    raw, averaged = ([jax.tree.leaves(m["batch_stats"]) for m in f] for f in found)
    for a, b, m, later in zip(*raw[:2], *averaged[1:], strict=True):
        assert 0 < np.linalg.norm(m - a) < np.linalg.norm(b - a) and (m != later).any()


def test_the_best_checkpoint_stays_and_training_stops_early(tmp_path, monkeypatch, capsys):
    scores = iter([1.0, 9.0, 5.0, 4.0])

    def measure(self, config, extract, variables, step):
        return {"2": 0.0, "mean": next(scores)}

    monkeypatch.setattr(validation.Validation, "measure", measure)
    c = config()
    c.validation.update(every=2, stretch=0.2, patience=2)
    c.train.update(steps=20, keep_checkpoints=1, checkpoint_every=20, log_every=5)
    short_run.train(c, tmp_path)
    reader = open_for_reading(tmp_path)
    assert reader.steps() == [0, 4, 8]  # untrained, best, last: steps 10 to 20 were not taken
    assert reader.config(8)["validations"] == [[2, 1.0], [4, 9.0], [6, 5.0], [8, 4.0]]
    for name in ("metrics", "timing"):  # the last steps have a row, too
        assert [row["step"] for row in read_rows(tmp_path / f"{name}.jsonl")] == [5, 8]
    c.train.steps = 30  # more steps change nothing: it says so
    capsys.readouterr()
    short_run.train(c, tmp_path)
    assert "stopped early: step 4 is the best of 4 validations" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("mining", "steps", "warned"), [("hard", 7, True), ("random", 7, False), ("hard", 0, False)]
)
def test_mining_for_steps_that_never_come_is_warned_of(
    tmp_path, monkeypatch, capsys, mining, steps, warned
):
    c = config()
    c.train.steps = steps
    c.tuples.update(mining_interval=8, mining=mining, positive="random")
    monkeypatch.setattr(loop, "run_rounds", lambda *_: None)
    short_run.train(c, tmp_path)
    words = f"tuples.mining_interval=8 steps, but train.steps is {steps}: lower the interval"
    assert (words in capsys.readouterr().err) == warned


def test_the_stretch_needs_another_visit_not_the_frame_next_door(tmp_path):
    c = config()
    c.tuples.other_visit_seconds = 0.0
    c.validation.update(every=2, stretch=0.1)
    with pytest.raises(
        ConfigError, match=r"are of one visit .*: name a second split in dataset.train"
    ):
        short_run.train(c, tmp_path)


def test_laps_leave_images_to_train_on_beside_the_stretch():
    """Twelve laps of one split: the last tenth of its whole way would be every place."""
    c = config()
    c.validation.update(every=2, stretch=0.1)
    c.tuples.update(positive_radius=2.0, negative_radius=25.0, other_visit_seconds=60.0)
    places = memory_places.drive(n=40, laps=12)
    rest, held = validation.split_off(c, places, None)
    assert sorted(held.references.positions[:, 0]) == [360.0, 370.0, 380.0, 390.0]
    assert len(held.queries) == 11 * 4 and len(rest) == 12 * 34
    assert rest.positions[:, 0].max() == 330.0
    one = places.subset(np.arange(80))  # two laps: the last tenth of their way is a part of a lap
    _, held = validation.split_off(c, one, None)
    assert held.references.positions[:, 0].min() == 320.0 and len(held.references) == 8


def test_a_choice_by_other_descriptors_than_the_figures_is_told():
    c = config()
    assert validation.doubts(c, [[2, 50.0]]) == []
    c.eval.pca = 9
    assert validation.doubts(c, []) == []
    (told,) = validation.doubts(c, [[2, 50.0]])
    assert "validation chose by whole descriptors" in told and "eval.pca=9" in told


def test_pca_of_more_components_than_memory_holds_images_is_refused(tmp_path, monkeypatch):
    c = config()
    c.eval.pca = 9
    monkeypatch.setattr(whitening, "NUMBERS", 8 * 16)  # the model has 16 dimensions
    with pytest.raises(ConfigError, match=r"eval\.pca=9 must be below the \d training images"):
        refused_ahead(monkeypatch, c, tmp_path)
