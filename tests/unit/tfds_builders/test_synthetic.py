"""The synthetic drive: true perspective, the same bytes from a seed, the protocol's splits."""

import concurrent.futures
import dataclasses

import cv2
import numpy as np
import pytest
import tensorflow_datasets as tfds

from configs import synthetic
from tfds_builders.__main__ import main
from tfds_builders.errors import RawDataError
from tfds_builders.synthetic import drive, render
from tfds_builders.synthetic.conditions import CONDITIONS
from tfds_builders.synthetic.synthetic_dataset_builder import Builder, SyntheticConfig
from tfds_builders.synthetic.world import Walls, make_world

LAP = drive.Lap("a", "cloudy", 40)


@pytest.fixture(scope="module")
def world():
    return make_world(3, 120.0)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("synthetic")
    build_tiny(folder)
    return tfds.builder_from_directory(folder / "synthetic" / "tiny" / "1.1.0")


def build_tiny(folder):
    assert main(["build", "synthetic", f"--data_dir={folder}", "--config=tiny"]) == 0


def one_wall(world, distance, height, lateral):
    """A bare plain with one red wall, `distance` metres ahead of a camera that looks east."""
    wall = Walls(
        np.array([[distance, lateral[0]]]),
        np.array([[distance, lateral[1]]]),
        np.array([height]),
        np.array([0]),
    )
    atlas = np.zeros((1, 160, 160, 4), np.uint8)
    atlas[..., 2:] = 255
    bare = dataclasses.replace(
        world, walls=wall, atlas=atlas, windows=np.zeros((1, 160, 160), np.uint8)
    )
    clear = dataclasses.replace(CONDITIONS["cloudy"], haze=0.0, noise=0.0)
    return render.make_scene(bare, clear)


@pytest.mark.parametrize(("distance", "height"), [(10.0, 4.0), (20.0, 6.0), (8.0, 2.5)])
def test_a_wall_appears_where_a_pinhole_camera_sees_it(world, distance, height):
    scene = one_wall(world, distance, height, (-2.0, 3.0))
    image = render.render(scene, np.zeros(2), 0.0, 192, 256)
    red = (image[..., 2] > 150) & (image[..., 0] < 60)
    rows, columns = np.flatnonzero(red.any(axis=1)), np.flatnonzero(red.any(axis=0))
    focal = 128 / np.tan(np.radians(40))
    top = 192 * 0.52 - focal * (height - 1.6) / distance
    foot = 192 * 0.52 + focal * 1.6 / distance
    # y is to the left of a camera that looks along x
    left, right = 128 - focal * 3.0 / distance, 128 + focal * 2.0 / distance
    np.testing.assert_allclose([rows[0], rows[-1] + 1], [top, foot], atol=1.01)
    np.testing.assert_allclose([columns[0], columns[-1] + 1], [left, right], atol=1.01)


def test_turning_left_moves_the_scene_right(world):
    scene = one_wall(world, 10.0, 4.0, (-1.0, 1.0))

    def centre(heading):
        image = render.render(scene, np.zeros(2), heading, 96, 128)
        return np.nonzero((image[..., 2] > 150) & (image[..., 0] < 60))[1].mean()

    assert centre(np.radians(10)) > centre(0.0) + 5 > centre(np.radians(-10)) + 10


def test_laps_keep_to_the_route_and_differ_from_each_other(world):
    positions, headings, times = drive.poses(world, LAP, 3)
    nearest = np.linalg.norm(positions[:, None] - world.centre[None], axis=-1)
    assert nearest.min(axis=1).max() < 1.3
    along = np.angle(np.exp(1j * (headings - world.at(np.arange(40) * world.length / 40)[1])))
    assert np.abs(along).max() < np.radians(30)
    assert (np.diff(times) > 0).all()
    other, _, _ = drive.poses(world, dataclasses.replace(LAP, name="b"), 3)
    assert np.abs(other - positions).max() > 0.3
    again, _, _ = drive.poses(world, LAP, 3)
    np.testing.assert_array_equal(again, positions)


