"""Reading images of a split by index, and what is said when one cannot be read."""

import dataclasses

import cv2
import numpy as np
import pytest

from configs import base
from tests.helpers.memory_places import Memory, drive
from vprjax.data import source
from vprjax.errors import DataError


def test_images_come_in_the_order_asked_for():
    images = drive(10, laps=1).images([[7, 0], [3, 7]])
    assert images.shape == (2, 2, 8, 10, 3) and images.dtype == np.uint8
    assert images[..., 0, 0, 0].tolist() == [[7, 0], [3, 7]]


def test_an_image_that_does_not_decode_is_named():
    places = drive(3, laps=1)
    broken = Memory([*places.sources[0].encoded[:2], b"no image"])
    with pytest.raises(DataError, match="train/2 does not decode"):
        dataclasses.replace(places, sources=(broken,)).images([0, 2])


def test_a_record_that_cannot_be_read_is_named():
    places = drive(3, laps=1)
    with pytest.raises(DataError, match=r"train/2 \(split train\) cannot be read"):
        dataclasses.replace(places, sources=(Memory([]),)).images([2])


def test_a_damaged_record_is_named_while_the_poses_are_read():
    class Damaged:
        def __len__(self):
            return 3

        def __getitem__(self, index):
            if index == 2:
                raise RuntimeError("chunk data hash mismatch")
            fields = dict.fromkeys(("image_id", "label"), b"")
            return fields | {"position": (0, 0), "heading": 0.0, "timestamp": index}

    with pytest.raises(DataError, match=r"record 2 of split 'train' cannot be read \(chunk data"):
        source.read_poses("train", Damaged())


def test_images_of_two_sizes_are_refused():
    places, larger = drive(2, laps=1), drive(2, laps=1)

    wide = cv2.imencode(".png", np.zeros((8, 12, 3), np.uint8))[1].tobytes()
    mixed = Memory([larger.sources[0].encoded[0], wide])
    with pytest.raises(DataError, match="train/1 is 8x12"):
        dataclasses.replace(places, sources=(mixed,)).images([0, 1])


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("robotcar", "build robotcar --manual_dir=RAW --data_dir=/nowhere"),
        ("places_csv/mine", '--config=\'{"name": "mine", "height": H, "width": W}\''),
        ("synthetic/hard", "build synthetic --data_dir=/nowhere --config=hard"),
        ("synthetic/hard:1.1.0", "build synthetic --data_dir=/nowhere --config=hard"),
    ],
)
def test_a_missing_dataset_gives_its_build_command(name, command):
    config = base.get_config()
    config.dataset.update(name=name, data_dir="/nowhere")
    with pytest.raises(DataError) as caught:
        source.open_dataset(config)
    assert command in str(caught.value)


def test_the_newest_version_is_found(tmp_path):
    config = base.get_config()
    config.dataset.update(name="d", data_dir=str(tmp_path))
    for version in ("1.9.0", "1.10.0", "2.0.0.incomplete"):
        (tmp_path / "d" / version).mkdir(parents=True)
        (tmp_path / "d" / version / "dataset_info.json").touch()
    assert source.find(config).name == "1.10.0"
    config.dataset.name = "d:1.9.0"
    assert source.find(config).name == "1.9.0"
    config.dataset.name = "d:1.8.0"
    assert source.find(config) is None
