"""KITTI odometry and KITTI-360 through the command line: made-up rows in their form, and real rows."""

import numpy as np
import pytest

from tests.helpers import raw_drives, raw_kitti
from tests.helpers.commands import ROOT
from tests.helpers.raw_places import built, metadata, records
from tfds_builders.places_csv import zones
from tfds_builders.places_csv.layouts import kitti360, kitti_odometry
from tfds_builders.poses import axes, rigid, tables

REAL = ROOT.parent / "shared/formats"
real = pytest.mark.skipif(not REAL.is_dir(), reason="needs the samples in ../shared/formats")
DRIVE = "2013_05_28_drive_0000_sync"


def test_odometry(tmp_path):
    raw = tmp_path / "raw"
    made = raw_kitti.odometry(raw, raw_drives.drive(), cameras=("image_0", "image_1"))
    other = raw_kitti.odometry(raw, raw_drives.drive(count=25), "05", first=300)
    splits = {"reference": "00", "right": "00/image_1", "test01": "05"}
    assert raw_drives.build(tmp_path, "kitti_odometry", splits=splits) == 0
    folder = built(tmp_path, builder="places_csv")
    found = records(folder, "reference")
    raw_drives.check(found, made)
    assert found[0]["timestamp"] == 0 and abs(found[0]["heading"]) < 1e-6
    assert found[7]["image_id"] == b"sequences/00/image_0/000007.png"
    raw_drives.check(records(folder, "test01"), other)
    right = made.places + raw_kitti.BASELINE * made.turns[:, :, 0]
    raw_drives.check(records(folder, "right"), made._replace(places=right))
    info = metadata(tmp_path, builder="places_csv")
    assert info["warnings"] == [] and info["motion"]["reference"]["agreement"] > 0.999


def test_a_sequence_of_colour_pictures_alone(tmp_path):
    made = raw_kitti.odometry(tmp_path / "raw", raw_drives.drive(), cameras=("image_2",))
    assert raw_drives.build(tmp_path, "kitti_odometry") == 0
    left = made._replace(places=made.places - 0.06 * made.turns[:, :, 0])
    raw_drives.check(records(built(tmp_path, builder="places_csv"), "00"), left)


def test_kitti360(tmp_path):
    made = raw_drives.drive(start=raw_kitti.WORLD)
    raw_kitti.kitti360(tmp_path / "raw", made, cameras=("image_00", "image_01"), every=2)
    splits = {"reference": DRIVE, "right": f"{DRIVE}/image_01"}
    assert raw_drives.build(tmp_path, "kitti360", splits=splits) == 0
    folder = built(tmp_path, builder="places_csv")
    found = records(folder, "reference")
    raw_drives.check(found, made, slice(1, None, 2))
    assert found[2]["image_id"].decode() == f"data_2d_raw/{DRIVE}/image_00/data_rect/0000000005.png"
    right = made._replace(places=made.places + 0.6 * made.turns[:, :, 0])
    raw_drives.check(records(folder, "right"), right, slice(1, None, 2))
    info = metadata(tmp_path, builder="places_csv")
    reason = "no pose of its frame: the car had not moved on"
    assert info["counts"]["right"]["dropped"] == {reason: 30}
    assert info["motion"]["reference"]["agreement"] > 0.999


def damage_odometry(raw, how):
    path = raw / "poses/00.txt"
    lines = path.read_text().splitlines()
    if how == "world to camera":
        turns, places = tables.rigid_motions(path, tables.rows(path), 0)
        there = rigid.inverse(rigid.Poses(np.arange(60), places, turns))
        lines = raw_kitti.rows(there.turns, there.places)
    elif how == "z up":  # the axes of a world whose z is up, read as a camera's
        turns, places = tables.rigid_motions(path, tables.rows(path), 0)
        lines = raw_kitti.rows(raw_drives.NORTHWARD @ turns, places @ raw_drives.NORTHWARD.T)
    elif how == "cut":
        lines = lines[:-1]
    elif how == "moved":  # the first rows of a straight road are lost
        moved = [line.split() for line in lines]
        lines = [" ".join([*row[:11], str(float(row[11]) + 2)]) for row in moved]
    elif how == "mirrored":
        lines = [" ".join([f"-{line}".replace("--", ""), ""]) for line in lines]
    path.write_text("\n".join(lines))


