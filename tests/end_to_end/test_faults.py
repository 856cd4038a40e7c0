"""Faults while a run is on its way: each ends in one sentence and leaves a workdir that goes on."""

import fcntl
import shutil

from tests.helpers import commands


def stopped(workdir, data_dir, *flags):
    """The last line of a run that must exit with 2."""
    flags = (*commands.small("gem,triplet", workdir, data_dir), "--config.train.steps=4", *flags)
    line = commands.run("vprjax.main", *flags, status=2).stderr.strip().splitlines()[-1]
    assert line.startswith("vprjax: error: ")
    return line


def test_a_damaged_record_is_named_with_its_split(tiny, tmp_path):
    shutil.copytree(tiny, tmp_path / "data")
    file = next((tmp_path / "data").rglob("*train.array_record*"))
    whole = file.read_bytes()
    content = bytearray(whole)
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)
    said = stopped(tmp_path / "run", tmp_path / "data")
    assert " of split 'train' cannot be read" in said and "build the dataset again" in said
    file.write_bytes(whole)
    flags = (
        *commands.small("gem,triplet", tmp_path / "run", tmp_path / "data"),
        "--config.train.steps=4",
    )
    commands.run("vprjax.main", *flags)
    assert (tmp_path / "run" / "results.json").exists()


def test_a_second_run_in_a_workdir_is_refused(tiny, tmp_path):
    (tmp_path / "run").mkdir()
    with (tmp_path / "run" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "is in use by another run" in stopped(tmp_path / "run", tiny)


def test_what_is_not_finite_is_named_and_a_lower_rate_goes_on(tiny, tmp_path):
    blown = (
        "--config.optim.name=sgd",
        "--config.optim.clip_norm=0.0",
        "--config.optim.warmup_steps=0",
    )
    said = stopped(tmp_path, tiny, *blown, "--config.optim.learning_rate=1e38")
    assert "is not finite at step 2, on images train/" in said and "optim.learning_rate" in said
    flags = (*commands.small("gem,triplet", tmp_path, tiny), "--config.train.steps=4")
    assert "resume from" in commands.run("vprjax.main", *flags, *blown[:1]).stderr
    assert (tmp_path / "results.json").exists()
