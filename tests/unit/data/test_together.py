"""Windows of frames as places: their middles, their descriptors, their counts."""

import types

import numpy as np
import pytest

from tests.helpers.memory_places import drive, standing
from vprjax.data import protocol, together
from vprjax.errors import ConfigError

METADATA = {"windows": {"query": {"length": 3, "middles": [1, 2, 6]}}}


def asked():
    return together.places_of(METADATA, "query", drive(n=8, laps=1))


def test_a_window_is_where_its_middle_frame_is():
    places = asked()
    assert places.image_ids.tolist() == ["train/1", "train/2", "train/6"]
    assert places.positions[:, 0].tolist() == [10, 20, 60]
    assert places.images([2]).max() == 6  # the page shows the middle frame
    assert len(together.frames_of(places)) == 8
    assert places.windows.numbers.tolist() == [[0, 1, 2], [1, 2, 3], [5, 6, 7]]
    assert places.subset(np.array([2])).windows.numbers.tolist() == [[5, 6, 7]]
    assert together.counts(METADATA, {"query": 8, "other": 5}) == {"query": 3, "other": 5}


def test_splits_without_windows_are_as_they_were():
    frames, rows = standing(np.zeros((4, 2))), np.eye(4)
    assert together.places_of(METADATA, "other", frames) is frames
    assert together.frames_of(frames) is frames
    assert together.described(frames, rows) is rows
    assert together.joined([asked(), frames]).windows is None


@pytest.mark.parametrize("kind", [np.float32, np.float16])
def test_the_descriptor_is_the_mean_of_the_frames(kind, monkeypatch):
    monkeypatch.setattr(together, "ROWS", 2)
    rows = np.random.default_rng(0).normal(size=(8, 5))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(kind)
    found = together.described(asked(), rows)
    assert found.dtype == kind
    for own, numbers in zip(found, ([0, 1, 2], [1, 2, 3], [5, 6, 7]), strict=True):
        mean = sum(rows[n].astype(float) for n in numbers) / 3
        np.testing.assert_allclose(
            own, mean / np.sqrt(mean @ mean), atol=1e-3 if kind is np.float16 else 1e-6
        )


@pytest.mark.parametrize("key", ["baseline.name", "eval.sequence_length"])
def test_what_compares_single_images_is_refused(key):
    section, name = key.split(".")
    config = types.SimpleNamespace(
        dataset=types.SimpleNamespace(reference_split="ref", query_splits=("query",)),
        baseline=types.SimpleNamespace(name=""),
        eval=types.SimpleNamespace(sequence_length=0),
    )
    setattr(getattr(config, section), name, "hog" if name == "name" else 5)
    dataset = types.SimpleNamespace(name="places_csv/x", metadata=METADATA)
    with pytest.raises(
        ConfigError, match=f"asks with windows of frames.*{key} compares single images"
    ):
        protocol.check_lists(config, dataset)