@pytest.mark.parametrize(
    ("how", "status", "told"),
    [
        ("world to camera", 0, "headings do not follow the motion"),
        ("z up", 0, "cameras stand 90 degrees from upright"),
        ("cut", 2, "poses/00.txt has 59 rows where"),
        ("moved", 0, "00.txt begins 2.00 m from the first image's place"),
        ("mirrored", 2, "poses/00.txt:1: its 3x3 part is no rotation"),
    ],
)
def test_odometry_read_wrongly_is_told(tmp_path, capsys, how, status, told):
    raw_kitti.odometry(tmp_path / "raw", raw_drives.drive())
    damage_odometry(tmp_path / "raw", how)
    assert raw_drives.build(tmp_path, "kitti_odometry", verb="validate") == status
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("how", "status", "told"),
    [
        ("imu", 2, "cam0_to_world.txt:1: 13 fields where the format has 17"),
        ("body", 0, "a body's pose is taken for the camera's"),
        ("row index", 0, "poses and images are joined wrongly"),
        ("frame", 2, "frame '1.0' is no whole number"),
    ],
)
def test_kitti360_read_wrongly_is_told(tmp_path, capsys, how, status, told):
    made = raw_drives.drive(count=90, start=raw_kitti.WORLD)
    raw_kitti.kitti360(tmp_path / "raw", made)
    path = tmp_path / "raw/data_poses" / DRIVE / kitti360.TABLE
    lines = path.read_text().splitlines()
    if how == "imu":
        lines = [" ".join(line.split()[:13]) for line in lines]
    elif how == "body":  # x forward, y right, z down
        turns = made.turns @ np.array([[0.0, 1, 0], [0, 0, 1], [1, 0, 0]])
        lines = [f"{i} {row} 0 0 0 1" for i, row in enumerate(raw_kitti.rows(turns, made.places))]
    elif how == "row index":  # times of the images follow another count than positions
        turns = np.roll(made.turns, 6, axis=0)
        lines = [f"{i} {row} 0 0 0 1" for i, row in enumerate(raw_kitti.rows(turns, made.places))]
    else:
        lines = [line.replace(" ", ".0 ", 1) for line in lines]
    path.write_text("\n".join(lines))
    assert raw_drives.build(tmp_path, "kitti360", verb="validate") == status
    assert told in capsys.readouterr().err


def test_validate_tells_where_a_map_lies(tmp_path, capsys):
    made = raw_drives.drive(start=(-1666.421, -1973.146, 118.0))
    raw_kitti.kitti360(tmp_path / "raw", made)
    assert raw_drives.build(tmp_path, "kitti360", verb="validate") == 0
    (line,) = (x for x in capsys.readouterr().out.splitlines() if "59 images on" in x)
    extent = np.ptp(made.places[1:, :2], axis=0)
    assert f"on {extent[0]:.1f} x {extent[1]:.1f} m (x, y), the first at latitude 48.96663" in line
    degrees = np.degrees(np.arctan2(*made.turns[1, :2, 2])) % 360
    assert ", longitude 8.40677" in line and line.endswith(
        f"looking {degrees:.1f} degrees from north"
    )


@real
def test_real_rows_of_odometry():
    path = REAL / "kitti_odometry/KITTI_00_gt_head.txt"
    turns, places = tables.rigid_motions(path, tables.rows(path, None, [12]), 0)
    clock = kitti_odometry.read_times(path.with_name("KITTI_00_gt_times_head.txt"))
    assert clock.tolist() == [0, 103735900, 207338100, 311075200, 414691700]
    enu = axes.to_enu(rigid.Poses(clock, places, turns), axes.WORLDS["y-down"])
    np.testing.assert_allclose(enu.places[4], [-0.1874858, 3.432648, 0.1135202])
    assert axes.uprightness(enu.turns) > 0.999
    np.testing.assert_allclose(np.degrees(axes.headings(enu.turns))[4], -0.4735, atol=1e-3)


@real
def test_real_rows_of_kitti360():
    poses = kitti360.read_poses(REAL / "kitti360/cam0_to_world_first6.txt")
    assert poses.times.tolist() == [1, 2, 3, 4, 5, 6]
    (place,) = zones.to_degrees(poses.places[:1, :2], kitti360.world())
    assert [round(float(value), 6) for value in place] == [48.966616, 8.406775]
    headings = np.degrees(axes.headings(poses.turns))
    assert round(headings[0], 1) == 3.9
    step = poses.places[2] - poses.places[0]
    # The rig of these rows turns: the camera, before the rear axle, leads its own motion.
    assert abs(headings[1] - np.degrees(np.arctan2(step[0], step[1]))) < 6
    assert axes.uprightness(poses.turns) > 0.99
