"""Trees as a download leaves them: a folder too high or too deep, packed, half unpacked, with CRLF."""

import gzip
import shutil

import pytest

from tests.helpers import (
    raw_boreas,
    raw_drives,
    raw_fourseasons,
    raw_gsv_cities,
    raw_kitti,
    raw_models,
    raw_msls,
    raw_nclt,
    raw_trajectories,
)
from tests.unit.tfds_builders import test_nordland, test_st_lucia, test_vpr_bench
from tfds_builders.places_csv.layouts import LAYOUTS

MADE = raw_drives.drive(count=30)


def colmap(raw):
    names = [f"one/{i:03d}.jpg" for i in range(30)]
    raw_models.colmap(raw, MADE, raw_drives.NORTHWARD.T, names)


TREES = {
    "boreas": lambda raw: raw_boreas.write(raw / "one", MADE),
    "4seasons": lambda raw: raw_fourseasons.write(raw / "one", MADE),
    "kitti_odometry": lambda raw: raw_kitti.odometry(raw, MADE),
    "kitti360": lambda raw: raw_kitti.kitti360(raw, MADE),
    "nclt": lambda raw: raw_nclt.write(raw, "one", MADE, MADE.nanos),
    "tum": lambda raw: raw_trajectories.tum(raw / "one", MADE, MADE.nanos[:-1]),
    "euroc": lambda raw: raw_trajectories.euroc(raw / "one", MADE, MADE.nanos),
    "colmap": colmap,
    "robotcar_seasons": lambda raw: raw_models.seasons(raw, MADE, "night"),
    "gsv_cities": lambda raw: raw_gsv_cities.write(raw, {"London": raw_gsv_cities.LONDON}),
    "msls": lambda raw: raw_msls.write(raw, "cph"),
    "nordland": test_nordland.write_seasons,
    "vpr_bench": test_vpr_bench.make,
    "st_lucia": lambda raw: test_st_lucia.write_recording(raw, "190809_0845"),
}
PROTOCOLS = {"msls": "msls_25m", "nordland": "nordland_10_frames"}
BOREAS, TUM = "applanix/camera_poses.csv", "groundtruth.txt"


def validated(root, layout, capsys, raw="raw"):
    """Exit status and what was told of `root/raw`."""
    config = raw_drives.option(layout, protocol=PROTOCOLS.get(layout, ""))
    status = raw_drives.command("validate", "places_csv", root / raw, root / "out", config)
    return status, capsys.readouterr()


@pytest.mark.parametrize("layout", TREES)
def test_windows_line_ends_change_nothing(tmp_path, capsys, layout):
    TREES[layout](tmp_path / "raw")
    before = validated(tmp_path, layout, capsys)
    changed = 0
    for path in (tmp_path / "raw").rglob("*"):
        if path.suffix in (".txt", ".csv", ".yaml", ".nvm"):
            path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
            changed += 1
    after = validated(tmp_path, layout, capsys)
    assert before[0] == after[0] == 0 and (changed or layout == "vpr_bench")
    assert warnings(before[1].err) == warnings(after[1].err) and before[1].out == after[1].out


def warnings(text):
    return [line for line in text.splitlines() if line.startswith("warning: ")]


@pytest.mark.parametrize(
    "layout", sorted(TREES.keys() - {"colmap", "robotcar_seasons", "st_lucia"})
)
def test_a_folder_too_high_is_named(tmp_path, capsys, layout):
    TREES[layout](tmp_path / "raw/unpacked")
    (tmp_path / "raw/other").mkdir()
    status, told = validated(tmp_path, layout, capsys)
    named = f"give --manual_dir={tmp_path / 'raw/unpacked'}"
    assert status == 2 and (named in told.err or layout == "msls")
    assert layout != "msls" or "give the folder that holds train_val or test" in told.err


@pytest.mark.parametrize(
    ("layout", "raw"),
    [("boreas", "raw/one"), ("kitti360", "raw/data_poses"), ("gsv_cities", "raw/Dataframes")],
)
def test_a_folder_too_deep_is_named(tmp_path, capsys, layout, raw):
    TREES[layout](tmp_path / "raw")
    status, told = validated(tmp_path, layout, capsys, raw)
    assert status == 2 and f"give --manual_dir={tmp_path / 'raw'}\n" in told.err


