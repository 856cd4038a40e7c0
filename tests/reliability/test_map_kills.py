"""A map that is killed -9 while it is built or added to goes on and has an undisturbed build's bytes."""

import os
import pathlib
import random
import signal
import time

import numpy as np
import pytest

from tests.helpers import commands
from tests.helpers.made_up_model import drive
from vprjax.weights import names

IMAGES, MORE = 160, 96  # of the map, and added to it: 5 and 3 batches
KILLS = (3, 60)  # short and long form


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """A folder with weights and two drives, and the map that undisturbed commands make of them."""
    folder = tmp_path_factory.mktemp("kills")
    rng = np.random.default_rng(0)
    table = names.names_and_shapes("mobilenetv2", "keras").values()
    arrays = {name: rng.random(shape, np.float32) for name, shape in table}
    np.savez(folder / "weights.npz", **arrays)
    drive(folder / "monday", range(IMAGES))
    drive(folder / "tuesday", range(IMAGES, IMAGES + MORE))
    for flags in phases(folder, folder / "whole"):
        commands.run("vprjax.localize", *flags)
    return folder


def phases(folder, at):
    """The two commands that make the map at `at`."""
    own = ("map", f"--model={folder / 'weights.npz'}", f"--out={at}", "--size=32x32")
    yield *own, f"--images={folder / 'monday/positions.json'}"
    yield *own, f"--images={folder / 'tuesday/positions.json'}", "--add"


def listed(at: pathlib.Path):
    """How many blocks all parts of a map list."""
    return sum(path.read_bytes().count(b"\n") for path in at.rglob("blocks.jsonl"))


def killed(flags, at, blocks, seconds):
    """Kills the command `seconds` after the map has `blocks` blocks; False where it ends before."""
    process = commands.start("vprjax.localize", *flags)
    while process.poll() is None and listed(at) < blocks:
        time.sleep(0.002)
    time.sleep(seconds)
    alive = process.poll() is None
    if alive:
        os.killpg(process.pid, signal.SIGKILL)
    _, said = process.communicate()
    assert alive or process.returncode == 0, said
    return alive


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_kills(room, long, tally, tmp_path):
    wanted, moment = KILLS[long], random.Random(0)
    whole = contents(room / "whole")
    while tally["trials"] < wanted:
        at = tmp_path / f"map{tally['trials']}"
        for flags in phases(room, at):
            before = listed(at)
            for _ in range(2):
                blocks = before + moment.randint(0, 4)
                # Blocks of this size follow each other within about 0.1 s.
                tally["trials"] += killed(flags, at, blocks, moment.uniform(0, 0.15))
            commands.run("vprjax.localize", *flags)
        found = contents(at)
        differ = [name for name in {**whole, **found} if whole.get(name) != found.get(name)]
        tally["wrong"] += bool(differ)
        assert not differ
    assert tally["trials"] >= wanted
