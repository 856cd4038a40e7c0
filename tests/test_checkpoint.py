"""Checkpoints: what is saved comes back bit for bit, damage is named, the untrained model is kept."""

import errno

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from vprjax import checkpoint, run
from vprjax.errors import ConfigError, TrainingError, WeightsError

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


def test_keeps_the_latest_and_the_untrained(tmp_path):
    save(tmp_path, [0, 5, 10, 15])
    assert checkpoint.open_for_reading(tmp_path).steps() == [0, 10, 15]


def test_a_folder_cut_short_is_not_a_checkpoint(tmp_path):
    save(tmp_path, [0, 5])
    (tmp_path / "10.orbax-checkpoint-tmp").mkdir()
    assert checkpoint.open_for_reading(tmp_path).steps() == [0, 5]


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


def test_a_checkpoint_killed_before_its_digests_is_read(tmp_path):
    save(tmp_path, [0])
    (tmp_path / "0" / checkpoint.DIGESTS).unlink()
    assert checkpoint.open_for_reading(tmp_path).restore_model(0)


def test_no_checkpoint_is_an_error(tmp_path):
    with pytest.raises(WeightsError, match="no checkpoint in"):
        checkpoint.open_for_reading(tmp_path / "nothing")


def test_a_full_disk_ends_in_a_sentence_and_leaves_the_checkpoint_before(tmp_path, monkeypatch):
    save(tmp_path, [0, 5])

    def full(folder):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "_digests", full)
        with pytest.raises(
            TrainingError, match=r"10 cannot be written .*No space.*free disk space"
        ):
            save(tmp_path, [10])
    reader = checkpoint.open_for_reading(tmp_path)
    assert reader.steps() == [0, 5] and reader.restore_model(5)
    save(tmp_path, [10])
    assert checkpoint.open_for_reading(tmp_path).steps() == [0, 5, 10]


def test_a_workdir_is_held_by_one_run(tmp_path):
    with run._lock(tmp_path), pytest.raises(ConfigError, match="in use by another run"):
        with run._lock(tmp_path):
            pass
    with run._lock(tmp_path):
        pass
