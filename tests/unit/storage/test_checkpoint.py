"""Checkpoints: what is saved comes back bit for bit, damage is named, the untrained model is kept."""

import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from vprjax.errors import ConfigError, TrainingError, WeightsError
from vprjax.storage import checkpoint, checksum
from vprjax.storage.workdir import hold_workdir

MODEL = {
    "params": {"a": jnp.linspace(0, 1, 7, dtype=jnp.bfloat16)},
    "preprocess": {"std": np.ones(3)},
}
TRAINING = {
    "opt_state": optax.adamw(1e-3).init(MODEL["params"]),
    "classes": (),
    "tuples": np.arange(12, dtype=np.int32).reshape(3, 4),
}


def save(folder, steps, keep=2):
    checkpoints = checkpoint.Checkpoints(folder, keep)
    for step in steps:
        checkpoints.save(step, MODEL, TRAINING, {"config": {"seed": step}, "provenance": {}})
    checkpoints.close()


def test_round_trip_is_exact(tmp_path):
    save(tmp_path / "checkpoints", [0])
    reader = checkpoint.open_for_reading(tmp_path)
    model, training = reader.restore_model(0), reader.restore_training(0, TRAINING)
    assert reader.config(0)["config"] == {"seed": 0}
    for saved, restored in ((MODEL, model), (TRAINING, training)):
        assert jax.tree.structure(saved) == jax.tree.structure(restored)
        for a, b in zip(jax.tree.leaves(saved), jax.tree.leaves(restored), strict=True):
            assert np.asarray(a).dtype == np.asarray(b).dtype
            assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


def test_arrays_of_other_shapes_are_of_another_run_not_damaged(tmp_path):
    save(tmp_path, [0])
    reader = checkpoint.open_for_reading(tmp_path)
    for rows in (2, 4):
        with pytest.raises(
            ConfigError, match=rf"holds training of \(3, 4\) int32 .* \({rows}, 4\)"
        ):
            reader.restore_training(0, {**TRAINING, "tuples": np.zeros((rows, 4), np.int32)})


def test_arrays_that_another_version_lacks_are_no_damage(tmp_path):
    save(tmp_path, [0])
    reader = checkpoint.open_for_reading(tmp_path)
    with pytest.raises(
        ConfigError, match=r"comes from another version .* only one has \"\['more'\]\""
    ):
        reader.restore_training(0, {**TRAINING, "more": np.zeros(3)})


def test_keeps_the_latest_and_the_untrained(tmp_path):
    save(tmp_path, [0, 5, 10, 15])
    assert checkpoint.open_for_reading(tmp_path).steps() == [0, 10, 15]


def test_a_folder_cut_short_is_not_a_checkpoint_and_goes_with_the_next_run(tmp_path):
    save(tmp_path, [0, 5])
    part = tmp_path / "10.orbax-checkpoint-tmp"
    (part / "model").mkdir(parents=True)
    assert checkpoint.open_for_reading(tmp_path).steps() == [0, 5] and part.exists()
    save(tmp_path, [15])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "15", "5"]


