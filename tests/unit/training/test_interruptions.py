"""A run that is cut, wherever it is, goes on to the same bits; what is not its own is refused."""

import contextlib
import os
import signal

import jax
import numpy as np
import pytest

from tests.helpers import short_run
from tests.helpers.memory_places import drive
from tests.helpers.short_run import config, state_of
from vprjax.errors import ConfigError, Preempted
from vprjax.sampling import tuples
from vprjax.storage.checkpoint import Checkpoints, open_for_reading
from vprjax.storage.json_lines import read_rows
from vprjax.training import loop, validation


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
    short_run.train(c, tmp_path / "whole")
    add = loop.Recorder.add

    def stop(self, done, *rest):
        if done == cut:
            raise KeyboardInterrupt
        return add(self, done, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(loop.Recorder, "add", stop)
        with pytest.raises(KeyboardInterrupt):
            short_run.train(c, tmp_path / "cut")
    short_run.train(c, tmp_path / "cut")
    (whole, _), (resumed, _) = state_of(tmp_path / "whole"), state_of(tmp_path / "cut")
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(resumed), strict=True):
        assert a.tobytes() == b.tobytes()
    for name in ("metrics.jsonl", "validation.jsonl"):
        whole, resumed = ((tmp_path / run / name).read_text() for run in ("whole", "cut"))
        assert whole == resumed and len(whole.splitlines()) == 4


def test_a_mining_round_that_fails_later_loses_no_step(tmp_path, monkeypatch):
    c = config()
    c.train.checkpoint_every = 100
    mine = tuples.TupleSampler.mine

    def dry(self, step, describe):
        if step:
            raise ValueError("only 1 of the 2 mined images")
        mine(self, step, describe)

    with monkeypatch.context() as patch:
        patch.setattr(tuples.TupleSampler, "mine", dry)
        with pytest.raises(ConfigError, match="only 1 of the 2"):
            short_run.train(c, tmp_path)
    assert state_of(tmp_path)[1] == [0, 3]  # the first round's end, which no checkpoint was due at
    short_run.train(c, tmp_path)
    assert state_of(tmp_path)[1] == [0, 3, 7]


def test_what_a_killed_save_had_yet_to_remove_is_removed(tmp_path):
    c = config()
    short_run.train(c, tmp_path)
    assert state_of(tmp_path)[1] == [0, 3, 6, 7]
    c.train.keep_checkpoints = 1  # as if the save of step 7 had been killed ahead of its removals
    (tmp_path / "checkpoints/3/model/_METADATA").unlink()  # or amid them
    short_run.train(c, tmp_path)
    assert state_of(tmp_path)[1] == [0, 7]


def test_sigterm_saves_and_the_run_goes_on_to_the_same_bits(tmp_path, monkeypatch):
    for run in ("whole", "cut"):
        (tmp_path / run).mkdir()
    short_run.train(config(), tmp_path / "whole")
    add = loop.Recorder.add

    def terminate(self, done, *rest):
        if done == 5:
            os.kill(os.getpid(), signal.SIGTERM)
        return add(self, done, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(loop.Recorder, "add", terminate)
        with pytest.raises(Preempted, match="saved at step 5"):
            short_run.train(config(), tmp_path / "cut")
    assert state_of(tmp_path / "cut")[1] == [0, 3, 5]
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    short_run.train(config(), tmp_path / "cut")
    (whole, _), (resumed, _) = state_of(tmp_path / "whole"), state_of(tmp_path / "cut")
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(resumed), strict=True):
        assert a.tobytes() == b.tobytes()
    lines = [(tmp_path / run / "metrics.jsonl").read_text() for run in ("whole", "cut")]
    assert lines[0] == lines[1]


