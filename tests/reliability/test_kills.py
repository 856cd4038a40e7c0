"""The whole main job, killed -9 at random moments, ends as an undisturbed one, byte for byte.

The command builds the dataset, trains with mining and validation, evaluates and writes its report. Its
whole process group is killed at moments drawn uniformly over an undisturbed run's duration, and the same
command is started again.
"""

import fcntl
import functools
import os
import pathlib
import random
import signal
import subprocess
import time

import jax
import pytest

from configs import synthetic
from tests.helpers import commands
from vprjax.data import source
from vprjax.storage.checkpoint import open_for_reading

STEPS = 12
FLAGS = (
    f"--config.train.steps={STEPS}",
    "--config.train.log_every=2",
    "--config.train.checkpoint_every=3",  # between two logged rows, and in a mining round
    "--config.tuples.mining_interval=4",
    "--config.tuples.mining_pool=30",
    "--config.tuples.remembered=2",
    "--config.optim.ema=0.9",
    "--config.validation.every=5",
    "--config.dataset.query_splits=('test02',)",
    "--config.validation.query_split=test01",
    "--config.validation.reference_split=train",
)
KILLS = {"triplet": (4, 34), "contrastive": (3, 33), "arcface": (3, 33)}  # short and long form
KILLS_A_RUN = 5


def flags_in(folder, loss):
    """The command's flags: dataset and workdir in `folder`."""
    return *commands.small(f"gem,{loss}", folder / "run", folder / "data"), *FLAGS


def run_with_kills(flags, kills, moment):
    """Starts the command until it ends by itself; (kills done, exit status, what it said at last)."""
    killed = 0
    while True:
        process = commands.start("vprjax.main", *flags)
        try:
            _, said = process.communicate(timeout=moment() if killed < kills else None)
            return killed, process.returncode, said
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # builder and renderers, too
            process.communicate()
            killed += 1


def processor_seconds():
    """Processor time of all commands that have ended."""
    times = os.times()
    return times.children_user + times.children_system


def left(folder):
    """Every file of a run by name, as far as two runs must agree: neither clocks nor orbax's names."""
    out = {}
    for path in folder.rglob("*"):
        name = path.relative_to(folder)
        if name.parts[:2] == ("run", "checkpoints"):
            out[pathlib.Path(*name.parts[:3])] = b""  # looked at as arrays
        elif name.name in ("report.html", "timing.jsonl", "fcm.png") or "array_record" in name.name:
            out[name] = (
                b""  # times; a picture of what is compared; records are looked at one by one
            )
        elif path.is_file():
            lines = path.read_bytes().splitlines(keepends=True)
            clock = (b'"written":', b'"crc32":', b"- written:")
            out[name] = b"".join(line for line in lines if not line.strip().startswith(clock))
    return out


def saved(folder):
    """Every array of every checkpoint's model, the rest's digest, and every record of the dataset."""
    reader, out = open_for_reading(folder / "run"), {}
    for step in reader.steps():
        for path, leaf in jax.tree_util.tree_leaves_with_path(reader.restore_model(step)):
            out[f"{step}{jax.tree_util.keystr(path)}"] = leaf.tobytes()
        out[f"{step} training"] = reader.digests(step)["training"]
    config = synthetic.get_config()
    config.dataset.update(name="synthetic/tiny", data_dir=str(folder / "data"))
    places = source.load(config, ("train", "reference", "test01", "test02"))
    columns = places.positions, places.headings, places.timestamps
    out["images"] = places.encoded(range(len(places)))
    out["poses"] = [column.tobytes() for column in columns], places.image_ids.tolist()
    return out


def differences(whole, again):
    """What of two runs' folders is not the same, and what should not be there."""
    out = []
    for ours, others in ((left(whole), left(again)), (saved(whole), saved(again))):
        out += [str(k) for k in {**ours, **others} if ours.get(k) != others.get(k)]
    out += [str(p) for p in again.rglob("*") if p.suffix in (".partial", ".part", ".tmp")]
    with (again / "run/.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises where a lock is stale
    return out


@pytest.mark.parametrize("loss", list(KILLS))
def test_kills(loss, long, tally, tmp_path):
    room, whole, wanted = tmp_path / "room", tmp_path / "whole", KILLS[loss][long]
    start, busy = time.monotonic(), processor_seconds()
    _, status, said = run_with_kills(flags_in(room, loss), 0, None)
    assert status == 0, said
    # The lesser: others may have held the processor meanwhile.
    seconds = min(time.monotonic() - start, processor_seconds() - busy)
    room.rename(whole)  # the killed runs have the same command, which results.json holds
    moment, problems = random.Random(loss), []
    while tally["trials"] < wanted:
        kills, start = min(KILLS_A_RUN, wanted - tally["trials"]), time.monotonic()
        killed, status, said = run_with_kills(
            flags_in(room, loss), kills, functools.partial(moment.uniform, 0, seconds)
        )
        if not killed:  # The first run has compiled everything; later ones are sooner done.
            seconds = min(seconds, time.monotonic() - start)
        found = differences(whole, room) if status == 0 else []
        tally.update(trials=killed, lost=int(status != 0), wrong=int(bool(found)))
        problems += found if status == 0 else [said]
        room.rename(tmp_path / f"run{len(list(tmp_path.iterdir()))}")
    assert not problems
