"""The host loop: one compilation a run, resume to the bit, a trap for what is not finite."""

import contextlib
import os
import re
import signal
import threading
import types
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from memory_places import drive

from configs import base
from vprjax import (
    batch_losses,
    build,
    extraction,
    optim,
    parallel,
    train,
    train_step,
    whitening,
)
from vprjax.checkpoint import open_for_reading
from vprjax.data import pipeline
from vprjax.errors import ConfigError, Preempted, TrainingError
from vprjax.metric_writer import progress, read_rows
from vprjax.preemption import Preemption


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
    c.train.update(steps=7, log_every=2, checkpoint_every=3)  # saves between two logged rows too
    c.eval.batch = 16
    return c


def state_of(folder):
    reader = open_for_reading(folder)
    return reader.restore_model(reader.steps()[-1]), reader.steps()


def count_traces(monkeypatch, name):
    counted = []
    make = getattr(batch_losses, name)

    def counting(*settings):
        loss = make(*settings)

        def traced(*args):
            counted.append(1)
            return loss(*args)

        return traced

    monkeypatch.setattr(batch_losses, name, counting)
    return counted


@pytest.mark.parametrize(("loss", "maker"), [("triplet", "tuple_loss"), ("arcface", "place_loss")])
def test_the_step_compiles_once_over_a_whole_run(tmp_path, monkeypatch, capsys, loss, maker):
    traces, stale = count_traces(monkeypatch, maker), tmp_path / "descriptors" / "fine_tuned_test"
    stale.mkdir(parents=True)
    train.train(config(loss), tmp_path, None, {})
    assert not stale.exists()  # of an evaluation before these steps
    share = float(re.search(r"of it ([\d.]+)% for mining", capsys.readouterr().err)[1])
    assert (0 < share < 100) is (loss == "triplet")
    stale.mkdir(parents=True)
    train.train(config(loss), tmp_path, None, {})  # Finished: nothing is left to compile for.
    assert stale.exists()  # an evaluation that was cut goes on
    assert len(traces) == 1
    rows = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert len(rows) == 4  # steps 2, 4, 6 and the last, 7
    assert state_of(tmp_path)[1] == [0, 3, 6, 7]


@pytest.mark.parametrize("loss", ["triplet", "contrastive", "arcface"])
@pytest.mark.parametrize("cut", [2, 5])
def test_resume_gives_the_same_bits(tmp_path, monkeypatch, loss, cut):
    for run in ("whole", "cut"):
        (tmp_path / run).mkdir()
    c = config(loss)
    c.optim.ema = 0.9
    c.model.batch_norm = "train" if cut == 5 else "frozen"
    c.tuples.update(mining_pool=40, remembered=1)
    c.validation.update(every=2, stretch=0.1)
    train.train(c, tmp_path / "whole", None, {})
    add = train.Recorder.add

    def stop(self, done, *rest):
        if done == cut:
            raise KeyboardInterrupt
        return add(self, done, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(train.Recorder, "add", stop)
        with pytest.raises(KeyboardInterrupt):
            train.train(c, tmp_path / "cut", None, {})
    train.train(c, tmp_path / "cut", None, {})
    (whole, _), (resumed, _) = state_of(tmp_path / "whole"), state_of(tmp_path / "cut")
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(resumed), strict=True):
        assert a.tobytes() == b.tobytes()
    for name in ("metrics.jsonl", "validation.jsonl"):
        whole, resumed = ((tmp_path / run / name).read_text() for run in ("whole", "cut"))
        assert whole == resumed and len(whole.splitlines()) == 4


def test_more_components_than_dimensions_are_refused_before_training(tmp_path):
    c = config("triplet")
    c.eval.pca = 10**6
    with pytest.raises(ConfigError, match=r"eval\.pca=1000000 must be at most the \d+ dimensions"):
        train.train(c, tmp_path, None, {})
    assert not list(tmp_path.iterdir())


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


