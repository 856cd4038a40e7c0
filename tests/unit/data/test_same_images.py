"""Images that two splits share are counted, with the builders' digests and without."""

import dataclasses
import types

import numpy as np
import pytest

from tests.helpers.memory_places import Memory, standing
from vprjax.data import same_images
from vprjax.data.same_images import Shared


def split(name, images):
    """A split in memory; its images, named by number, stand 5 m apart."""
    places = standing(np.arange(float(len(images)))[:, None] * [5.0, 0.0])
    ids = np.array([f"{name}/{i}.png" for i in range(len(images))], object)
    sources = (Memory(images),)
    return dataclasses.replace(places, image_ids=ids, sources=sources, split_names=(name,))


@pytest.fixture
def dataset(tmp_path):
    """Makes a dataset of splits, given by their images; with digests on disk where `kept`."""

    def make(kept, **splits):
        for name, images in splits.items() if kept else ():
            data = b"".join(map(same_images.digest, images))
            path = tmp_path / f"image_digests-{name}.bin"
            path.write_bytes(data + same_images.digest(data))
        return types.SimpleNamespace(
            name="places_csv/mine",
            folder=tmp_path,
            images={name: len(images) for name, images in splits.items()}.get,
            places=lambda names: split(names[0], splits[names[0]]),
        )

    return make


TEN = [b"image%d" % i for i in range(10)]
OTHERS = [b"other%d" % i for i in range(10)]


@pytest.mark.parametrize("kept", [True, False])
def test_shared_images_are_counted(dataset, kept):
    found = dataset(kept, a=TEN, b=TEN, c=[*OTHERS[:8], *TEN[8:]], d=OTHERS)
    shared = {name: same_images.shared(found, "a", found, name) for name in "bcd"}
    assert shared == {"b": Shared(10, 10), "c": Shared(2, 10), "d": Shared(0, 10)}
    assert [s.most for s in shared.values()] == [True, False, False]


def test_digests_find_an_image_of_another_name_far_away(dataset):
    found = dataset(True, a=TEN, b=[*OTHERS, *TEN[:1]])
    assert same_images.shared(found, "a", found, "b") == Shared(1, 10)


@pytest.mark.parametrize("damage", [lambda x: x[:-3], lambda x: b"\0" + x[1:], lambda x: b""])
def test_damaged_digests_are_not_believed(dataset, tmp_path, damage):
    found = dataset(True, a=TEN, b=TEN)
    path = tmp_path / "image_digests-b.bin"
    path.write_bytes(damage(path.read_bytes()))
    assert same_images.stored(found, "a") is not None and same_images.stored(found, "b") is None
    assert same_images.shared(found, "a", found, "b") == Shared(10, 10)
    path.unlink()
    assert same_images.stored(found, "b") is None


def test_a_large_split_without_digests_costs_a_sample(dataset):
    many = [b"%d" % i for i in range(5000)]
    found = dataset(False, a=many, b=many)
    read, ours = [], found.places(("a",))
    found.places = lambda _: dataclasses.replace(ours, sources=(Counting(many, read),))
    assert same_images.shared(found, "a", found, "b") == Shared(200, 200)
    assert len(read) <= 200 * 6


class Counting(Memory):
    def __init__(self, encoded, read):
        super().__init__(encoded)
        self.read = read

    def __getitem__(self, index):
        self.read.append(index)
        return super().__getitem__(index)


def test_images_without_a_position_are_found_by_name(dataset):
    found = dataset(False, a=TEN, b=[TEN[0], *OTHERS[1:]])
    places = {name: found.places((name,)) for name in "ab"}
    for lacking in ("a", "b", "ab"):
        unknown = {
            name: dataclasses.replace(own, positions=own.positions * np.nan)
            for name, own in places.items()
            if name in lacking
        }
        found.places = lambda names, unknown=unknown: (places | unknown)[names[0]]
        assert same_images.shared(found, "a", found, "b") == Shared(1, 10)
