"""One global batch gives the same losses and descriptors on 1, 2 and 8 devices."""

import functools
import json
import os
import pathlib
import subprocess
import sys

import launch_local
import numpy as np
import pytest

PROGRAM = pathlib.Path(__file__).with_name("step_program.py")
ROOT = PROGRAM.parents[2]
# Loss, batch_norm, in_batch, parts of a step and whether it keeps the untrained model,
# as `step_program.py` takes them.
CASES = (
    "triplet,frozen,hardest,1",
    "contrastive,train,semi_hard,1,keep",
    "arcface-places,frozen,off,1",
    "multi_similarity,frozen,off,1",
)
LOSSES = ("triplet", "contrastive", "arcface-places")


@functools.cache
def run(devices, *cases):
    """Figures of all cases, from one process with so many devices."""
    environment = {
        **os.environ,
        **launch_local.virtual(devices),
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        [sys.executable, str(PROGRAM), *cases],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    figures = [json.loads(line) for line in done.stdout.splitlines()]
    assert [f["devices"] for f in figures] == [devices] * len(cases)
    return dict(zip(cases, figures, strict=True))


def assert_same(one, other):
    assert np.allclose(one["losses"], other["losses"], rtol=1e-5, atol=1e-5)
    assert np.allclose(one["descriptors"], other["descriptors"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_device_count_changes_nothing(case):
    one, two, eight = (run(n, *CASES)[case] for n in (1, 2, 8))
    assert len(set(np.round(one["losses"], 5))) == 3  # it trains: three different losses
    assert_same(one, two)
    assert_same(one, eight)


@pytest.mark.parametrize("loss", LOSSES)
def test_accumulation_changes_nothing(loss):
    cases = [f"{name},frozen,off,{parts}" for name in LOSSES for parts in (1, 4)]
    figures = run(2, *cases)
    assert_same(figures[f"{loss},frozen,off,1"], figures[f"{loss},frozen,off,4"])