@pytest.mark.parametrize("batch_norm", ["frozen", "train"])
def test_the_head_may_train_alone(tmp_path, batch_norm):
    c = config()
    c.model.update(train_from="head", pooling="netvlad", projection=8, batch_norm=batch_norm)
    c.model.netvlad_clusters = 4
    c.optim.weight_decay = 0.1
    train.train(c, tmp_path, None, {})
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
    train.train(c, tmp_path, None, {})
    reader = open_for_reading(tmp_path)
    before, after = (jax.tree.leaves(reader.restore_model(s)["batch_stats"]) for s in (0, 7))
    assert all((a != b).any() for a, b in zip(before, after, strict=True))


def test_what_is_not_finite_is_trapped_and_the_checkpoint_survives(tmp_path, monkeypatch):
    c = config()
    c.optim.update(name="sgd", clip_norm=0.0, learning_rate=1e30)
    with pytest.raises(TrainingError, match=r"not finite at step \d, on images train/\d+, train/"):
        train.train(c, tmp_path, None, {})
    model, steps = state_of(tmp_path)
    assert steps == [0] and all(np.isfinite(x).all() for x in jax.tree.leaves(model["params"]))


def test_too_few_negatives_is_a_config_error(tmp_path):
    c = config()
    c.tuples.negative_radius = 1e6
    with pytest.raises(ConfigError, match="lie beyond the negative radius"):
        train.train(c, tmp_path, None, {})


def test_a_mining_round_that_fails_later_loses_no_step(tmp_path, monkeypatch):
    c = config()
    c.train.checkpoint_every = 100
    mine = pipeline.TupleSampler.mine

    def dry(self, step, describe):
        if step:
            raise ValueError("only 1 of the 2 mined images")
        mine(self, step, describe)

    with monkeypatch.context() as patch:
        patch.setattr(pipeline.TupleSampler, "mine", dry)
        with pytest.raises(ConfigError, match="only 1 of the 2"):
            train.train(c, tmp_path, None, {})
    assert state_of(tmp_path)[1] == [0, 3]  # the first round's end, which no checkpoint was due at
    train.train(c, tmp_path, None, {})
    assert state_of(tmp_path)[1] == [0, 3, 7]


@pytest.mark.parametrize("resumed", [False, True])
def test_training_holds_no_copy_of_the_state_but_the_devices(tmp_path, monkeypatch, resumed):
    c = config("arcface")
    if resumed:
        c.train.steps = 3
        train.train(c, tmp_path, None, {})
        c.train.steps = 7
    one_copy, alive = [], []
    replicate = parallel.replicate

    def watched(tree):
        if isinstance(tree, train_step.TrainState):
            one_copy.extend(weakref.ref(x) for x in jax.tree.leaves(tree) if x.ndim)
        return replicate(tree)

    def look(job, step_fn, current, step, collected):
        jax.block_until_ready(step_fn(current, train._first_batch(job)))
        alive.extend(x.shape for ref in one_copy if (x := ref()) is not None)

    monkeypatch.setattr(parallel, "replicate", watched)
    monkeypatch.setattr(train, "_run", look)
    train.train(c, tmp_path, None, {})
    assert one_copy and not alive


def test_images_too_small_for_the_backbone_are_refused():
    c = config()
    c.model.update(backbone="vgg16", stage="")
    tiny = types.SimpleNamespace(images=lambda _: np.zeros((1, 12, 40, 3), np.uint8))
    with pytest.raises(ConfigError, match="images of 12 x 40 pixels are too small"):
        extraction.model_shapes(build.model(c.model), tiny)


def test_the_trap_names_the_first_step_and_tensor_and_keeps_the_parameters(tmp_path, monkeypatch):
    augment = build.transforms.augment

    def poisoned(images, key, **settings):
        # Image 79 turns to NaN, as a fault in the data path would make them.
        x = augment(images, key, **settings)
        return jnp.where(images.max() >= 79, jnp.nan, x)

    c = config("contrastive")
    c.augment.update(contrast=0.0, noise=0.0)
    c.train.update(steps=40, log_every=20, checkpoint_every=20)
    monkeypatch.setattr(build.transforms, "augment", poisoned)
    with pytest.raises(TrainingError) as caught:
        train.train(c, tmp_path, None, {})
    words = str(caught.value)
    assert words.startswith("descriptors is not finite at step ") and "train/79" in words
    first = int(words.split("at step ")[1].split(",")[0])
    assert first >= 1 and state_of(tmp_path)[1] == [0]


