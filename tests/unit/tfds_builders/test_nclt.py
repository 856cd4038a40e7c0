"""NCLT through the command line: a tree in its form with made-up rows (no real ones are at hand)."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from tests.helpers import raw_drives, raw_nclt
from tests.helpers.raw_places import built, decoded, image, metadata, records
from tfds_builders.places_csv.layouts import nclt

DAY, OTHER = "2012-01-08", "2012-02-04"
FIRST = 1_326_030_975_726_043_000


def dense():
    """Rows every 50 ms, 1 m apart or so, and times of pictures between every second two."""
    made = raw_drives.drive(count=140, first=FIRST, step=50_000_000)
    return made, made.nanos[1:-1:2] + 20_000_000


def mounted(*angles, place=(0.0, 0, 0)):
    found = np.eye(4)
    found[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    found[:3, 3] = place
    return found


RING = mounted(-179.93, -0.23, 0.50, place=(0.035, 0.002, -1.23))
CAM5 = RING @ mounted(160.868615, 89.914152, 160.619894, place=(0.041862, -0.001905, -0.000212))
CAM4 = RING @ mounted(-160.239278, 89.812338, 127.472911, place=(0.011238, -0.040367, -0.000393))


def test_a_day(tmp_path):
    made, taken = dense()
    raw_nclt.write(tmp_path / "raw", DAY, made, taken)
    raw_nclt.write(tmp_path / "raw", OTHER, made, taken[:9] - 10**6, "Cam4", first=200)
    splits = {"reference": DAY, "aside": f"{OTHER}/Cam4"}
    assert raw_drives.build(tmp_path, "nclt", splits=splits) == 0
    folder = built(tmp_path, builder="places_csv")
    found = records(folder, "reference")
    expected = raw_nclt.camera(raw_drives.between(made, taken), CAM5)
    raw_drives.check(found, expected)
    np.testing.assert_array_equal(decoded(found[4]), image(4))  # upright
    assert found[0]["image_id"].decode() == f"{DAY}/lb3/Cam5/{taken[0] // 1000}.tiff"
    aside = raw_nclt.camera(raw_drives.between(made, taken[:9] - 10**6), CAM4)
    raw_drives.check(records(folder, "aside"), aside)
    info = metadata(tmp_path, builder="places_csv")
    assert info["warnings"] == []
    assert info["motion"]["reference"]["offset_degrees"] == pytest.approx(0.7, abs=0.3)


def test_cameras_look_where_the_paper_says():
    looks = {name: np.degrees(np.arctan2(*nclt.mounting(name)[[1, 0], 2])) for name in nclt.ON_RING}
    wanted = {"Cam5": 1, "Cam1": -71, "Cam2": -143, "Cam3": 145, "Cam4": 73}
    assert {name: round(float(look)) for name, look in looks.items()} == wanted
    for name in looks:  # gravity points to the right of a stored picture
        assert nclt.mounting(name)[2, 0] > 0.999


def test_rows_without_a_position_make_a_gap(tmp_path):
    made, taken = dense()
    taken = np.concatenate([[FIRST - 10**9], taken, [made.nanos[-1] + 10**9]])
    raw_nclt.write(tmp_path / "raw", DAY, made, taken, unknown=[0, *range(40, 60)])
    assert raw_drives.build(tmp_path, "nclt", splits={"train": DAY}) == 0
    dropped = metadata(tmp_path, builder="places_csv")["counts"]["train"]["dropped"]
    assert dropped == {"gap in the pose log": 11, "outside the pose log": 2}
    first, second = raw_drives.warnings(tmp_path)
    assert first.startswith("train: 21 rows of the ground truth hold no position; images in such")
    assert second.startswith("train: 13 of 71 images have no pose and are left out (gap in")


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("swapped", "axes are swapped, or headings count counter-clockwise from east"),
        ("degrees", "roll, pitch and heading go up to 179.1: these are degrees where"),
        ("up", "another axis of the world points up"),
        ("header", ":1: time 'utime' is no whole number of microseconds"),
        ("seconds", "has 10 digits (seconds), where microseconds since 1970 have 16"),
    ],
)
def test_a_table_written_otherwise_is_told(tmp_path, capsys, how, told):
    made, taken = dense()
    raw_nclt.write(tmp_path / "raw", DAY, made, taken)
    path = tmp_path / "raw" / f"groundtruth_{DAY}.csv"
    rows = [line.split(",") for line in path.read_text().splitlines()]
    if how == "swapped":
        rows = [[t, y, x, *more] for t, x, y, *more in rows]
    elif how == "degrees":
        rows = [[*row[:6], str(np.degrees(float(row[6])))] for row in rows]
    elif how == "up":
        rows = [[*row[:4], str(float(row[4]) + np.pi), *row[5:]] for row in rows]
    elif how == "header":
        rows = [["utime", "x", "y", "z", "r", "p", "h"], *rows]
    else:
        rows = [[row[0][:10], *row[1:]] for row in rows]
    path.write_text("\n".join(map(",".join, rows)))
    raw_drives.build(tmp_path, "nclt", verb="validate")
    assert told in capsys.readouterr().err
