"""Boreas through the command line: a tree in its form with made-up rows, and the real rows."""

import math

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from tests.helpers import raw_boreas, raw_drives
from tests.helpers.commands import ROOT
from tests.helpers.raw_places import built, metadata, records
from tfds_builders.errors import RawDataError
from tfds_builders.places_csv.layouts import boreas
from tfds_builders.poses import axes, tables

FIRST, SECOND = "boreas-2021-08-05-13-34", "boreas-2021-09-02-11-42"
UTM = (623000.0, 4849000.0, 150.0)
REAL = ROOT.parent / "shared/formats/boreas"
real = pytest.mark.skipif(not REAL.is_dir(), reason="needs the samples in ../shared/formats")


def write(root):
    one = raw_drives.drive(start=UTM)
    two = raw_drives.drive(count=40, start=UTM, first=1_630_597_538_259_033_000)
    raw_boreas.write(root / "raw" / FIRST, one, unposed=10)
    raw_boreas.write(root / "raw" / SECOND, two, first=100, clock="ROSTime")
    return one, two


def test_drives_become_splits_by_name(tmp_path, capsys):
    one, two = write(tmp_path)
    splits = {"reference": FIRST, "test01": SECOND}
    assert raw_drives.build(tmp_path, "boreas", splits=splits) == 0
    folder = built(tmp_path, builder="places_csv")
    found = records(folder, "reference")
    raw_drives.check(found, one, slice(50))
    raw_drives.check(records(folder, "test01"), two)
    assert found[3]["image_id"].decode() == f"{FIRST}/camera/{one.nanos[3] // 1000}.png"
    info = metadata(tmp_path, builder="places_csv")
    assert info["counts"]["reference"] == {
        "found": 60, "kept": 50, "dropped": {"no pose of its time": 10},
    }  # fmt: skip
    assert info["crs"] == "EPSG:32617" and info["made_by"].keys() == {"opencv", "pillow", "tfds"}
    assert info["warnings"] == [
        "reference: 10 of 60 images have no pose and are left out (no pose of its time: 10)"
    ]
    motion = info["motion"]["reference"]
    assert motion["moving"] == 48 and motion["agreement"] > 0.999 and motion["likely"] == ""
    assert abs(motion["offset_degrees"]) < 0.3


def test_without_splits_every_drive_is_one(tmp_path):
    write(tmp_path)
    assert raw_drives.build(tmp_path, "boreas") == 0
    names = ["boreas_2021_08_05_13_34", "boreas_2021_09_02_11_42"]
    assert list(metadata(tmp_path, builder="places_csv")["counts"]) == names


@pytest.mark.parametrize(
    ("damage", "config", "told"),
    [
        ("", {"splits": {"train": "boreas-2020"}}, "asks for 'boreas-2020', which is not there"),
        ("nanoseconds", {}, "has 19 digits (nanoseconds), where microseconds since 1970 have 16"),
        ("header", {}, "the columns are time,easting"),
        ("", {"splits": {"all": FIRST}}, "'all' cannot name a split"),
        ("other day", {}, f"none of 60 images of {FIRST} has a pose (no pose of its time: 60)"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(tmp_path, capsys, damage, config, told):
    write(tmp_path)
    path = tmp_path / "raw" / FIRST / boreas.TABLE
    lines = path.read_text().splitlines()
    if damage == "nanoseconds":
        lines[1] = lines[1].replace(",", "000,", 1)
    elif damage == "header":
        lines[0] = lines[0].replace("GPSTime", "time")
    elif damage == "other day":
        lines[1:] = ["15" + line[2:] for line in lines[1:]]
    path.write_text("\n".join(lines))
    assert raw_drives.build(tmp_path, "boreas", verb="validate", **config) == 2
    assert told in capsys.readouterr().err


def test_splits_are_of_drives_alone(tmp_path, capsys):
    write(tmp_path)
    assert raw_drives.build(tmp_path, "aligned", splits={"train": FIRST}) == 2
    assert "config key 'splits' is for the layouts boreas, 4seasons" in capsys.readouterr().err


@real
def test_the_real_camera_looks_where_the_real_vehicle_points():
    """The camera stands still in these rows, within 0.02 mm; lidar rows of the stop give its heading."""
    poses = boreas.read_poses(REAL / f"{FIRST}_camera_poses_rows2000.csv")
    assert poses.times.tolist()[0] == 1628185086339831000
    found = np.degrees(axes.headings(poses.turns))
    row = tables.rows(REAL / f"{FIRST}_lidar_poses_rows2000.csv", ",")[1].fields
    # A lidar row's heading is clockwise from east; its x axis stands 46.9 degrees right of forward.
    lidar = 90 + math.degrees(float(row[9])) - 46.9
    assert np.abs(found - lidar).max() < 0.3
    assert axes.uprightness(poses.turns) > 0.999


@real
def test_the_real_camera_looks_where_the_real_vehicle_drives():
    """A lidar's rows at 13 m/s, and the camera's place on it from both sensors' rows of one stop."""
    camera, lidar, moving = (
        boreas.read_poses(REAL / f"{day}_{sensor}_poses_rows2000.csv")
        for day, sensor in ((FIRST, "camera"), (FIRST, "lidar"), (SECOND, "lidar"))
    )
    mean = (Rotation.from_matrix(lidar.turns).mean(), Rotation.from_matrix(camera.turns).mean())
    turn = (mean[0].inv() * mean[1]).as_matrix()
    lever = mean[0].inv().apply((camera.places - lidar.places).mean(axis=0))
    places = moving.places + moving.turns @ lever
    steps = np.diff(places, axis=0)
    assert np.linalg.norm(steps, axis=1).min() > 1.3  # metres in a tenth of a second
    headings = axes.headings(moving.turns @ turn)
    middle = (headings[1:] + headings[:-1]) / 2
    along = np.arctan2(steps[:, 0], steps[:, 1])
    assert np.abs(np.degrees(middle - along)).max() < 0.3
    assert abs(np.degrees((middle - along).mean())) < 0.1


@real
def test_the_real_radar_file_has_another_unit_of_time():
    with pytest.raises(RawDataError, match="19 digits"):
        boreas.read_poses(REAL / f"{FIRST}_radar_poses_rows2000.csv")