def models_without_and_with_mean(c, tmp_path, steps):
    found = []
    for ema in (0.0, 0.9):
        folder = tmp_path / str(ema)
        folder.mkdir()
        c.optim.ema = ema
        train.train(c, folder, None, {})
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

    monkeypatch.setattr(train.validation.Validation, "measure", measure)
    c = config()
    c.validation.update(every=2, stretch=0.2, patience=2)
    c.train.update(steps=20, keep_checkpoints=1, checkpoint_every=20, log_every=5)
    train.train(c, tmp_path, None, {})
    reader = open_for_reading(tmp_path)
    assert reader.steps() == [0, 4, 8]  # untrained, best, last: steps 10 to 20 were not taken
    assert reader.config(8)["validations"] == [[2, 1.0], [4, 9.0], [6, 5.0], [8, 4.0]]
    for name in ("metrics", "timing"):  # the last steps have a row, too
        assert [row["step"] for row in read_rows(tmp_path / f"{name}.jsonl")] == [5, 8]
    c.train.steps = 30  # more steps change nothing: it says so
    capsys.readouterr()
    train.train(c, tmp_path, None, {})
    assert "stopped early: of 4 validations step 4's was best" in capsys.readouterr().err


def test_what_a_killed_save_had_yet_to_remove_is_removed(tmp_path):
    c = config()
    train.train(c, tmp_path, None, {})
    assert state_of(tmp_path)[1] == [0, 3, 6, 7]
    c.train.keep_checkpoints = 1  # as if the save of step 7 had been killed ahead of its removals
    (tmp_path / "checkpoints/3/model/_METADATA").unlink()  # or amid them
    train.train(c, tmp_path, None, {})
    assert state_of(tmp_path)[1] == [0, 7]


def test_sigterm_saves_and_the_run_goes_on_to_the_same_bits(tmp_path, monkeypatch):
    for run in ("whole", "cut"):
        (tmp_path / run).mkdir()
    train.train(config(), tmp_path / "whole", None, {})
    add = train.Recorder.add

    def terminate(self, done, *rest):
        if done == 5:
            os.kill(os.getpid(), signal.SIGTERM)
        return add(self, done, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(train.Recorder, "add", terminate)
        with pytest.raises(Preempted, match="saved at step 5"):
            train.train(config(), tmp_path / "cut", None, {})
    assert state_of(tmp_path / "cut")[1] == [0, 3, 5]
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    train.train(config(), tmp_path / "cut", None, {})
    (whole, _), (resumed, _) = state_of(tmp_path / "whole"), state_of(tmp_path / "cut")
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(resumed), strict=True):
        assert a.tobytes() == b.tobytes()
    lines = [(tmp_path / run / "metrics.jsonl").read_text() for run in ("whole", "cut")]
    assert lines[0] == lines[1]


def test_sigterm_while_validating_saves_and_the_validation_is_made_up_for(tmp_path, monkeypatch):
    c = config()
    c.validation.update(every=3, stretch=0.2)
    measure = train.validation.Validation.measure

    def terminate(self, config, extract, variables, step):
        os.kill(os.getpid(), signal.SIGTERM)
        return measure(self, config, extract, variables, step)

    def killed(self, done, *rest):
        raise KeyboardInterrupt

    train.train(c, tmp_path / "whole", None, {})
    with monkeypatch.context() as patch:
        patch.setattr(train.validation.Validation, "measure", terminate)
        for _ in range(2):  # at step 3, and while it makes up for that
            with pytest.raises(Preempted, match="saved at step 3"):
                train.train(c, tmp_path / "cut", None, {})
    with monkeypatch.context() as patch:  # after it, with nothing saved of it
        patch.setattr(train.Recorder, "add", killed)
        with pytest.raises(KeyboardInterrupt):
            train.train(c, tmp_path / "cut", None, {})
    train.train(c, tmp_path / "cut", None, {})
    for name in ("metrics", "validation"):
        lines = [(tmp_path / run / f"{name}.jsonl").read_text() for run in ("whole", "cut")]
        assert lines[0] == lines[1]
    rows = [open_for_reading(tmp_path / run).config(7)["validations"] for run in ("whole", "cut")]
    assert rows[0] == rows[1] and [row[0] for row in rows[0]] == [3, 6, 7]  # the last step, too


