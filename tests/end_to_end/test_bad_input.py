"""Every mistake ends in one clear sentence and a non-zero exit, before anything is written."""

import subprocess
import sys

import numpy as np
import pytest

from tests.helpers.commands import ROOT, run


def refused(tmp_path, *flags):
    """The sentence that the main command refuses `flags` with; nothing may be written."""
    workdir = tmp_path / "workdir"
    done = run("vprjax.main", f"--workdir={workdir}", *flags, status=2)
    assert not workdir.exists()
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("vprjax: error: "), done.stderr
    return lines[0]


def test_unknown_config_key(tmp_path):
    said = refused(tmp_path, "--config=configs/synthetic.py", "--config.train.step=3")
    assert "Did you mean" in said and "steps" in said


def test_unknown_cell_name(tmp_path):
    said = refused(tmp_path, "--config=configs/synthetic.py:resnet51")
    assert "'resnet51'" in said and "resnet50" in said


def test_config_value_of_a_wrong_type(tmp_path):
    said = refused(tmp_path, "--config=configs/synthetic.py", "--config.train.steps=many")
    assert "train.steps" in said


def test_missing_config_file(tmp_path):
    said = refused(tmp_path, "--config=configs/nowhere.py")
    assert "configs/nowhere.py is no file" in said and f"are in {ROOT}/configs" in said
    said = refused(tmp_path, "--config=elsewhere/synthetic.py:resnet50")
    assert said.endswith(f"; give {ROOT}/configs/synthetic.py")


def test_missing_config(tmp_path):
    assert "--config is missing" in refused(tmp_path)


def test_a_key_of_no_config(tmp_path):
    said = refused(tmp_path, "--mode=evaluate", "--checkpoint=run", "--config.eval.pca=512")
    assert "--config.eval.pca" in said and "add --config=FILE" in said


@pytest.mark.parametrize(
    ("flag", "word"),
    [
        ("--config.model.backbone=vgg19", "vgg16"),
        ("--config.model.pooling=max", "netvlad"),
        ("--config.loss.name=tripel", "triplet"),
        ("--config.tuples.positive_radius=30.0", "tuples.negative_radius"),
        ("--config.optim.learning_rate=nan", "optim.learning_rate"),
        ("--config.tuples.batch=0", "tuples.batch"),
    ],
)
def test_value_that_cannot_be_used(tmp_path, flag, word):
    assert word in refused(tmp_path, "--config=configs/synthetic.py", flag)


def test_a_sequence_longer_than_the_drive(tmp_path, tiny):
    said = refused(
        tmp_path,
        "--mode=evaluate",
        "--config=configs/synthetic.py:seqslam",
        "--config.dataset.name=synthetic/tiny",
        f"--config.dataset.data_dir={tiny}",
        "--config.baseline.seqslam.length=500",
    )
    assert "baseline.seqslam.length=500 must not go over the" in said


@pytest.mark.parametrize(
    "flag", ["--workdir=gs://b/run", "--checkpoint=gs://b/run", "--config.dataset.data_dir=gs://b"]
)
def test_an_address_is_no_folder(tmp_path, flag):
    said = refused(tmp_path, "--config=configs/synthetic.py", flag)
    assert flag.partition("=")[2] in said and "mount the bucket" in said


def test_a_flag_with_an_old_key_name_sets_the_new_key(tmp_path):
    flags = ("--config=configs/synthetic.py", "--config.loss.arcface_scale=-3")
    done = run("vprjax.main", f"--workdir={tmp_path / 'workdir'}", *flags, status=2)
    first, second = done.stderr.strip().splitlines()
    assert first == "vprjax: config key loss.arcface_scale is now loss.arcface.scale"
    assert second.startswith("vprjax: error: loss.arcface.scale=-3.0 must be a number above 0")


def test_a_config_file_with_an_old_key_name_is_told_the_new_one(tmp_path):
    file = tmp_path / "old.py"
    file.write_text(
        "from configs import base\n\n\ndef get_config(names=''):\n    c = base.get_config()\n"
        "    c.model.netvlad_clusters = 8\n    return c\n"
    )
    said = refused(tmp_path, f"--config={file}")
    assert "unknown config key" in said and said.endswith("it is now model.netvlad.clusters")


def test_missing_dataset_gives_the_build_command(tmp_path):
    said = refused(
        tmp_path, "--config=configs/robotcar.py", f"--config.dataset.data_dir={tmp_path}"
    )
    assert "python -m tfds_builders build robotcar --manual_dir=RAW" in said


def test_missing_split_lists_what_there_is(tmp_path, tiny):
    said = refused(
        tmp_path,
        "--config=configs/synthetic.py",
        "--config.dataset.name=synthetic/tiny",
        f"--config.dataset.data_dir={tiny}",
        "--config.dataset.reference_split=ref",
    )
    assert "'ref'" in said and "reference (" in said


def weights_refused(tmp_path, data_dir, backbone, weights):
    return refused(
        tmp_path,
        f"--config=configs/synthetic.py:{backbone}",
        "--config.dataset.name=synthetic/tiny",
        f"--config.dataset.data_dir={data_dir}",
        f"--config.model.weights={weights}",
    )


def test_missing_weights(tmp_path, tiny):
    said = weights_refused(tmp_path, tiny, "vgg16", tmp_path / "no.npz")
    assert "no.npz does not exist" in said


def test_weights_of_the_wrong_backbone(tmp_path, tiny):
    import jax
    import jax.numpy as jnp

    from vprjax import models

    params = models.backbone("vgg16", "conv1").init(
        jax.random.key(0), jnp.zeros((1, 8, 8, 3)), False
    )
    kernels = {f"block1_conv{i}/kernel": params["params"][f"conv1_{i}"]["kernel"] for i in (1, 2)}
    np.savez(tmp_path / "vgg.npz", **kernels)
    said = weights_refused(tmp_path, tiny, "mobilenetv2", tmp_path / "vgg.npz")
    assert "vgg.npz" in said and "mobilenetv2" in said


def test_truncated_weights(tmp_path, tiny):
    np.savez(tmp_path / "cut.npz", **{"Conv1/kernel": np.zeros((3, 3, 3, 32), np.float32)})
    whole = (tmp_path / "cut.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    said = weights_refused(tmp_path, tiny, "mobilenetv2", tmp_path / "cut.npz")
    assert "cut.npz is truncated" in said


def test_evaluate_without_a_checkpoint(tmp_path):
    assert "--checkpoint" in refused(tmp_path, "--mode=evaluate")
    said = refused(tmp_path, "--mode=evaluate", f"--checkpoint={tmp_path}/nothing")
    assert "no checkpoint in" in said


def test_import_is_light():
    program = (
        "import time; start = time.perf_counter(); import vprjax.main, sys; "
        "print(time.perf_counter() - start, 'tensorflow' in sys.modules, 'torch' in sys.modules)"
    )
    best = min(
        (
            subprocess.run(
                [sys.executable, "-c", program],
                cwd=ROOT,
                capture_output=True,
                text=True,
                check=True,
            ).stdout.split()
            for _ in range(3)
        ),
        key=lambda words: float(words[0]),
    )
    assert float(best[0]) < 3 and best[1:] == ["False", "False"]
