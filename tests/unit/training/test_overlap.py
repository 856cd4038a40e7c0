"""The loop keeps the device busy: one compilation, no early read, no copy of the state."""

import contextlib
import re
import threading
import time
import types
import weakref

import jax
import numpy as np
import pytest

from tests.helpers import short_run
from tests.helpers.short_run import config, state_of
from vprjax import losses
from vprjax.console import progress
from vprjax.runtime import parallel
from vprjax.runtime.preemption import Preemption
from vprjax.training import begin, loop
from vprjax.training.step import TrainMetrics, TrainState


def count_traces(monkeypatch):
    counted, make = [], losses.make

    def counting(*settings):
        loss = make(*settings)

        def traced(*args):
            counted.append(1)
            return loss(*args)

        return traced

    monkeypatch.setattr(losses, "make", counting)
    return counted


@pytest.mark.parametrize("loss", ["triplet", "arcface"])
def test_the_step_compiles_once_over_a_whole_run(tmp_path, monkeypatch, capsys, loss):
    traces, stale = count_traces(monkeypatch), tmp_path / "descriptors" / "fine_tuned_test"
    stale.mkdir(parents=True)
    short_run.train(config(loss), tmp_path)
    assert not stale.exists()  # of an evaluation before these steps
    share = float(re.search(r"time: \d+ s: ([\d.]+)% for mining", capsys.readouterr().err)[1])
    assert (0 < share < 100) is (loss == "triplet")
    stale.mkdir(parents=True)
    short_run.train(config(loss), tmp_path)  # Finished: nothing is left to compile for.
    assert stale.exists()  # an evaluation that was cut goes on
    assert len(traces) == 1
    rows = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert len(rows) == 4  # steps 2, 4, 6 and the last, 7
    assert state_of(tmp_path)[1] == [0, 3, 6, 7]


@pytest.mark.parametrize("resumed", [False, True])
def test_training_holds_no_copy_of_the_state_but_the_devices(tmp_path, monkeypatch, resumed):
    c = config("arcface")
    if resumed:
        c.train.steps = 3
        short_run.train(c, tmp_path)
        c.train.steps = 7
    one_copy, alive = [], []
    replicate = parallel.replicate

    def watched(tree):
        if isinstance(tree, TrainState):
            one_copy.extend(weakref.ref(x) for x in jax.tree.leaves(tree) if x.ndim)
        return replicate(tree)

    def look(job, step_fn, current, step, collected):
        jax.block_until_ready(step_fn(current, begin.first_batch(job)))
        # XLA reads aligned host arrays in place; its thread drops them, at times behind the result,
        # and the next call frees what was dropped.
        late = time.monotonic() + 10
        while any(ref() is not None for ref in one_copy) and time.monotonic() < late:
            time.sleep(0.01)
            jax.block_until_ready(jax.numpy.zeros(()))
        alive.extend(x.shape for ref in one_copy if (x := ref()) is not None)

    monkeypatch.setattr(parallel, "replicate", watched)
    monkeypatch.setattr(loop, "run_rounds", look)
    short_run.train(c, tmp_path)
    assert one_copy and not alive


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

    monkeypatch.setattr(loop, "take_steps", under("disallow", loop.take_steps))
    monkeypatch.setattr(loop.Recorder, "add", under("allow", loop.Recorder.add, which=writes_a_row))
    for name in ("check_trap", "save"):
        monkeypatch.setattr(loop, name, under("allow", getattr(loop, name)))
    short_run.train(c, tmp_path)
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
    taken, empty = [], parallel.replicate(TrainMetrics.empty())

    def step(state, batch):
        assert all(isinstance(x, jax.Array) for x in jax.tree.leaves(batch))
        taken.append(state)
        return TrainState(*[Unread()] * 6), jax.tree.map(Unread, empty)

    rows = np.zeros((8, 4), np.int32)
    sampler = types.SimpleNamespace(indices=lambda n: rows)
    batch = lambda n, part: {"x": rows[part]}  # noqa: E731
    job = types.SimpleNamespace(config=c, sampler=sampler, held_out=None, batch=batch)
    recorder = loop.Recorder(c, tmp_path, 0)
    with contextlib.closing(recorder), progress("train", 8, "steps") as bar, pytest.raises(Read):
        loop.take_steps(job, step, None, 0, 8, recorder, bar, Preemption())
    assert len(taken) == 4


@pytest.mark.parametrize("loss", ["triplet", "arcface"])
def test_the_step_compiles_while_the_model_starts_with_the_shapes_it_will_have(
    tmp_path, monkeypatch, loss
):
    compiling, seen = threading.Event(), {}
    compile_step, start = begin.compile_step, begin.start_state

    def compiled(job, current):
        compiling.set()
        seen["ahead"] = current
        return compile_step(job, current)

    def started(job, weights):
        assert compiling.wait(30)  # in vain, if it came afterwards
        seen["real"] = start(job, weights)
        return seen["real"]

    monkeypatch.setattr(begin, "compile_step", compiled)
    monkeypatch.setattr(begin, "start_state", started)
    c = config(loss)
    c.optim.ema = 0.9
    c.train.steps = 1
    short_run.train(c, tmp_path)
    ahead, real = (
        jax.tree_util.tree_map_with_path(lambda path, x: (path, x.shape, x.dtype), seen[name])
        for name in ("ahead", "real")
    )
    assert ahead == real