@pytest.mark.parametrize("how", ["terminated", "killed"])
@pytest.mark.parametrize("ends_by", ["patience", "steps"])
def test_a_last_validation_that_was_cut_is_made_up_for(tmp_path, monkeypatch, ends_by, how):
    c = config()
    c.train.update(log_every=4, checkpoint_every=20, steps=5 if ends_by == "steps" else 20)
    c.validation.update(every=2, stretch=0.2, patience=0 if ends_by == "steps" else 1)
    last = 5 if ends_by == "steps" else 6

    def measure(self, config, extract, variables, step):
        if step == last and cut and how == "terminated":
            os.kill(os.getpid(), signal.SIGTERM)
        return {"2": 0.0, "mean": float(min(step, 4))}

    def amend(self, step, changes):
        if step == last and cut and how == "killed":  # when all else of it is written
            raise KeyboardInterrupt
        return amended(self, step, changes)

    amended = train.Checkpoints.amend
    monkeypatch.setattr(train.Checkpoints, "amend", amend)
    monkeypatch.setattr(train.validation.Validation, "measure", measure)
    ending = pytest.raises(Preempted if how == "terminated" else KeyboardInterrupt)
    for run, cut in (("whole", False), ("cut", True), ("cut", False)):
        with ending if cut else contextlib.nullcontext():
            train.train(c, tmp_path / run, None, {})
    for name in ("metrics", "validation"):
        whole, made_up = (read_rows(tmp_path / run / f"{name}.jsonl") for run in ("whole", "cut"))
        assert whole == made_up and whole[-1]["step"] == last
    rows = [
        open_for_reading(tmp_path / run).config(last)["validations"] for run in ("whole", "cut")
    ]
    assert rows[0] == rows[1] == [[2, 2.0], [4, 4.0], [last, 4.0]]
    train.train(c, tmp_path / "cut", None, {})  # nothing is left to do
    assert len(read_rows(tmp_path / "cut" / "validation.jsonl")) == 3


@pytest.mark.parametrize(("mining", "warned"), [("hard", True), ("random", False)])
def test_mining_for_steps_that_never_come_is_warned_of(
    tmp_path, monkeypatch, capsys, mining, warned
):
    c = config()
    c.tuples.update(mining_interval=8, mining=mining, positive="random")
    monkeypatch.setattr(train, "_run", lambda *_: None)
    train.train(c, tmp_path, None, {})
    words = "tuples.mining_interval=8 steps, and train.steps is 7: lower the interval"
    assert (words in capsys.readouterr().err) == warned


