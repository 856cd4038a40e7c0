"""Three hosts, each in a network namespace of its own: one is killed, cut off, slowed, or none is.

A run that loses a host ends on the others within `BOUND` seconds, in one sentence, and the same command
goes on from the last checkpoint with another number of devices.
"""

import contextlib
import re
import time

import jax
import numpy as np
import pytest

from tests.helpers import commands, hosts
from vprjax.runtime import lost
from vprjax.storage.checkpoint import open_for_reading

BOUND = lost.SILENCE + 20  # seconds from a loss to the end of every process
PATIENCE = 900  # seconds for anything else, on a busy machine
ENDLESS = 100_000  # steps
FLAGS = (
    "--config.train.log_every=2",
    "--config.train.checkpoint_every=2",
    "--config.tuples.batch=6",
    "--config.tuples.mining_interval=4",
    "--config.eval.batch=6",
    # SGD: Adam's first step is the gradient's sign, so it blows up round-off where that is near 0.
    "--config.optim.name=sgd",
    "--config.optim.learning_rate=0.003",
)
pytestmark = pytest.mark.skipif(bool(hosts.obstacle()), reason=hosts.obstacle())


def flags_in(folder, run, steps):
    own = *FLAGS, f"--config.train.steps={steps}"
    return *commands.small("gem,contrastive", folder / run, folder / "data"), *own


@contextlib.contextmanager
def three(folder, *flags):
    """A network and the run's three processes on it, which end with the context."""
    with hosts.Network(3) as network:
        running = []
        try:
            for number in range(3):
                running.append(network.start(number, 1, folder, *flags))
            yield network, running
        finally:
            for process in running:
                process.kill()
                process.wait()


def wait(running, seconds):
    """The exit statuses; raises where a process runs longer than `seconds`."""
    end = time.monotonic() + seconds
    return [process.wait(max(end - time.monotonic(), 0.1)) for process in running]


def wait_for(path, running):
    end = time.monotonic() + PATIENCE
    while not path.exists():
        assert time.monotonic() < end and all(p.poll() is None for p in running), path
        time.sleep(0.1)


def assert_one_sentence(folder, number):
    text = (folder / f"said{number}").read_text()
    assert text.count("vprjax: error: another process of this run has ended") == 1, text
    assert not re.search(r"Traceback|Check failure|Fatal Python error", text), text
    assert text.rstrip().endswith("goes on from the last checkpoint")


def assert_goes_on(folder, devices):
    """The run ends with one process of `devices`, from the last step that three saved."""
    step = open_for_reading(folder / "run").steps()[-1]
    split = hosts.launch_local.virtual(devices)
    done = commands.run_with(split, "vprjax.main", *flags_in(folder, "run", step + 1))
    assert f"resume from {folder}/run/checkpoints/{step}" in done.stderr
    assert open_for_reading(folder / "run").steps()[-1] == step + 1
    assert (folder / "run/results.json").is_file()


def assert_as_one_process(folder):
    alone = commands.run_with(
        hosts.launch_local.virtual(1), "vprjax.main", *flags_in(folder, "one", 4)
    )
    assert alone.returncode == 0
    one, several = (open_for_reading(folder / run) for run in ("one", "run"))
    assert one.steps() == several.steps() == [0, 2, 4]
    pairs = zip(*(jax.tree.leaves(r.restore_model(4)) for r in (one, several)), strict=True)
    for a, b in pairs:
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("loss", ["kill", "kill the first", "cut off"])
def test_a_host_is_lost(loss, long, tmp_path):
    if loss != "kill" and not long:
        pytest.skip("part of --long")
    gone = 0 if loss == "kill the first" else 1
    with three(tmp_path, *flags_in(tmp_path, "run", ENDLESS)) as (network, running):
        wait_for(tmp_path / "run/checkpoints/2", running)
        if loss == "cut off":
            network.cut(gone)
        else:
            running[gone].kill()
        statuses = wait(running, BOUND)
    left = [n for n in range(3) if n != gone or loss == "cut off"]
    assert [statuses[n] for n in left] == [2] * len(left)
    for number in left:
        assert_one_sentence(tmp_path, number)
    assert_goes_on(tmp_path, 2)


@pytest.mark.parametrize("slow", [False, True])
def test_three_hosts_are_as_one_process(slow, long, tmp_path):
    if not long:
        pytest.skip("part of --long")
    with three(tmp_path, *flags_in(tmp_path, "run", 4)) as (network, running):
        if slow and not network.slow(1):
            pytest.skip("this kernel has neither netem nor tbf")
        assert wait(running, PATIENCE) == [0, 0, 0]
    assert_as_one_process(tmp_path)
