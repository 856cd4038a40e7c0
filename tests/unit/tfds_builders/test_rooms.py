"""The rendered rooms: a walk that nothing blocks, a ceiling in true perspective, furniture that moves."""

import dataclasses
import json

import numpy as np
import pytest
import tensorflow_datasets as tfds

from tfds_builders.__main__ import main
from tfds_builders.synthetic import drive, interior, render, rooms
from tfds_builders.synthetic.conditions import CONDITIONS
from tfds_builders.synthetic.world import NONE

LAP = drive.Lap("a", "cloudy", 60)


@pytest.fixture(scope="module")
def world():
    return rooms.make_rooms(3, 120.0)


def distance(points, start, end):
    """Metres from each point to the nearest of the lines `start` to `end`, in float64."""
    along = end - start
    share = np.einsum("pnd,nd->pn", points[:, None] - start, along) / np.sum(along**2, axis=1)
    foot = start + np.clip(share, 0, 1)[..., None] * along
    return np.linalg.norm(points[:, None] - foot, axis=-1).min(axis=1)


@pytest.mark.parametrize("seed", range(4))
def test_nothing_stands_in_the_walk(seed):
    world = rooms.make_rooms(seed, 100.0 + 20 * seed)
    assert abs(world.length - 100 - 20 * seed) < 1
    positions, _, _ = drive.poses(world, LAP, seed)
    moved, _ = rooms.furniture(world, LAP, seed)
    for walls in (world.walls, moved):
        assert distance(positions, walls.start, walls.end).min() > render.NEAR


def test_furniture_on_the_walk_is_left_out(world):
    rng = np.random.default_rng(0)
    walls, atlas = rooms._boxes(rng, world, [(s, 0.0) for s in range(0, 100, 10)])
    assert len(walls.start) == len(atlas) == 0
    walls, atlas = rooms._boxes(rng, world, [(s, 2.5) for s in range(0, 100, 10)])
    assert len(walls.start) == len(atlas) > 20


def test_the_camera_keeps_nearer_to_its_line_than_a_car(world):
    positions, _, _ = drive.poses(world, LAP, 3)
    nearest = np.linalg.norm(positions[:, None] - world.centre, axis=-1).min(axis=1)
    assert 0.1 < nearest.max() < 0.45


def test_a_ceiling_lamp_appears_where_a_pinhole_camera_sees_it(world):
    ceiling = np.zeros_like(world.ceiling)
    centre = world.origin + np.array(world.ground.shape[1::-1]) / (2 * rooms.GROUND_PX)
    ahead = centre + np.array([4.0, 0.0])
    square = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])
    world.draw(ceiling, ahead + square, (0, 0, 255))
    bare = dataclasses.replace(world, walls=NONE, ceiling=ceiling)
    clear = dataclasses.replace(CONDITIONS["cloudy"], haze=0.0, noise=0.0)
    # A scene needs a wall: this one lies behind the camera.
    wall = dataclasses.replace(
        NONE,
        start=centre[None] - 3,
        end=centre[None] - [3, 4],
        height=np.ones(1),
        texture=np.zeros(1, int),
    )
    scene = render.make_scene(dataclasses.replace(bare, walls=wall), clear)
    image = render.render(scene, centre, 0.0, 192, 256)
    red = (image[..., 2] > 150) & (image[..., 0] < 60)
    rows, columns = np.flatnonzero(red.any(axis=1)), np.flatnonzero(red.any(axis=0))
    focal, up = 128 / np.tan(np.radians(40)), interior.TALL - render.CAMERA_HEIGHT
    expected = [192 * 0.52 - focal * up / depth for depth in (3.5, 4.5)]
    np.testing.assert_allclose(
        [rows[0], rows[-1] + 1], expected, atol=2.5
    )  # a raster pixel is 5 cm
    half = focal * 0.5 / 3.5
    np.testing.assert_allclose([columns[0], columns[-1] + 1], [128 - half, 128 + half], atol=2.5)


def test_light_and_furniture_change_the_picture(world):
    frames = [world.at(np.array(s)) for s in range(0, 120, 12)]

    def pictures(condition, moved=None):
        scene = render.make_scene(world, CONDITIONS[condition], moved)
        return np.stack([render.render(scene, *at, 48, 64) for at in frames]).astype(int)

    still = pictures("cloudy")
    level = {name: pictures(name).mean() for name in ("night", "blue_hour")}
    assert (
        level["night"] < 0.5 * still.mean() and level["night"] < level["blue_hour"] < still.mean()
    )
    assert still.std(axis=(1, 2, 3)).min() > 15  # no frame shows a bare wall alone
    changed = np.abs(pictures("cloudy", rooms.furniture(world, LAP, 3)) - still) > 20
    assert 0.005 < changed.mean() < 0.4
    other, _ = rooms.furniture(world, dataclasses.replace(LAP, name="b"), 3)
    assert other.start.shape != rooms.furniture(world, LAP, 3)[0].start.shape or (
        np.abs(other.start - rooms.furniture(world, LAP, 3)[0].start).max() > 1
    )


def test_another_seed_is_another_building(world):
    other = rooms.make_rooms(4, 120.0)
    assert other.centre.shape != world.centre.shape or np.abs(other.centre - world.centre).max() > 1


def build(tmp_path, **changes):
    config = {"name": "mine", "world": "rooms", "height": 16, "width": 24, "route_length": 60.0}
    config |= {"train": 4, "train_laps": 2, "reference": 3, "test01": 2, "test02": 2} | changes
    return main(["build", "synthetic", f"--data_dir={tmp_path}", f"--config={json.dumps(config)}"])


def test_rooms_are_built_and_never_taken_for_the_town(tmp_path, capsys):
    assert build(tmp_path) == 0
    builder = tfds.builder_from_directory(tmp_path / "synthetic" / "mine" / "1.1.0")
    assert builder.info.metadata["config"]["world"] == "rooms"
    assert [len(builder.as_data_source(split)) for split in ("train", "test02")] == [4, 2]
    first = builder.as_data_source("reference")[0]
    world, lap = (
        rooms.make_rooms(0, 60.0),
        drive.Lap("reference", "cloudy", 3, 100 * (60 / 5 + 600)),
    )
    scene = render.make_scene(world, CONDITIONS["cloudy"], rooms.furniture(world, lap, 0))
    wanted = render.render(scene, first["position"], first["heading"], 16, 24)[..., ::-1]
    assert np.abs(first["image"].astype(int) - wanted).mean() < 12  # noise and JPEG
    capsys.readouterr()
    assert build(tmp_path, world="town") == 2
    assert "is already built with world 'rooms', not 'town'" in capsys.readouterr().err
    assert build(tmp_path, name="other", world="garden") == 2
    assert "world is 'garden'; give 'town' or 'rooms'" in capsys.readouterr().err
    assert build(tmp_path, name="other", route_length=700.0) == 2
    assert "route_length is 700.0; give 60 to 600 metres" in capsys.readouterr().err