@pytest.mark.parametrize("when", ["step", "validation"])
def test_sigterm_at_the_last_step_ends_the_run_too(tmp_path, monkeypatch, when):
    c = config()
    c.validation.update(every=7, stretch=0.1)
    patched = train.Recorder if when == "step" else train.validation.Validation
    name = "add" if when == "step" else "measure"
    original = getattr(patched, name)

    def terminate(self, *rest):
        if when == "validation" or rest[0] == 7:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(self, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(patched, name, terminate)
        with pytest.raises(Preempted, match="saved at step 7"):
            train.train(c, tmp_path, None, {})
    assert state_of(tmp_path)[1][-1] == 7
    train.train(c, tmp_path, None, {})  # nothing is left to do, but for the validation
    assert [row[0] for row in open_for_reading(tmp_path).config(7)["validations"]] == [7]


def test_sigterm_while_mining_saves_what_came_before(tmp_path, monkeypatch):
    c = config()
    c.train.update(checkpoint_every=7)
    for run in ("whole", "cut"):
        (tmp_path / run).mkdir()
    train.train(c, tmp_path / "whole", None, {})
    mine = train._mine

    def terminate(job, step, current):
        if step == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        mine(job, step, current)

    with monkeypatch.context() as patch:
        patch.setattr(train, "_mine", terminate)
        with pytest.raises(Preempted, match="saved at step 3"):
            train.train(c, tmp_path / "cut", None, {})
    assert state_of(tmp_path / "cut")[1] == [0, 3]
    train.train(c, tmp_path / "cut", None, {})
    (whole, _), (resumed, _) = state_of(tmp_path / "whole"), state_of(tmp_path / "cut")
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(resumed), strict=True):
        assert a.tobytes() == b.tobytes()
    lines = [(tmp_path / run / "metrics.jsonl").read_text() for run in ("whole", "cut")]
    assert lines[0] == lines[1]


def test_another_runs_workdir_is_refused_and_left_as_it_is(tmp_path):
    train.train(config("triplet"), tmp_path, None, {})
    before = state_of(tmp_path)
    with pytest.raises(ConfigError, match=r"holds a run with loss\.name='triplet'"):
        train.train(config("arcface"), tmp_path, None, {})
    after = state_of(tmp_path)
    assert before[1] == after[1] and not list(tmp_path.rglob("*.damaged"))


def test_images_that_were_built_anew_are_other_images(tmp_path, monkeypatch):
    c = config()
    c.train.steps = 0
    train.train(c, tmp_path, None, {})
    train.train(c, tmp_path, None, {})
    anew = drive(size=(9, 10))  # the same places, at another size
    monkeypatch.setattr(train.source, "load", lambda config, splits: anew)
    with pytest.raises(ConfigError, match="holds a run with image_set="):
        train.train(c, tmp_path, None, {})


@pytest.mark.parametrize(("saved", "mined", "validated"), [(1, 3, 0), (100, 1, 0), (100, 100, 1)])
def test_an_update_that_breaks_a_parameter_is_not_saved_nor_mined_with(
    tmp_path, saved, mined, validated
):
    c = config()
    c.validation.update(every=validated, stretch=0.1)
    c.optim.update(name="sgd", clip_norm=0.0, learning_rate=3e38, gem_p_rate=1e3, warmup_steps=0)
    c.train.update(checkpoint_every=saved)
    c.tuples.mining_interval = mined
    with pytest.raises(TrainingError, match="not finite at step 1, on images train/"):
        train.train(c, tmp_path, None, {})
    assert state_of(tmp_path)[1] == [0]


def test_the_stretch_needs_another_visit_not_the_frame_next_door(tmp_path):
    c = config()
    c.tuples.other_visit_seconds = 0.0
    c.validation.update(every=2, stretch=0.1)
    with pytest.raises(ConfigError, match="leaves 0 queries from another visit"):
        train.train(c, tmp_path, None, {})


def test_pca_of_more_components_than_memory_holds_images_is_refused(tmp_path, monkeypatch):
    c = config()
    c.eval.pca = 9
    monkeypatch.setattr(whitening, "NUMBERS", 8 * 16)  # the model has 16 dimensions
    with pytest.raises(ConfigError, match=r"eval\.pca=9 must be below the \d training images"):
        train.train(c, tmp_path, None, {})


def test_a_damaged_checkpoint_is_set_aside(tmp_path, capsys):
    c = config()
    train.train(c, tmp_path, None, {})
    whole, _ = state_of(tmp_path)
    rows = (tmp_path / "metrics.jsonl").read_text()
    parts = [p for p in (tmp_path / "checkpoints" / "7").rglob("*") if p.is_file()]
    largest = max(parts, key=lambda p: p.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:100])
    train.train(c, tmp_path, None, {})
    assert "set aside" in capsys.readouterr().err and (tmp_path / "checkpoints/7.damaged").is_dir()
    again, steps = state_of(tmp_path)
    assert steps == [0, 3, 6, 7] and (tmp_path / "metrics.jsonl").read_text() == rows
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(again), strict=True):
        assert a.tobytes() == b.tobytes()


