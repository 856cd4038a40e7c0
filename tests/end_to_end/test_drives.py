"""Drives from their raw form to results: build, show and evaluate every layout with a pose log."""

import pytest

from tests.helpers import (
    evaluations,
    raw_boreas,
    raw_drives,
    raw_fourseasons,
    raw_kitti,
    raw_models,
    raw_nclt,
    raw_trajectories,
)

COUNT = 24
MICROS = 1_628_185_086_339_831_000


def write_boreas(raw, made, other):
    raw_boreas.write(raw / "one", made)
    raw_boreas.write(raw / "two", other, first=100)


def write_fourseasons(raw, made, other):
    raw_fourseasons.write(raw / "one", made)
    raw_fourseasons.write(raw / "two", other, first=100)


def write_odometry(raw, made, other):
    raw_kitti.odometry(raw, made, "one", cameras=("image_0", "image_1"))
    del other


def write_kitti360(raw, made, other):
    raw_kitti.kitti360(raw, made, "one")
    raw_kitti.kitti360(raw, other, "two", first=100)


def write_nclt(raw, made, other):
    raw_nclt.write(raw, "one", made, made.nanos)
    raw_nclt.write(raw, "two", other, other.nanos, first=100)


def write_tum(raw, made, other):
    raw_trajectories.tum(raw / "one", made, made.nanos)
    raw_trajectories.tum(raw / "two", other, other.nanos, first=100)


def write_euroc(raw, made, other):
    raw_trajectories.euroc(raw / "one", made, made.nanos)
    raw_trajectories.euroc(raw / "two", other, other.nanos, first=100)


def write_colmap(raw, made, other):
    del other
    names = [f"{folder}/{i:03d}.jpg" for folder in ("one", "two") for i in range(COUNT // 2)]
    raw_models.colmap(raw, made, raw_drives.NORTHWARD.T, names)


def write_seasons(raw, made, other):
    raw_models.nvm(raw, made, "one")
    raw_models.seasons(raw, other, "two", first=100)


def write_bags(raw, made, other):
    raw_bags = pytest.importorskip("tests.helpers.raw_bags", exc_type=ImportError)
    for name, drive, ros in (("one", made, 1), ("two", other, 2)):
        bag = raw_bags.Bag(ros)
        bag.pictures(drive.nanos, encoding="jpeg" if ros == 2 else "bgr8")
        bag.odometry(drive)
        bag.mount(int(drive.nanos[0]))
        bag.write(raw, name)


LAYOUTS = {
    "boreas": write_boreas,
    "4seasons": write_fourseasons,
    "kitti_odometry": write_odometry,
    "kitti360": write_kitti360,
    "nclt": write_nclt,
    "tum": write_tum,
    "euroc": write_euroc,
    "colmap": write_colmap,
    "robotcar_seasons": write_seasons,
    "rosbag": write_bags,
}

# Half of the pictures are the other split's; frame 0, or the picture after the last row, has no pose.
COUNTS = {"colmap": COUNT // 2, "kitti360": COUNT - 1, "tum": COUNT - 1}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return evaluations.write_weights(tmp_path_factory.mktemp("weights") / "resnet18.safetensors")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_drive_is_evaluated_against_another(tmp_path, layout, weights, monkeypatch, capsys):
    made = raw_drives.drive(count=COUNT, first=MICROS)
    other = raw_drives.drive(count=COUNT, first=MICROS + 10**15, start=(0.5, 0.5, 0))
    LAYOUTS[layout](tmp_path / "raw", made, other)
    query = "one/image_1" if layout == "kitti_odometry" else "two"
    splits = {"reference": "one", "test01": query}
    evaluations.build(tmp_path, layout, position_unit="m", splits=splits)
    moved = "reference: headings agree with the motion by " in capsys.readouterr().out
    assert moved == (layout != "colmap")  # whose images have no times
    _, figures = evaluations.evaluate(tmp_path, monkeypatch, weights, "reference", "test01")
    assert figures["queries"] == figures["references"] == COUNTS.get(layout, COUNT)
