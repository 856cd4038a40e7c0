"""The host loop: one compilation a run, resume to the bit, a trap for what is not finite."""

import jax
import numpy as np
import pytest
from memory_places import drive

from configs import base
from vprjax import train, train_step
from vprjax.checkpoint import open_for_reading
from vprjax.errors import ConfigError, TrainingError


@pytest.fixture(autouse=True)
def places(monkeypatch):
    monkeypatch.setattr(train.source, "load", lambda config, splits: drive())


def config(loss="triplet"):
    c = base.get_config()
    c.model.update(backbone="mobilenetv2", stage="expanded_conv")
    c.loss.name = loss
    c.tuples.update(batch=8, negatives=2, mining_interval=3, other_visit_seconds=100.0)
    c.places.update(batch_places=8, images_per_place=2, min_images=2)
    c.augment.update(contrast=0.2, noise=2.0)
    c.optim.update(learning_rate=1e-3, warmup_steps=2)
    c.train.update(steps=7, log_every=2, checkpoint_every=2)
    c.eval.batch = 16
    return c


def state_of(folder):
    reader = open_for_reading(folder)
    return reader.restore_model(reader.steps()[-1]), reader.steps()


def count_traces(monkeypatch, name):
    counted = []
    make = getattr(train_step, name)

    def counting(loss_config):
        loss = make(loss_config)

        def traced(*args):
            counted.append(1)
            return loss(*args)

        return traced

    monkeypatch.setattr(train_step, name, counting)
    return counted


@pytest.mark.parametrize(("loss", "maker"), [("triplet", "tuple_loss"), ("arcface", "place_loss")])
def test_the_step_compiles_once_over_a_whole_run(tmp_path, monkeypatch, loss, maker):
    traces = count_traces(monkeypatch, maker)
    train.train(config(loss), tmp_path, None, {})
    assert len(traces) == 1
    rows = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert len(rows) == 4  # steps 2, 4, 6 and the last, 7
    assert state_of(tmp_path)[1] == [0, 4, 6, 7]


@pytest.mark.parametrize("loss", ["triplet", "contrastive", "arcface"])
@pytest.mark.parametrize("cut", [3, 5])
def test_resume_gives_the_same_bits(tmp_path, monkeypatch, loss, cut):
    for run in ("whole", "cut"):
        (tmp_path / run).mkdir()
    train.train(config(loss), tmp_path / "whole", None, {})
    add = train.Recorder.add

    def stop(self, done, *rest):
        if done == cut:
            raise KeyboardInterrupt
        return add(self, done, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(train.Recorder, "add", stop)
        with pytest.raises(KeyboardInterrupt):
            train.train(config(loss), tmp_path / "cut", None, {})
    train.train(config(loss), tmp_path / "cut", None, {})
    (whole, _), (resumed, _) = state_of(tmp_path / "whole"), state_of(tmp_path / "cut")
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(resumed), strict=True):
        assert a.tobytes() == b.tobytes()
    lines = [(tmp_path / run / "metrics.jsonl").read_text() for run in ("whole", "cut")]
    assert lines[0] == lines[1]


def test_training_moves_what_it_should(tmp_path):
    c = config("arcface")
    c.model.train_from = "expanded_conv"
    train.train(c, tmp_path, None, {})
    reader = open_for_reading(tmp_path)
    before, after = reader.restore_model(0), reader.restore_model(7)
    frozen, free = "Conv1", "expanded_conv"
    for name, moved in ((frozen, False), (free, True)):
        old, new = (jax.tree.leaves(v["params"]["backbone"][name]) for v in (before, after))
        assert any((a != b).any() for a, b in zip(old, new, strict=True)) is moved
    assert before["params"]["pooling"]["p"] != after["params"]["pooling"]["p"]
    statistics = [jax.tree.leaves(v["batch_stats"]) for v in (before, after)]
    assert all((a == b).all() for a, b in zip(*statistics, strict=True))


def test_batch_statistics_train_when_asked(tmp_path):
    c = config()
    c.model.batch_norm = "train"
    train.train(c, tmp_path, None, {})
    reader = open_for_reading(tmp_path)
    before, after = (jax.tree.leaves(reader.restore_model(s)["batch_stats"]) for s in (0, 7))
    assert all((a != b).any() for a, b in zip(before, after, strict=True))


def test_what_is_not_finite_is_trapped_and_the_checkpoint_survives(tmp_path, monkeypatch):
    c = config()
    c.optim.update(name="sgd", clip_norm=0.0, learning_rate=1e30)
    with pytest.raises(TrainingError, match="not finite at step"):
        train.train(c, tmp_path, None, {})
    model, steps = state_of(tmp_path)
    assert steps == [0] and all(np.isfinite(x).all() for x in jax.tree.leaves(model["params"]))


def test_too_few_negatives_is_a_config_error(tmp_path):
    c = config()
    c.tuples.negative_radius = 1e6
    with pytest.raises(ConfigError, match="lie beyond the negative radius"):
        train.train(c, tmp_path, None, {})
