"""A disk that is full, read-only, slow or gone: one sentence, and the same command goes on afterwards."""

import contextlib
import json
import os
import random
import re
import subprocess
import sys
import time

import jax
import pytest

from tests.helpers import commands, short_run
from tests.helpers.memory_places import drive
from vprjax.errors import ConfigError
from vprjax.storage.workdir import hold_workdir

FLAGS = (
    "--config.train.steps=6",
    "--config.train.log_every=2",
    "--config.train.checkpoint_every=3",
)
ONE_SENTENCE = re.compile(r"^vprjax: error: [^\n]+$")


@contextlib.contextmanager
def tmpfs(folder, options):
    """A file system of its own at `folder`: root ignores permissions, but neither size nor `ro`."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no tmpfs can be mounted here (needs root)")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def remount(folder, options):
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


def flags(workdir, data_dir):
    return *commands.small("gem,triplet", workdir, data_dir), *FLAGS


def refused(workdir, data_dir, *more, traceback=False):
    """The sentence that a run ends with, and all that it said.

    With `traceback` orbax's own threads may log theirs before it, but ours is not among them.
    """
    done = commands.run("vprjax.main", *flags(workdir, data_dir), *more, status=2)
    assert ("vprjax/main.py" if traceback else "Traceback") not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert ONE_SENTENCE.match(last), done.stderr
    return last, done.stderr


def figures(workdir):
    """Metrics to the byte, and the figures of the evaluation."""
    results = json.loads((workdir / "results.json").read_text())["results"]
    return (workdir / "metrics.jsonl").read_text(), results


@pytest.fixture(scope="module")
def whole(tiny, tmp_path_factory):
    """The figures of an undisturbed run."""
    workdir = tmp_path_factory.mktemp("whole")
    commands.run("vprjax.main", *flags(workdir, tiny))
    return figures(workdir)


def test_full_disk(whole, tally, tmp_path):
    disk = tmp_path / "disk"
    with tmpfs(disk, "size=400k"):
        last, said = refused(disk / "run", disk / "data")
        assert (
            "building dataset synthetic/tiny failed" in last and "No space left on device" in said
        )
        remount(disk, "size=1m")
        last, _ = refused(disk / "run", disk / "data", traceback=True)
        assert "cannot be written" in last and "free disk space" in last
        remount(disk, "size=100m")
        commands.run("vprjax.main", *flags(disk / "run", disk / "data"))
        tally.update(trials=2, wrong=int(figures(disk / "run") != whole))
        assert not list(disk.rglob("*partial*")) and not list(disk.rglob("*tmp*"))
        assert figures(disk / "run") == whole
        with tmpfs(tmp_path / "small", "size=24k"):  # too small for the descriptors
            to = tmp_path / "small" / "again"
            flags_of = "--mode=evaluate", f"--checkpoint={disk}/run", f"--workdir={to}"
            said = commands.run("vprjax.main", *flags_of, status=2).stderr.strip().splitlines()[-1]
            assert ONE_SENTENCE.match(said) and f"{to}/" in said
            assert "cannot be written (No space left on device): free disk space" in said


def test_the_sentence_is_last_where_many_writes_fail(tiny, tally, tmp_path):
    disk = tmp_path / "disk"
    deeper = "--config.model.stage=block_3_expand"
    with tmpfs(disk, "size=840k"):  # its first checkpoint fits in part
        last, said = refused(disk / "run", tiny, deeper, traceback=True)
        assert "cannot be written" in last and "Event loop is closed" not in said
        tally.update(trials=1)


def test_read_only_workdir(tiny, tally, tmp_path):
    disk = tmp_path / "disk"
    with tmpfs(disk, "size=10m"):
        (disk / "run").mkdir()
        remount(disk, "ro")
        last, _ = refused(disk / "run", tiny)
        assert f"--workdir={disk}/run cannot be written to (Read-only file system)" in last
        last, _ = refused(disk / "other", tiny)
        assert f"--workdir={disk}/other cannot be made" in last and "name another" in last
        _, said = refused(tmp_path / "run", disk / "data")
        assert "Read-only file system" in said
        tally.update(trials=3)


def test_a_workdir_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("pathlib.Path.open", fail)  # for where no tmpfs can be mounted
    with pytest.raises(ConfigError, match=r"cannot be written to .*name another"):
        with hold_workdir(tmp_path):
            pass


def test_vanishing_data(whole, tiny, tally, tmp_path):
    data, workdir = tmp_path / "data", tmp_path / "run"
    subprocess.run(["cp", "-r", str(tiny), str(data)], check=True)
    process = subprocess.Popen(
        [sys.executable, "-m", "vprjax.main", *flags(workdir, data)],
        cwd=commands.ROOT,
        env={**os.environ, **commands.ENVIRONMENT},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    while process.poll() is None and not (workdir / "checkpoints/3").exists():
        time.sleep(0.005)
    data.rename(tmp_path / "away")
    said = process.communicate()[1].strip()
    assert process.returncode == 2 and ONE_SENTENCE.match(said.splitlines()[-1]), said
    assert str(data) in said.splitlines()[-1] and not (workdir / "results.json").exists()
    (tmp_path / "away").rename(data)
    commands.run("vprjax.main", *flags(workdir, data))
    tally.update(trials=1, wrong=int(figures(workdir) != whole))
    assert figures(workdir) == whole


def test_slow_data(tally, tmp_path, monkeypatch):
    class Slow:
        def __init__(self, source):
            self.source, self.dice = source, random.Random(0)

        def __getitem__(self, index):
            time.sleep(self.dice.choice((0, 0, 0, 0.05)))
            return self.source[index]

    def trained(name, wrap):
        places = drive()
        object.__setattr__(places, "sources", tuple(map(wrap, places.sources)))
        monkeypatch.setattr(short_run, "DRIVE", lambda: places)
        (tmp_path / name).mkdir()
        short_run.train(short_run.config(), tmp_path / name)
        return short_run.state_of(tmp_path / name)[0]

    fast, slow = trained("fast", lambda source: source), trained("slow", Slow)
    pairs = zip(jax.tree.leaves(fast), jax.tree.leaves(slow), strict=True)
    same = all(a.tobytes() == b.tobytes() for a, b in pairs)
    tally.update(trials=1, wrong=int(not same))
    assert same
