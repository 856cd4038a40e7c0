"""What is not finite is trapped: named, and neither saved nor mined with."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers import short_run
from tests.helpers.short_run import config, state_of
from vprjax.errors import TrainingError
from vprjax.training import assemble


def test_what_is_not_finite_is_trapped_and_the_checkpoint_survives(tmp_path, monkeypatch):
    c = config()
    c.optim.update(name="sgd", clip_norm=0.0, learning_rate=1e30)
    with pytest.raises(TrainingError, match=r"not finite at step \d, on images train/\d+, train/"):
        short_run.train(c, tmp_path)
    model, steps = state_of(tmp_path)
    assert steps == [0] and all(np.isfinite(x).all() for x in jax.tree.leaves(model["params"]))


def test_the_trap_names_the_first_step_and_tensor_and_keeps_the_parameters(tmp_path, monkeypatch):
    augment = assemble.transforms.augment

    def poisoned(images, key, settings):
        # Image 79 turns to NaN, as a fault in the data path would make them.
        x = augment(images, key, settings)
        return jnp.where(images.max() >= 79, jnp.nan, x)

    c = config("contrastive")
    c.augment.update(contrast=0.0, noise=0.0)
    c.train.update(steps=40, log_every=20, checkpoint_every=20)
    monkeypatch.setattr(assemble.transforms, "augment", poisoned)
    with pytest.raises(TrainingError) as caught:
        short_run.train(c, tmp_path)
    words = str(caught.value)
    assert words.startswith("descriptors is not finite at step ") and "train/79" in words
    first = int(words.split("at step ")[1].split(",")[0])
    assert first >= 1 and state_of(tmp_path)[1] == [0]


@pytest.mark.parametrize(("saved", "mined", "validated"), [(1, 3, 0), (100, 1, 0), (100, 100, 1)])
def test_an_update_that_breaks_a_parameter_is_not_saved_nor_mined_with(
    tmp_path, saved, mined, validated
):
    c = config()
    c.validation.update(every=validated, stretch=0.1)
    c.optim.update(name="sgd", clip_norm=0.0, learning_rate=3e38, warmup_steps=0)
    c.model.gem.p_rate = 1e3
    c.train.update(checkpoint_every=saved)
    c.tuples.mining_interval = mined
    with pytest.raises(TrainingError, match="not finite at step 1, on images train/"):
        short_run.train(c, tmp_path)
    assert state_of(tmp_path)[1] == [0]
