"""A run that was killed and started again ends as one that was not, bit for bit.

VPRJAX_KILLS=5 python -m pytest tests/end_to_end/test_killed.py kills each run five times, over 60 steps.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time

import commands
import jax
import pytest

from vprjax.checkpoint import open_for_reading

KILLS = int(os.environ.get("VPRJAX_KILLS", "1"))
STEPS = 12 if KILLS == 1 else 60
FLAGS = (
    f"--config.train.steps={STEPS}",
    "--config.train.log_every=2",
    "--config.train.checkpoint_every=3",  # between two logged rows, and in a mining round
    "--config.tuples.mining_interval=4",
    "--config.tuples.mining_pool=30",
    "--config.tuples.remembered=2",
    "--config.optim.ema=0.9",
)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """The dataset; the short form also keeps what is compiled, half of a short run's time."""
    folder = tmp_path_factory.mktemp("datasets")
    with pytest.MonkeyPatch.context() as patch:
        if KILLS == 1:
            patch.setenv("JAX_COMPILATION_CACHE_DIR", str(folder / "compiled"))
            patch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
        commands.run("tfds_builders", "build", "synthetic", "--config=tiny", f"--data_dir={folder}")
        yield folder


def logged(workdir):
    """The last step in metrics.jsonl."""
    path = workdir / "metrics.jsonl"
    rows = path.read_text().splitlines() if path.exists() else []
    return json.loads(rows[-1])["step"] if rows else 0


def kill_after(step, flags, workdir):
    """Starts a run and kills it once `step` is logged; how far it had come."""
    process = subprocess.Popen(
        [sys.executable, "-m", "vprjax.main", *flags],
        cwd=commands.ROOT,
        env={**os.environ, **commands.ENVIRONMENT},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while process.poll() is None and logged(workdir) < step:
        time.sleep(0.005)
    time.sleep(random.uniform(0, 0.1))  # somewhere in the next steps, or in a save
    process.kill()
    assert process.wait() == -signal.SIGKILL
    return logged(workdir)


def state(workdir):
    """Every array of the last checkpoint, and the text and figures that a run leaves."""
    reader = open_for_reading(workdir)
    metadata = reader._manager.item_metadata(STEPS)["training"]
    arrays = reader.restore_model(STEPS), reader.restore_training(STEPS, metadata)
    results = json.loads((workdir / "results.json").read_text())["results"]
    return arrays, (workdir / "metrics.jsonl").read_text(), results


@pytest.mark.parametrize("loss", ["triplet", "contrastive", "arcface"])
def test_a_killed_run_ends_with_the_same_bits(loss, data_dir, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    commands.run("vprjax.main", *commands.small(f"gem,{loss}", whole, data_dir), *FLAGS)
    flags = (*commands.small(f"gem,{loss}", killed, data_dir), *FLAGS)
    reached = []
    for step in sorted(random.Random(loss).sample(range(2, STEPS - 3), KILLS)):
        reached.append(kill_after(step - step % 2, flags, killed))
    assert 0 < reached[0] and max(reached) < STEPS, reached
    done = commands.run("vprjax.main", *flags)
    assert "resume from" in done.stderr
    (arrays, *rest), (arrays_again, *rest_again) = state(whole), state(killed)
    assert rest == rest_again
    assert jax.tree.structure(arrays) == jax.tree.structure(arrays_again)
    leaves = zip(jax.tree.leaves(arrays), jax.tree.leaves(arrays_again), strict=True)
    assert all(a.tobytes() == b.tobytes() for a, b in leaves)