def halve(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_one_bit(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [halve, flip_one_bit, lambda path: path.unlink()])
def test_damage_is_named(tmp_path, damage):
    save(tmp_path, [0, 5])
    data = next(path for path in (tmp_path / "5" / "model").rglob("d/*") if path.stat().st_size)
    damage(data)
    reader = checkpoint.open_for_reading(tmp_path)
    with pytest.raises(WeightsError, match=f"checkpoint {tmp_path / '5'} cannot be read.*model/"):
        reader.restore_model(5)
    assert reader.restore_model(0)


def test_notes_that_orbax_rewrites_are_no_damage(tmp_path):
    save(tmp_path, [0])
    notes = tmp_path / "0" / "_CHECKPOINT_METADATA"
    notes.write_text(notes.read_text().replace('"commit_timestamp_nsecs":', '"other":'))
    assert checkpoint.open_for_reading(tmp_path).restore_model(0)


@pytest.mark.parametrize("item", ["model", "training"])
def test_arrays_that_are_not_those_saved_are_refused(tmp_path, monkeypatch, item):
    of_arrays = checksum.of_arrays
    other = {"model": MODEL, "training": TRAINING}[item]
    with monkeypatch.context() as patch:
        patch.setattr(checksum, "of_arrays", lambda tree: of_arrays(tree) + "x" * (tree is other))
        save(tmp_path, [0])
    reader = checkpoint.open_for_reading(tmp_path)
    with pytest.raises(WeightsError, match=f"{item} differs from its checksum"):
        (reader.restore_model(0), reader.restore_training(0, TRAINING))


def test_no_checkpoint_is_an_error(tmp_path):
    with pytest.raises(WeightsError, match="no checkpoint in"):
        checkpoint.open_for_reading(tmp_path / "nothing")


# A limit on a file's size fails the write inside tensorstore as a full disk does.
FULL = """
import resource, sys
import numpy as np
from vprjax.storage.checkpoint import Checkpoints
from vprjax.errors import TrainingError
checkpoints = Checkpoints(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
try:
    checkpoints.save(10, {"a": np.random.default_rng(0).normal(size=100_000)}, {"b": np.ones(9)}, {})
except TrainingError as error:
    print(error)
"""


def test_a_full_disk_ends_in_a_sentence_and_leaves_the_checkpoint_before(tmp_path):
    save(tmp_path, [0, 5])
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, check=False
    )
    said = r"^checkpoint \S*/10 cannot be written .*File too large.*free disk space[^\n]*\n$"
    assert re.match(said, done.stdout), done.stdout + done.stderr
    reader = checkpoint.open_for_reading(tmp_path)
    assert reader.steps() == [0, 5] and reader.restore_model(5)
    save(tmp_path, [10])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "10", "5"]


def test_what_a_checkpoint_tells_is_amended_and_stays_sealed(tmp_path):
    save(tmp_path, [0, 5])
    writer = checkpoint.Checkpoints(tmp_path)
    writer.amend(5, {"validations": [[5, 1.5]]})
    reader = checkpoint.open_for_reading(tmp_path)
    assert reader.config(5) == {"config": {"seed": 5}, "provenance": {}, "validations": [[5, 1.5]]}
    assert reader.restore_training(5, TRAINING) and "validations" not in reader.config(0)
    file = tmp_path / "5/config/metadata"
    file.write_text(file.read_text().replace("1.5", "2.5"))
    with pytest.raises(WeightsError, match="checksum"):
        checkpoint.open_for_reading(tmp_path).config(5)


def test_a_full_disk_while_amending_leaves_the_checkpoint_as_it_was(tmp_path, monkeypatch):
    def full(path, text):
        raise OSError(28, "No space left on device")

    save(tmp_path, [0, 5])
    writer = checkpoint.Checkpoints(tmp_path)
    monkeypatch.setattr(checkpoint, "write_atomically", full)
    with pytest.raises(TrainingError, match=r"/5 cannot be written .*No space.* resumes from it$"):
        writer.amend(5, {"validations": [[5, 1.5]]})
    assert "validations" not in checkpoint.open_for_reading(tmp_path).config(5)


def test_an_old_checkpoint_that_cannot_be_removed_leaves_the_new_one(tmp_path, monkeypatch, capsys):
    def busy(self, step):
        raise OSError(16, "Device or resource busy")

    monkeypatch.setattr(checkpoint.ocp.CheckpointManager, "delete", busy)
    save(tmp_path, [0, 5, 10], keep=1)
    assert re.search(r"old checkpoint \S*/5 cannot be removed .*busy", capsys.readouterr().err)
    reader = checkpoint.open_for_reading(tmp_path)
    assert reader.steps() == [0, 5, 10] and reader.restore_model(10)


def test_a_workdir_is_held_by_one_run(tmp_path):
    with hold_workdir(tmp_path), pytest.raises(ConfigError, match="in use by another run"):
        with hold_workdir(tmp_path):
            pass
    with hold_workdir(tmp_path):
        pass
