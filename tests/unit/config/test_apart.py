"""Splits that must be apart are refused by their content, in training and in evaluation."""

import dataclasses
import pathlib
import types

import numpy as np
import pytest

from configs import base
from tests.helpers.memory_places import Memory, standing
from vprjax.config import apart, checks
from vprjax.data.named import Named
from vprjax.errors import ConfigError

NAMES = ("train", "again", "reference", "test01", "by_day", "by_night")


def dataset(name="places_csv/mine", **same):
    """Ten images per split; `test01=("train", 3)` gives its first three the bytes of those of train."""

    def places(names):
        (split,) = names
        whose, count = same.get(split, (split, 10))
        images = [f"{whose if i < count else split}/{i}".encode() for i in range(10)]
        found = standing(np.arange(10.0)[:, None] * [5.0, 0.0])
        return dataclasses.replace(found, sources=(Memory(images),), split_names=names)

    return types.SimpleNamespace(
        name=name,
        version="1.0",
        folder=pathlib.Path("nowhere"),
        counts=dict.fromkeys(NAMES, 10),
        places=places,
    )


def config(**dataset_keys):
    c = base.get_config()
    c.dataset.name, c.dataset.query_splits = "places_csv/mine", ("test01",)
    c.dataset.update(dataset_keys)
    c.validation.update(every=5, query_split="by_night", reference_split="by_day")
    return c


PAIRS = [
    ("test01", "reference", "such a query finds itself"),
    ("test01", "train", "a query that was trained on measures nothing"),
    ("again", "train", "such an image would be its own positive"),
    ("by_night", "by_day", "such a query of validation finds itself"),
    ("by_night", "train", "validation would choose the checkpoint that memorises it"),
    ("test01", "by_night", "a checkpoint that is chosen on its test"),
]


@pytest.mark.parametrize(("split", "other", "follows"), PAIRS)
def test_the_same_images_under_two_names_are_refused(split, other, follows):
    c = config(train_splits=("train", "again"))
    assert not apart.check(c, dataset(), None)
    few = apart.check(c, dataset(**{split: (other, 2)}), None)
    assert len(few) == 1 and "2 of 10 images" in few[0] and follows in few[0]
    with pytest.raises(ConfigError, match=r"\d+ of 10 images of split .*, byte for byte: ") as said:
        apart.check(c, dataset(**{split: (other, 5)}), None)
    assert follows in str(said.value)


def test_training_may_read_the_reference_split():
    assert not apart.check(config(train_splits=("train", "reference")), dataset(), None)
    assert not apart.check(config(), dataset(reference=("train", 10)), None)


def test_splits_of_a_further_dataset_are_held_apart_and_from_a_held_out_stretch():
    c, part = config(), Named(dataset("places_csv/more"), ("train", "again"), None)
    assert not apart.check_others(c, dataset(), [part])  # validation has splits of its own
    twice = dataset("places_csv/more", again=("train", 10))
    with pytest.raises(ConfigError, match=r"of places_csv/more:1\.0:train,again would be its own"):
        apart.check_others(c, dataset(), [Named(twice, ("train", "again"), None)])
    c.validation.update(query_split="", reference_split="")
    with pytest.raises(ConfigError, match=r"places_csv/more, byte for byte: validation holds out"):
        apart.check_others(c, dataset(), [part])
    few = dataset("places_csv/more", train=("else", 8), again=("else", 10))
    (told,) = apart.check_others(c, dataset(), [Named(few, ("train",), None)])
    assert told.startswith("2 of 10 images of split 'train' are those of split 'train' of places")
    c.validation.every = 0
    assert not apart.check_others(c, dataset(), [part])


def test_an_evaluation_knows_what_its_model_was_trained_on():
    c, bad = config(train_splits=()), dataset(test01=("train", 10))
    assert not apart.check(c, bad, (bad, ()))
    with pytest.raises(
        ConfigError, match="10 of 10 images of split 'test01' are those of split 'tr"
    ):
        apart.check(c, bad, (bad, ("train",)))
    other = dataset("places_csv/other", by_day=("test01", 10))
    with pytest.raises(ConfigError, match="split 'by_day' of places_csv/other, byte for byte"):
        apart.check(c, dataset(), (other, ("by_day",)))


@pytest.mark.parametrize(
    ("keys", "trained", "refused"),
    [
        (
            {"query_splits": ("train",)},
            ("train",),
            r"query_splits holds \['train'\], which the mod",
        ),
        (
            {"query_splits": ("test01", "test01")},
            (),
            r"dataset\.query_splits names \['test01'\] twice",
        ),
        ({"train_splits": ("a", "a")}, (), r"dataset\.train_splits names \['a'\] twice"),
    ],
)
def test_an_evaluation_refuses_the_names_that_training_refuses(keys, trained, refused):
    c = config(**keys)
    with pytest.raises(ConfigError, match=refused):
        checks.check_values(c, c.dataset.name, trained)
    if trained:
        checks.check_values(c, "places_csv/other", trained)