def test_between_two_rows_nothing_is_transferred_unasked(tmp_path, monkeypatch):
    """On a CPU the guard sees NumPy arrays and numbers that go to a device, but no read of a result.

    It holds for one thread alone, and not for an explicit `device_put`: batches are put ahead elsewhere.
    """
    c = config()
    c.tuples.mining_interval = 8  # one call of `_steps`
    c.train.update(steps=7, log_every=3, checkpoint_every=7)
    guarded = []

    def under(level, function, which=lambda *args: True):
        def call(*args):
            with jax.transfer_guard(level) if which(*args) else contextlib.nullcontext():
                guarded.append(jax.config.jax_transfer_guard_host_to_device)
                return function(*args)

        return call

    def writes_a_row(self, done, *rest):
        return done in (3, 6, 7)

    monkeypatch.setattr(train, "_steps", under("disallow", train._steps))
    monkeypatch.setattr(
        train.Recorder, "add", under("allow", train.Recorder.add, which=writes_a_row)
    )
    for name in ("check_trap", "_save"):
        monkeypatch.setattr(train, name, under("allow", getattr(train, name)))
    train.train(c, tmp_path, None, {})
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 3
    assert guarded.count("disallow") == 1 + 4  # `_steps` itself and the steps 1, 2, 4 and 5


class Read(Exception):
    """A result was read or waited for."""


class Unread:
    """Stands for an array that is still being computed: it has a shape and can be added to, no more."""

    def __init__(self, like=None):
        self.shape = np.shape(like)

    def __add__(self, other):
        return self

    __radd__ = __add__

    def _read(self, *args, **settings):
        raise Read

    __array__ = __bool__ = __float__ = __getitem__ = __index__ = __int__ = __iter__ = _read
    addressable_shards = block_until_ready = copy_to_host_async = is_ready = item = property(_read)


def test_the_loop_neither_reads_nor_awaits_a_step_before_the_row_is_due(tmp_path):
    c = config()
    c.train.update(steps=8, log_every=4, checkpoint_every=8)
    taken, empty = [], parallel.replicate(train_step.TrainMetrics.empty())

    def step(state, batch):
        assert all(isinstance(x, jax.Array) for x in jax.tree.leaves(batch))
        taken.append(state)
        return train_step.TrainState(*[Unread()] * 6), jax.tree.map(Unread, empty)

    rows = np.zeros((8, 4), np.int32)
    sampler = types.SimpleNamespace(indices=lambda n: rows, batch=lambda n, part: {"x": rows[part]})
    job = types.SimpleNamespace(config=c, sampler=sampler, validation=None)
    recorder = train.Recorder(c, tmp_path, 0)
    with contextlib.closing(recorder), progress("train", 8, "steps") as bar, pytest.raises(Read):
        train._steps(job, step, None, 0, 8, recorder, bar, Preemption())
    assert len(taken) == 4


@pytest.mark.parametrize("loss", ["triplet", "arcface"])
def test_the_step_compiles_while_the_model_starts_with_the_shapes_it_will_have(
    tmp_path, monkeypatch, loss
):
    compiling, seen = threading.Event(), {}
    compile_step, start = train._compile_step, train._start

    def compiled(job, current):
        compiling.set()
        seen["ahead"] = current
        return compile_step(job, current)

    def started(job, weights):
        assert compiling.wait(30)  # in vain, if it came afterwards
        seen["real"] = start(job, weights)
        return seen["real"]

    monkeypatch.setattr(train, "_compile_step", compiled)
    monkeypatch.setattr(train, "_start", started)
    c = config(loss)
    c.optim.ema = 0.9
    c.train.steps = 1
    train.train(c, tmp_path, None, {})
    ahead, real = (
        jax.tree_util.tree_map_with_path(lambda path, x: (path, x.shape, x.dtype), seen[name])
        for name in ("ahead", "real")
    )
    assert ahead == real