def test_sigterm_while_validating_saves_and_the_validation_is_made_up_for(tmp_path, monkeypatch):
    c = config()
    c.validation.update(every=3, stretch=0.2)
    measure = validation.Validation.measure

    def terminate(self, config, extract, variables, step):
        os.kill(os.getpid(), signal.SIGTERM)
        return measure(self, config, extract, variables, step)

    def killed(self, done, *rest):
        raise KeyboardInterrupt

    short_run.train(c, tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(validation.Validation, "measure", terminate)
        for _ in range(2):  # at step 3, and while it makes up for that
            with pytest.raises(Preempted, match="saved at step 3"):
                short_run.train(c, tmp_path / "cut")
    with monkeypatch.context() as patch:  # after it, with nothing saved of it
        patch.setattr(loop.Recorder, "add", killed)
        with pytest.raises(KeyboardInterrupt):
            short_run.train(c, tmp_path / "cut")
    short_run.train(c, tmp_path / "cut")
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

    amended = Checkpoints.amend
    monkeypatch.setattr(Checkpoints, "amend", amend)
    monkeypatch.setattr(validation.Validation, "measure", measure)
    ending = pytest.raises(Preempted if how == "terminated" else KeyboardInterrupt)
    for run, cut in (("whole", False), ("cut", True), ("cut", False)):
        with ending if cut else contextlib.nullcontext():
            short_run.train(c, tmp_path / run)
    for name in ("metrics", "validation"):
        whole, made_up = (read_rows(tmp_path / run / f"{name}.jsonl") for run in ("whole", "cut"))
        assert whole == made_up and whole[-1]["step"] == last
    rows = [
        open_for_reading(tmp_path / run).config(last)["validations"] for run in ("whole", "cut")
    ]
    assert rows[0] == rows[1] == [[2, 2.0], [4, 4.0], [last, 4.0]]
    short_run.train(c, tmp_path / "cut")  # nothing is left to do
    assert len(read_rows(tmp_path / "cut" / "validation.jsonl")) == 3


@pytest.mark.parametrize("when", ["step", "validation"])
def test_sigterm_at_the_last_step_ends_the_run_too(tmp_path, monkeypatch, when):
    c = config()
    c.validation.update(every=7, stretch=0.1)
    patched = loop.Recorder if when == "step" else validation.Validation
    name = "add" if when == "step" else "measure"
    original = getattr(patched, name)

    def terminate(self, *rest):
        if when == "validation" or rest[0] == 7:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(self, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(patched, name, terminate)
        with pytest.raises(Preempted, match="saved at step 7"):
            short_run.train(c, tmp_path)
    assert state_of(tmp_path)[1][-1] == 7
    short_run.train(c, tmp_path)  # nothing is left to do, but for the validation
    assert [row[0] for row in open_for_reading(tmp_path).config(7)["validations"]] == [7]


def test_sigterm_while_mining_saves_what_came_before(tmp_path, monkeypatch):
    """Ahead of the first tuple of a round, and behind the last of another, which is mined anew."""
    c = config()
    c.train.update(checkpoint_every=7)
    c.tuples.update(mining_pool=12, remembered=2)
    for run in ("whole", "cut"):
        (tmp_path / run).mkdir()
    short_run.train(c, tmp_path / "whole")
    mine, seen = loop.mine_round, []

    for ahead, behind in ((3, None), (None, 6)):

        def terminate(job, step, current, ahead=ahead, behind=behind):
            if step == ahead:
                os.kill(os.getpid(), signal.SIGTERM)
            before = job.sampler.remembered
            mine(job, step, current)
            if step == behind:
                assert not np.array_equal(job.sampler.remembered, before)
                seen.append((job.sampler, before))
                os.kill(os.getpid(), signal.SIGTERM)

        with monkeypatch.context() as patch:
            patch.setattr(loop, "mine_round", terminate)
            with pytest.raises(Preempted, match=f"saved at step {ahead or behind}"):
                short_run.train(c, tmp_path / "cut")
    ((sampler, before),) = seen
    np.testing.assert_array_equal(sampler.remembered, before)  # as it was saved
    assert state_of(tmp_path / "cut")[1] == [0, 3, 6]
    short_run.train(c, tmp_path / "cut")
    (whole, _), (resumed, _) = state_of(tmp_path / "whole"), state_of(tmp_path / "cut")
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(resumed), strict=True):
        assert a.tobytes() == b.tobytes()
    lines = [(tmp_path / run / "metrics.jsonl").read_text() for run in ("whole", "cut")]
    assert lines[0] == lines[1]


def test_another_runs_workdir_is_refused_and_left_as_it_is(tmp_path):
    short_run.train(config("triplet"), tmp_path)
    before = state_of(tmp_path)
    with pytest.raises(ConfigError, match=r"holds a run with loss\.name='triplet'"):
        short_run.train(config("arcface"), tmp_path)
    after = state_of(tmp_path)
    assert before[1] == after[1] and not list(tmp_path.rglob("*.damaged"))


def test_images_that_were_built_anew_are_other_images(tmp_path, monkeypatch):
    c = config()
    c.train.steps = 0
    short_run.train(c, tmp_path)
    short_run.train(c, tmp_path)
    anew = drive(size=(9, 10))  # the same places, at another size
    monkeypatch.setattr(short_run, "DRIVE", lambda: anew)
    with pytest.raises(ConfigError, match="holds a run with image_set="):
        short_run.train(c, tmp_path)


def test_a_damaged_checkpoint_is_set_aside(tmp_path, capsys):
    c = config()
    short_run.train(c, tmp_path)
    whole, _ = state_of(tmp_path)
    rows = (tmp_path / "metrics.jsonl").read_text()
    parts = [p for p in (tmp_path / "checkpoints" / "7").rglob("*") if p.is_file()]
    largest = max(parts, key=lambda p: p.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:100])
    short_run.train(c, tmp_path)
    assert "set aside" in capsys.readouterr().err and (tmp_path / "checkpoints/7.damaged").is_dir()
    again, steps = state_of(tmp_path)
    assert steps == [0, 3, 6, 7] and (tmp_path / "metrics.jsonl").read_text() == rows
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(again), strict=True):
        assert a.tobytes() == b.tobytes()
