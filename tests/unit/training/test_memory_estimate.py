"""The peak that is told before the first step, against the one that is measured."""

import os
import re
import subprocess
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers import short_run
from tests.helpers.commands import USERS
from tests.helpers.memory_places import drive
from tests.helpers.short_run import config
from vprjax.errors import ConfigError
from vprjax.runtime import memory, parallel
from vprjax.training import begin, loop, memory_estimate

# VGG16's first two stages at 160x160: a step of some 2 GB, beside which the libraries are small.
PROGRAM = """
import pathlib, sys
from tests.helpers.memory_places import drive
from tests.helpers import short_run
short_run.DRIVE = lambda: drive(size=(160, 160))
c = short_run.config()
c.model.update(backbone="vgg16", stage="conv2")
c.train.update(steps=2)
c.tuples.update(batch=4)
short_run.train(c, pathlib.Path(sys.argv[1]))
"""


def test_the_estimate_is_near_what_is_measured(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        env={**os.environ, **USERS, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    estimated = float(re.search(r"peaks near ([\d.]+) GiB of this machine", done.stderr)[1])
    measured = float(re.search(r"memory: ([\d.]+) GiB at the measured peak", done.stderr)[1])
    assert 1 < measured and estimated == pytest.approx(measured, rel=0.2)


def test_what_cannot_fit_is_refused_and_a_smaller_step_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(short_run, "DRIVE", lambda: drive(size=(48, 64)))
    c = config()
    c.tuples.batch, c.train.steps = 16, 1
    found = []
    with monkeypatch.context() as patch:
        patch.setattr(
            memory_estimate, "check", lambda config, estimate, *held: found.append(estimate)
        )
        patch.setattr(loop, "run_rounds", lambda *args: None)
        short_run.train(c, tmp_path)
    (tmp_path / "tight").mkdir()
    monkeypatch.setattr(memory, "available", lambda: int(0.8 * found[0].further))
    words = r"GiB are free\): it does not fit; lower tuples.batch=16, raise train.accumulate=1, "
    with pytest.raises(
        ConfigError, match=words + "set model.remat=True or set model.compute_dtype"
    ):
        short_run.train(c, tmp_path / "tight")
    assert not list((tmp_path / "tight").glob("checkpoints/*"))
    c.tuples.batch = 8
    short_run.train(c, tmp_path / "tight")
    assert (tmp_path / "tight" / "metrics.jsonl").exists()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, True),
        ({"tuples.in_batch": "hardest"}, False),  # which config_check refuses with accumulation
        ({"model.batch_norm": "train"}, False),
        ({"model.batch_norm": "train", "model.backbone": "vgg16"}, True),
        ({"tuples.in_batch": "hardest", "loss.name": "arcface"}, True),
    ],
)
def test_what_to_change_is_nothing_that_the_config_would_be_refused_for(changes, told):
    c = config()
    with c.unlocked():
        c.update_from_flattened_dict(changes)
    assert ("train.accumulate=1" in memory_estimate.remedy(c)) is told


def test_a_state_that_cannot_fit_is_refused_before_the_model_starts(tmp_path, monkeypatch):
    monkeypatch.setattr(short_run, "DRIVE", lambda: drive())
    monkeypatch.setattr(begin.initialise, "initialise", None)
    monkeypatch.setattr(memory, "available", lambda: 10_000)
    words = (
        r"optimiser's moments take 0.00 GiB, but 0.00 GiB are free: set model.projection .* places"
    )
    with pytest.raises(ConfigError, match=words):
        short_run.train(config("arcface"), tmp_path)
    held = {"bytes_limit": 100, "bytes_in_use": 61}
    card = types.SimpleNamespace(platform="gpu", memory_stats=lambda: held)
    monkeypatch.setattr(memory, "available", lambda: 1000)
    monkeypatch.setattr(memory.jax, "local_devices", lambda: [card])
    state = jax.ShapeDtypeStruct((5, 2), np.float32)
    with pytest.raises(ConfigError, match="moments take"):
        memory_estimate.check_state(state)
    held["bytes_in_use"] = 60
    memory_estimate.check_state(state)


def test_on_a_gpu_the_share_that_jax_takes_is_named(monkeypatch):
    monkeypatch.setattr(memory.jax, "default_backend", lambda: "gpu")
    words = r"set model.compute_dtype=bfloat16 or set XLA_PYTHON_CLIENT_MEM_FRACTION=0.95 in the"
    with pytest.raises(ConfigError, match=words):
        memory_estimate.check(
            config(), memory_estimate.Estimate(2, 2, 1, "NVIDIA H200's memory"), 0, 0
        )


def test_a_mining_round_that_cannot_fit_is_refused():
    estimate = memory_estimate.Estimate(1, 1, None, "memory")
    memory_estimate.check(config(), estimate, memory.GIB, memory.GIB)
    with pytest.raises(
        ConfigError, match=r"1024.00 GiB of descriptors.*lower tuples.mining_interval=3"
    ):
        memory_estimate.check(config(), estimate, 1024 * memory.GIB, 0)
    with pytest.raises(ConfigError, match=r"validation holds 1024.00 GiB .*name smaller splits"):
        memory_estimate.check(config(), estimate, 0, 1024 * memory.GIB)


def test_the_compilers_own_refusal_becomes_a_sentence():
    class Step:
        def lower(self, *shapes):
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Ran out of memory in hbm.\nmore")

    c = config("arcface")
    c.model.remat = True
    told = r"out of memory in hbm.*places.batch_places=8.*set model.projection to fewer"
    with pytest.raises(ConfigError, match=told) as caught:
        memory_estimate.compile_step(c, Step(), {}, {})
    assert "remat" not in str(caught.value) and "\n" not in str(caught.value)


def test_a_device_that_tells_its_memory_is_asked(monkeypatch):
    class Device:
        platform, device_kind = "gpu", "a card"

        def memory_stats(self):
            return {"bytes_in_use": 100, "bytes_limit": 1000, "peak_bytes_in_use": 400}

    step = parallel.map_over_devices(lambda x, y: (x + y, x.sum()), donate=(0,))
    x = jnp.zeros((jax.local_device_count(), 1000))
    compiled = step.lower(x, x).compile()
    monkeypatch.setattr(memory.jax, "local_devices", lambda: [Device()])
    found = memory_estimate.estimate(compiled, {"images": x}, 0)
    # Two arguments, one of which becomes the first result, a sum, at most one copy, two batches ahead.
    assert 16_004 <= found.further < 21_000
    assert (found.peak, found.free, found.where) == (found.further + 100, 900, "a card's memory")
