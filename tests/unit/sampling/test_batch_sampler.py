"""P x K batches of losses on all pairs, of cells and of labels."""

import numpy as np
import pytest

from configs import base
from tests.helpers.memory_places import drive, standing
from vprjax import sampling
from vprjax.config import checks
from vprjax.sampling import place_classes
from vprjax.sampling.places import BatchSampler


def config(loss, **places):
    c = base.get_config()
    c.loss.name = loss
    c.dataset.name = "synthetic/tiny"
    c.places.update(min_images=2, batch_places=2, images_per_place=2, groups=1, **places)
    return c


@pytest.mark.parametrize("loss", ["multi_similarity", "circle", "supcon"])
def test_a_loss_on_pairs_has_batches_of_places_and_no_class_weights(loss):
    sampler = sampling.make_sampler(config(loss), drive())
    assert isinstance(sampler, BatchSampler) and not sampler.LEARNS_CLASSES
    batch = sampler.batch(3)
    assert batch["images"].shape[:2] == (2, 2) and len(set(batch["labels"])) == 2


def test_a_loss_on_classes_keeps_them():
    assert sampling.kind(config("cosface")).LEARNS_CLASSES


def test_labels_make_the_places():
    labels = [f"Oslo/{i // 2}" for i in range(8)]
    places = standing(np.zeros((8, 2)), labels=labels)
    sampler = sampling.make_sampler(config("multi_similarity", by="label"), places)
    assert len(sampler.classes) == 4
    for row in sampler.indices(0):
        assert len({labels[i] for i in row}) == 1


def test_a_step_is_drawn_once(monkeypatch):
    drawn, batch_at = [], place_classes.batch_at
    sampler = sampling.make_sampler(config("circle"), drive())
    monkeypatch.setattr(
        place_classes, "batch_at", lambda *words: drawn.append(words[4]) or batch_at(*words)
    )
    for step in (4, 5, 4):
        sampler.batch(step), sampler.indices(step)
    assert drawn == [4, 5]


def test_accumulation_would_hide_pairs():
    (reason,) = checks.against_accumulation(config("multi_similarity"))
    assert "hide part of the batch from multi_similarity" in reason