def test_conditions_change_the_picture_and_vehicles_hide_part_of_it(world):
    position, heading = world.at(np.array(10.0))
    seen = {
        name: render.render(render.make_scene(world, condition), position, heading, 48, 64)
        for name, condition in CONDITIONS.items()
    }
    level = {name: image.mean() for name, image in seen.items()}
    assert level["night"] < level["rain_dusk"] < level["cloudy"]
    for name in ("sunny", "low_sun", "rain_dusk", "night"):
        assert np.abs(seen[name].astype(int) - seen["cloudy"]).mean() > 10, name
    moving = drive.occluders(world, LAP, 3)
    busy = render.make_scene(world, CONDITIONS["cloudy"], moving)
    changed = [
        np.abs(
            render.render(busy, *world.at(np.array(s)), 48, 64).astype(int)
            - render.render(
                render.make_scene(world, CONDITIONS["cloudy"]), *world.at(np.array(s)), 48, 64
            )
        )
        > 20
        for s in range(0, 120, 12)
    ]
    assert 0.005 < np.mean(changed) < 0.4


def test_the_dataset_follows_the_protocol(tiny):
    data = tiny.as_data_source()
    assert {name: len(data[name]) for name in data} == {
        "train": 48,
        "reference": 24,
        "test01": 24,
        "test02": 24,
    }
    labels = {name: {data[name][i]["label"] for i in range(len(data[name]))} for name in data}
    text = {
        name: {x.decode() if isinstance(x, bytes) else x for x in v} for name, v in labels.items()
    }
    assert text == {
        "train": {"cloudy", "low_sun", "blue_hour", "night"},
        "reference": {"cloudy"},
        "test01": {"sunny"},
        "test02": {"night"},
    }


def test_the_same_seed_gives_the_same_bytes(tiny, tmp_path):
    build_tiny(tmp_path)
    records = sorted((tmp_path / "synthetic" / "tiny" / "1.1.0").glob("*array_record*"))
    assert len(records) == 4
    for record in records:
        assert record.read_bytes() == (tiny.data_path / record.name).read_bytes(), record.name


def test_one_chunk_is_rendered_without_another_process(tmp_path, monkeypatch):
    monkeypatch.setattr(concurrent.futures, "ProcessPoolExecutor", None)
    size = '"height": 16, "width": 16, "train": 4, "train_laps": 1'
    config = f'--config={{"name": "mine", {size}, "reference": 1, "test01": 1, "test02": 1}}'
    assert main(["build", "synthetic", config, f"--data_dir={tmp_path}"]) == 0


def test_another_town_of_the_same_name_is_not_taken_for_built(tmp_path, capsys):
    size = '"height": 16, "width": 16, "train": 4, "reference": 1, "test01": 1, "test02": 1'
    for seed, status in ((7, 0), (7, 0), (8, 2)):
        config = f'--config={{"name": "mine", {size}, "seed": {seed}}}'
        words = ["build", "synthetic", config, f"--data_dir={tmp_path}"]
        assert main(words) == status
    assert "is already built with seed 7, not 8" in capsys.readouterr().err


def test_another_seed_is_another_town():
    a, b = make_world(3, 120.0), make_world(4, 120.0)
    assert a.centre.shape != b.centre.shape or np.abs(a.centre - b.centre).max() > 1
    assert cv2.norm(a.atlas[0].astype(np.float32), b.atlas[0].astype(np.float32)) > 100


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"route_length": 5.0}, "route_length"),
        ({"seed": -1}, "seed is -1; give a whole number from 0"),
        ({"train": 1}, "train"),
        ({"height": 4}, "height"),
        (
            {"height": 224, "width": 224, "train": 35_000},
            r"more than 1,000 MiB.*give 20,897 images",
        ),
    ],
)
def test_a_size_that_cannot_be_is_refused(changes, word):
    with pytest.raises(RawDataError, match=word):
        dataclasses.replace(SyntheticConfig(name="x"), **changes).check()


def test_the_shipped_config_asks_for_the_version_that_is_built():
    """An older one that lies in the data folder must not stand in for it."""
    assert synthetic.get_config().dataset.name == f"synthetic/default:{Builder.VERSION}"