def damage(root, how):
    one = root / "raw/one"
    if how == "packed table":
        (one / f"{BOREAS}.gz").write_bytes(gzip.compress((one / BOREAS).read_bytes()))
        (one / BOREAS).unlink()
    elif how == "no archive is unpacked":
        (root / "raw/one").rename(root / "away")
        (root / "raw/camera.zip").touch()
    elif how == "gzip by another name":
        (one / TUM).write_bytes(gzip.compress((one / TUM).read_bytes()))
    elif how == "packed list":
        (one / "rgb.txt").rename(one / "rgb.txt.gz")
    elif how == "half of the pictures":
        for path in sorted((one / "camera").iterdir())[::2]:
            path.unlink()
    elif how == "another drive's poses missing":
        raw_boreas.write(root / "raw/two", MADE, first=100)
        (root / "raw/two" / BOREAS).unlink()
    elif how == "another camera alone":
        (root / "raw/one/lb3/Cam5").rename(root / "raw/one/lb3/Cam1")
    elif how == "truth packed":
        (root / "raw/groundtruth_one.csv").rename(root / "raw/ground_truth.tar.gz")
    elif how == "condition packed":
        (root / "raw/images/night").rename(root / "away")
        (root / "raw/images/night.zip").touch()
    elif how == "a query less":
        next((root / "raw/query").iterdir()).unlink()
    elif how == "times not unpacked":
        (root / "raw/sequences/00/times.txt").unlink()
    elif how == "one sequence's times not unpacked":
        raw_kitti.odometry(root / "raw", MADE, "05", first=100)
        (root / "raw/sequences/05/times.txt").unlink()
    elif how == "a sequence of the test":
        raw_kitti.odometry(root / "raw", MADE, "11", first=100)
        (root / "raw/poses/11.txt").unlink()
    elif how == "a drive of the test":
        raw_kitti.kitti360(root / "raw", MADE, "drive_0008", first=100)
        (root / "raw/data_poses/drive_0008/cam0_to_world.txt").unlink()
    elif how == "a camera in small letters":
        (root / "raw/one/lb3/Cam5").rename(root / "raw/one/lb3/cam5")
    elif how == "reference without its model":
        pictures = root / "raw/images"
        shutil.copytree(pictures / "night", pictures / "overcast-reference")
    elif how == "list of Windows":
        path = one / "rgb.txt"
        path.write_text(path.read_text().replace(" rgb/", " rgb\\"))
    elif how == "no pictures":
        for path in (one / "camera").iterdir():
            path.unlink()


@pytest.mark.parametrize(
    ("layout", "how", "status", "words"),
    [
        ("boreas", "packed table", 2, "unpack one/applanix/camera_poses.csv.gz there"),
        ("boreas", "no archive is unpacked", 2, "unpack camera.zip there"),
        ("boreas", "no pictures", 2, "camera holds no images; unpack the camera's images there"),
        ("boreas", "half of the pictures", 0, "one: 15 of 30 poses have no picture: unpack all"),
        ("boreas", "another drive's poses missing", 0, f"two: left out, with pictures but no {BOREAS}"),
        ("nclt", "another camera alone", 2, 'or name another camera in "splits": DRIVE/Cam1'),
        ("nclt", "truth packed", 2, "groundtruth_one.csv does not exist; unpack ground_truth.tar.gz"),
        ("robotcar_seasons", "condition packed", 2, "such as night; unpack images/night.zip there"),
        ("vpr_bench", "a query less", 2, "rows for 3 images in query/; unpack all queries"),
        ("tum", "gzip by another name", 2, "groundtruth.txt is packed; unpack it"),
        ("kitti_odometry", "times not unpacked", 2, "no sequences/00/times.txt; unpack the archive of"),
        ("kitti_odometry", "one sequence's times not unpacked", 0, "05: left out, with pictures but no"),
        ("kitti_odometry", "a sequence of the test", 0, "11: left out, with pictures but no poses/NN.txt"),
        ("kitti360", "a drive of the test", 0, "drive_0008: left out, with pictures but no data_poses/"),
        ("nclt", "a camera in small letters", 2, "lb3/Cam5 holds no images; rename cam5, as downloaded"),
        ("robotcar_seasons", "reference without its model", 0, "overcast-reference: left out, with pict"),
        ("tum", "list of Windows", 0, ""),
        ("tum", "packed list", 2, "rgb.txt cannot be read (No such file or directory); unpack"),
    ],
)  # fmt: skip
def test_what_a_download_lacks_is_named(tmp_path, capsys, layout, how, status, words):
    TREES[layout](tmp_path / "raw")
    damage(tmp_path, how)
    found, told = validated(tmp_path, layout, capsys)
    assert found == status and words in told.err


@pytest.mark.parametrize(
    ("layout", "how", "drive"),
    [
        ("boreas", "another drive's poses missing", "one"),
        ("kitti_odometry", "a sequence of the test", "00"),
        ("kitti360", "a drive of the test", "2013_05_28_drive_0000_sync"),
        ("robotcar_seasons", "reference without its model", "night"),
    ],
)
def test_a_drive_that_splits_leave_out_is_no_surprise(tmp_path, layout, how, drive):
    TREES[layout](tmp_path / "raw")
    damage(tmp_path, how)
    for splits, warned in ({"reference": drive}, False), ({}, True):
        told = LAYOUTS[layout].begin({})
        LAYOUTS[layout].read(tmp_path / "raw", told, splits=splits)
        assert any("left out" in words for words in told.warnings) == warned


def test_frame_numbers_are_no_times(tmp_path, capsys):
    """St Lucia's frames are numbered from 1 with gaps: no speed is told of them."""
    test_st_lucia.write_recording(tmp_path / "raw", "190809_0845")
    status, told = validated(tmp_path, "st_lucia", capsys)
    assert status == 0 and "m/s" not in told.err
