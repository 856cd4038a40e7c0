"""One global batch gives the same losses and descriptors on 1, 2 and 8 devices."""

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


def run(devices, loss, batch_norm, *more):
    environment = {
        **os.environ,
        **launch_local.virtual(devices),
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        [sys.executable, str(PROGRAM), loss, batch_norm, *more],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["devices"] == devices
    return figures


@pytest.mark.parametrize(
    ("loss", "batch_norm", "in_batch"),
    [
        ("triplet", "frozen", "hardest"),
        ("contrastive", "train", "semi_hard"),
        ("arcface-places", "frozen", "off"),
    ],
)
def test_device_count_changes_nothing(loss, batch_norm, in_batch):
    one, two, eight = (run(n, loss, batch_norm, in_batch) for n in (1, 2, 8))
    assert len(set(np.round(one["losses"], 5))) == 3  # it trains: three different losses
    for other in (two, eight):
        assert np.allclose(one["losses"], other["losses"], rtol=1e-5, atol=1e-5)
        assert np.allclose(one["descriptors"], other["descriptors"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("loss", ["triplet", "contrastive", "arcface-places"])
def test_accumulation_changes_nothing(loss):
    whole, parts = (run(2, loss, "frozen", "off", n) for n in ("1", "4"))
    assert np.allclose(whole["losses"], parts["losses"], rtol=1e-5, atol=1e-5)
    assert np.allclose(whole["descriptors"], parts["descriptors"], rtol=0, atol=1e-5)
