"""4Seasons through the command line: a tree in its form with made-up rows, and the real rows."""

import numpy as np
import pytest

from tests.helpers import raw_drives, raw_fourseasons
from tests.helpers.commands import ROOT
from tests.helpers.raw_places import built, metadata, records
from tfds_builders.errors import RawDataError
from tfds_builders.places_csv.layouts import fourseasons
from tfds_builders.poses import axes

FIRST, SECOND = "recording_2020-10-07_14-47-51", "recording_2021-05-10_18-02-12"
NANOS = 1_602_074_877_390_449_152
REAL = ROOT.parent / "shared/formats/4seasons"
real = pytest.mark.skipif(not REAL.is_dir(), reason="needs the samples in ../shared/formats")


def test_keyframes_of_recordings_lie_on_one_map(tmp_path):
    one = raw_drives.drive(first=NANOS, step=100_000_064)
    raw_fourseasons.write(tmp_path / "raw" / FIRST, one, every=2)
    there = (48.2, 11.625, 530.0)  # its own local frame
    two = raw_drives.drive(count=30, first=NANOS + 10**17, step=100_000_064)
    raw_fourseasons.write(tmp_path / "raw" / SECOND, two, first=200, place=there)
    splits = {"reference": FIRST, "test01": SECOND}
    assert raw_drives.build(tmp_path, "4seasons", splits=splits) == 0
    folder = built(tmp_path, builder="places_csv")
    found = records(folder, "reference")
    one = one._replace(places=raw_fourseasons.utm(one.places))
    raw_drives.check(found, one, slice(None, None, 2))
    assert found[1]["image_id"].decode() == f"{FIRST}/undistorted_images/cam0/{one.nanos[2]}.png"
    two = two._replace(places=raw_fourseasons.utm(two.places, there))
    raw_drives.check(records(folder, "test01"), two)
    info = metadata(tmp_path, builder="places_csv")
    assert info["counts"]["reference"]["dropped"] == {"no keyframe": 30}
    assert info["crs"] == "EPSG:32632"
    # Grid north of zone 32 lies 1.95 degrees from true north here.
    assert info["motion"]["reference"]["offset_degrees"] == pytest.approx(1.95, abs=0.3)
    assert info["motion"]["reference"]["agreement"] > 0.999
    (warning,) = info["warnings"]
    assert warning.startswith("reference: 30 of 60 images have no pose")


def test_the_right_camera_stands_beside_the_left_one(tmp_path):
    made = raw_drives.drive(first=NANOS)
    raw_fourseasons.write(tmp_path / "raw" / FIRST, made, cameras=("cam0", "cam1"))
    splits = {"left": FIRST, "right": f"{FIRST}/cam1"}
    assert raw_drives.build(tmp_path, "4seasons", splits=splits) == 0
    right = made.places + raw_fourseasons.BASELINE * made.turns[:, :, 0]
    right = made._replace(places=raw_fourseasons.utm(right))
    raw_drives.check(records(built(tmp_path, builder="places_csv"), "right"), right)
    assert raw_drives.warnings(tmp_path) == []


@pytest.mark.parametrize(
    ("damage", "status", "told"),
    [
        ("order", 0, "cameras stand 94 degrees from upright: the quaternions have another order"),
        ("columns", 2, ":2: the quaternion's length is"),
        ("chain", 2, "has no transform_w_gpsw"),
        ("no chain", 2, "Transformations.txt cannot be read"),
        ("cut", 2, "GNSSPoses.txt:3: 4 fields where the format has 9 or 10 or 11"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, capsys, damage, status, told):
    folder = tmp_path / "raw" / FIRST
    raw_fourseasons.write(folder, raw_drives.drive(first=NANOS))
    poses, chain = folder / "GNSSPoses.txt", folder / "Transformations.txt"
    head, *rows = poses.read_text().splitlines()
    if damage == "order":  # w first
        fields = [row.split(",") for row in rows]
        rows = [",".join([*f[:4], f[7], *f[4:7], *f[8:]]) for f in fields]
    elif damage == "columns":
        rows = [row.replace(",", ",0,", 1) for row in rows]
    elif damage == "cut":
        rows[1] = ",".join(rows[1].split(",")[:4])
    elif damage == "chain":
        chain.write_text(chain.read_text().replace("w_gpsw", "w_gps"))
    else:
        chain.unlink()
    poses.write_text("\n".join([head, *rows]))
    assert raw_drives.build(tmp_path, "4seasons", verb="validate") == status
    assert told in capsys.readouterr().err


@real
def test_the_real_rows_are_turned_and_scaled_without_the_chain():
    earth, local = fourseasons.read_poses(REAL)
    assert local.times[0] == 1602074877390449152
    raw = np.loadtxt(REAL / "GNSSPoses.txt", delimiter=",", usecols=(1, 2))
    ours, theirs = ((v - v.mean(axis=0)) @ [1, 1j] for v in (local.places[:, :2], raw))
    turn = np.vdot(theirs, ours) / np.vdot(theirs, theirs)
    assert abs(turn) == pytest.approx(0.962, abs=0.001)
    assert abs(np.degrees(np.angle(turn))) == pytest.approx(114.5, abs=0.5)
    import pyproj

    onto = pyproj.Transformer.from_crs(4978, 4979, always_xy=True)
    longitude, latitude, _ = onto.transform(*earth.places[0])
    assert (round(latitude, 5), round(longitude, 5)) == (48.19621, 11.62044)
    steps = np.diff(local.places[[0, -1]], axis=0)[0]
    moved = np.degrees(np.arctan2(*steps[:2]))
    assert np.abs(np.degrees(axes.headings(local.turns)) - moved).max() < 3
    assert axes.uprightness(local.turns) > 0.999


@real
def test_seconds_of_result_txt_are_no_keys(tmp_path):
    (tmp_path / "GNSSPoses.txt").write_text((REAL / "result.txt").read_text().replace("   ", ","))
    with pytest.raises(RawDataError, match="fields where the format has"):
        fourseasons.read_poses(tmp_path)
