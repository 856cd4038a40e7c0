"""Two processes of four devices, over gloo on loopback, against one process of eight devices."""

import json
import os
import re
import shutil
import subprocess
import sys

import jax
import launch_local
import numpy as np
import pytest

from tests.multidevice.test_device_count import ROOT
from vprjax.localize import calibration
from vprjax.localize.load import load
from vprjax.storage.checkpoint import open_for_reading
from vprjax.storage.json_lines import read_rows

FLAGS = (
    "--config.dataset.name=synthetic/tiny",
    "--config.model.stage=expanded_conv",
    "--config.train.steps=6",
    "--config.train.log_every=2",
    "--config.train.checkpoint_every=2",
    "--config.tuples.mining=hard",
    "--config.tuples.mining_interval=4",
    "--config.tuples.mining_pool=0",
    "--config.tuples.batch=8",
    "--config.tuples.positive_radius=10.0",
    "--config.tuples.negative_radius=25.0",
    "--config.tuples.other_visit_seconds=0.0",
    "--config.tuples.in_batch=hardest",
    "--config.eval.batch=8",
    # SGD: Adam's first step is the gradient's sign, so it blows up round-off where that is near 0.
    "--config.optim.name=sgd",
    "--config.optim.learning_rate=0.003",  # at 0.01 round-off alone reaches 1.2e-5 in six steps
    "--config.places.batch_places=8",
    "--config.places.cell=10.0",
    "--config.places.min_images=2",
    "--config.model.projection=0",
)
# Step 4 is no better than step 2, so that training stops and step 2's running mean is evaluated.
VALIDATED = (
    "--config.validation.every=2",
    "--config.validation.stretch=0.1",
    "--config.validation.patience=1",
    "--config.tuples.other_visit_seconds=60.0",
    "--config.tuples.negative_radius=15.0",
    "--config.optim.ema=0.5",
)
LAUNCH = ("experiments/launch_local.py", "--processes=2", "--devices=4", "--", sys.executable)


def main(loss, workdir, data_dir, devices, *launch):
    words = ["-m", "vprjax.main", f"--config=configs/synthetic.py:mobilenetv2,gem,{loss}", *FLAGS]
    words += VALIDATED if loss == "contrastive" else ()
    words.append(f"--workdir={workdir}")
    words.append(f"--config.dataset.data_dir={data_dir}")
    environment = {**os.environ, **launch_local.virtual(devices)}
    done = subprocess.run(
        [sys.executable, *launch, *words],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


def outcome(workdir):
    reader = open_for_reading(workdir)
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    results = json.loads((workdir / "results.json").read_text())["results"]
    validations = [row["mean"] for row in read_rows(workdir / "validation.jsonl")]
    return reader.steps(), reader.restore_model(reader.steps()[-1]), rows, results, validations


def assert_same(one, two, last=6):
    assert one[0] == two[0] == list(range(0, last + 1, 2))
    assert one[3] == two[3] and one[4] == two[4]
    for a, b in zip(jax.tree.leaves(one[1]), jax.tree.leaves(two[1]), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    for a, b in zip(one[2], two[2], strict=True):
        assert a["loss"] == pytest.approx(b["loss"], abs=1e-5) and a["step"] == b["step"]


def test_two_processes_are_as_one_and_their_checkpoint_goes_on_in_another_number(tmp_path):
    loss = "triplet"  # the next test has the others
    one, two = tmp_path / "one", tmp_path / "two"
    done = main(loss, two, tmp_path, 4, *LAUNCH)  # its first process builds the dataset
    main(loss, one, tmp_path, 8)
    # The first process alone prints, a line a split.
    assert len(re.findall(r"^\| test0\d \| fine-tuned \|", done.stdout, re.M)) == 2
    assert_same(outcome(one), outcome(two))
    assert len({row["loss"] for row in outcome(one)[2]}) == 3
    # On with one device from what two processes saved at step 2, with four from its own step 4.
    for lost, devices in (((4, 6), 1), ((6,), 4)):
        for step in lost:
            shutil.rmtree(two / f"checkpoints/{step}")
        (two / "results.json").unlink()
        said = main(loss, two, tmp_path, devices).stderr
        assert f"resume from {two}/checkpoints/{lost[0] - 2}" in said
        assert_same(outcome(one), outcome(two))
    # The first of two processes sets a damaged checkpoint aside, the other follows it.
    for part in (two / "checkpoints/6").rglob("*"):
        if part.is_file():
            part.write_bytes(part.read_bytes()[: part.stat().st_size // 2])
    said = main(loss, two, tmp_path, 4, *LAUNCH).stderr
    assert said.count("it is set aside") == 1 and f"resume from {two}/checkpoints/4" in said
    assert_same(outcome(one), outcome(two))


@pytest.mark.parametrize(("loss", "last"), [("contrastive", 4), ("arcface", 6)])
def test_two_processes_are_as_one_device_whose_checkpoint_goes_on_with_four(
    loss, last, tiny, tmp_path
):
    one, two, four = tmp_path / "one", tmp_path / "two", tmp_path / "four"
    main(loss, one, tiny, 1)
    main(loss, two, tiny, 4, *LAUNCH)
    assert_same(outcome(one), outcome(two), last)
    assert len(outcome(one)[4]) == (2 if loss == "contrastive" else 0)
    files = [workdir / calibration.FILE for workdir in (one, two)]
    if loss == "contrastive":  # on the held-out images, by both processes alike
        first, second = map(calibration.read, files)
        assert first.queries >= 10 and first.radius == 25 and first.precision == 0.99
        assert second.threshold == pytest.approx(first.threshold, abs=1e-5)
        assert first.model == load(one).id
    assert [file.exists() for file in files] == [loss == "contrastive"] * 2
    shutil.copytree(one, four)
    for step in range(4, last + 1, 2):
        shutil.rmtree(four / f"checkpoints/{step}")
    (four / "results.json").unlink()
    assert f"resume from {four}/checkpoints/2" in main(loss, four, tiny, 4).stderr
    assert_same(outcome(one), outcome(four), last)
    pairs = zip(*(jax.tree.leaves(outcome(run)[1]) for run in (one, four)), strict=True)
    assert any((a != b).any() for a, b in pairs)  # another number of devices rounds otherwise


@pytest.mark.parametrize(
    ("differs", "told"),
    [
        ("--workdir={}/of-process-$VPRJAX_PROCESS_ID", "is not one folder for all 2 processes"),
        ("--workdir={} --config.model.weights=${{VPRJAX_PROCESS_ID#0}}", "weights file 1"),
    ],
)
def test_what_is_wrong_in_one_process_is_told_at_once(tiny, tmp_path, differs, told):
    config = f"--config=configs/synthetic.py:mobilenetv2,gem,triplet {' '.join(FLAGS)}"
    words = f"exec {sys.executable} -m vprjax.main {config} --config.dataset.data_dir={tiny}"
    command = ["sh", "-c", f"{words} {differs.format(tmp_path / 'run')}"]
    done = subprocess.run(
        [sys.executable, *LAUNCH[:-1], *command],
        cwd=ROOT,
        env={**os.environ, **launch_local.virtual(4)},
        capture_output=True,
        text=True,
        check=False,
        timeout=150,  # JAX's own ending waits for 300 s, and then says nothing of it
    )
    assert done.returncode == 2 and told in done.stderr, done.stderr
    assert "model:" not in done.stderr  # before it starts
