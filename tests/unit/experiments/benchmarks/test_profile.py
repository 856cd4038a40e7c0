"""What is read from a profiler's trace."""

import argparse
import types

import benchmark
import jax
import jax.numpy as jnp
import pytest
from benchmarks import models, profile, train_step

from configs import base


def event(name, start, duration, tid=1, pid=1, **args):
    return {"ph": "X", "pid": pid, "tid": tid, "name": name, "ts": start, "dur": duration} | (
        {"args": args} if args else {}
    )


def lane(name, tid, pid):
    return {"ph": "M", "name": "thread_name", "pid": pid, "tid": tid, "args": {"name": name}}


def operation(name, start, duration, tid=1, pid=1):
    return event(name, start, duration, tid, pid, hlo_op=name)


MADE_UP = [
    {"ph": "M", "pid": 1, "name": "process_name", "args": {"name": "/host:CPU"}},
    event("$train.py:1 step", 0.0, 99_000.0),  # Python, which holds no operation
    operation("while.1", 0.0, 10_000.0),
    operation("dot.7", 1_000.0, 4_000.0),
    operation("dot.7", 5_000.0, 4_000.0),
    operation("dot.12.clone", 10_000.0, 3_000.0),
    operation("copy", 10_500.0, 1_000.0, tid=2),  # another thread, at the same time
    {},
]


def test_a_loop_does_not_count_what_runs_within_it():
    found = profile.own_times(MADE_UP)
    assert found == {"while.1": (2, 1), "dot.7": (8, 2), "dot.12.clone": (3, 1), "copy": (1, 1)}


def test_the_table_sums_kinds_and_lists_the_longest_first():
    rows = profile.table(profile.own_times(MADE_UP), steps=2, top=9, origins={})
    kinds, single = ([r for r in rows if name in r] for name in ("kind", "operation"))
    assert kinds[0] == {"kind": "dot", "ms_a_step": 5.5, "calls_a_step": 1.5, "share": 0.7857}
    assert [r["operation"] for r in single] == ["dot.7", "dot.12.clone", "while.1", "copy"]
    for part in (kinds, single):
        assert sum(r["share"] for r in part) == pytest.approx(1, abs=1e-3)
    assert len(profile.table(profile.own_times(MADE_UP), 2, 1, {})) == 2


def test_the_lanes_of_operations_stand_for_the_whole_device():
    device = [
        lane("XLA Modules", 1, 3),
        lane("XLA Ops", 2, 3),
        lane("Stream #7", 9, 3),
        event("jit_step", 0.0, 9_000.0, tid=1, pid=3),
        event("fusion.4", 0.0, 5_000.0, tid=2, pid=3, long_name="%fusion.4 = ..."),
        event("volta_sgemm", 0.0, 5_000.0, tid=9, pid=3, hlo_op="fusion.4"),
    ]
    assert profile.own_times(device) == {"fusion.4": (5, 1)}
    streams = [e for e in device if e["tid"] == 9]
    assert profile.own_times(streams) == {"fusion.4": (5, 1)}
    with pytest.raises(SystemExit, match="no operation"):
        profile.own_times(device[:2])


@pytest.mark.parametrize(
    ("name", "kind"),
    [("dot.3", "dot"), ("add_fusion", "add_fusion"), ("copy.1.remat2.clone.4", "copy")],
)
def test_kinds(name, kind):
    assert profile.kind(name) == kind


class Tiny:
    """A step of one matrix product and a little beside it."""

    def __init__(self, pair, loss):
        self.x = jnp.ones((900, 900))
        self.compiled = jax.jit(lambda x: (x @ x, jnp.sin(x[0]))).lower(self.x).compile()

    def __call__(self):
        jax.block_until_ready(self.compiled(self.x))


def test_a_real_step_is_traced_and_its_largest_operation_is_first(tmp_path, monkeypatch, capsys):
    pair = types.SimpleNamespace(config=base.get_config())
    monkeypatch.setattr(models, "alone", lambda cell, args: pair)
    monkeypatch.setattr(train_step, "Ours", Tiny)
    args = argparse.Namespace(cell="", out=tmp_path, rounds=2, top=5)
    rows = profile.measure(args, benchmark.interleaved, benchmark.row)
    kinds, single = ([r for r in rows if name in r] for name in ("kind", "operation"))
    assert single[0]["of"].endswith("dot_general") and single[0]["calls_a_step"] == 1
    for part in (kinds, single):
        assert 0.5 < part[0]["share"] <= sum(r["share"] for r in part) <= 1.001
    assert "ms per step" in capsys.readouterr().out
