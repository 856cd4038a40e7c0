"""RobotCar from raw trees in the real layout through the command line."""

import functools
import json
import random
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time

import cv2
import numpy as np
import pytest
import tensorflow_datasets as tfds

import tests.helpers.raw_robotcar as raw
from tests.helpers import raw_places
from tests.helpers.commands import ROOT
from tests.helpers.raw_places import command, decoded, records, tree
from tfds_builders.robotcar.robotcar_dataset_builder import PAPER, PAPER_COUNTS

ONE = "2019-01-10-11-46-21-radar-oxford-10k"
TWO = "2014-12-09-13-21-02"


def option(name="mine", **values) -> str:
    base = {
        "name": name,
        "height": 0,
        "width": 0,
        "image_format": "png",
        "traversals": {"train": ONE},
    }
    return f"--config={json.dumps(base | values)}"


def build(root, *more, **values) -> int:
    return command("build", "robotcar", root / "raw", root / "out", option(**values), *more)


built = functools.partial(raw_places.built, builder="robotcar")
metadata = functools.partial(raw_places.metadata, builder="robotcar")


def test_records_of_a_traversal(tmp_path):
    raw.write_archives(tmp_path / "raw", ONE, raw.traversal(70))
    assert build(tmp_path) == 0
    found = records(built(tmp_path), "train")
    times = raw.image_times(70)
    assert [r["image_id"].decode() for r in found] == [f"{ONE}/{time}" for time in times]
    assert [r["timestamp"] for r in found] == times.tolist()
    east, north, yaw = raw.route(times)
    positions = np.stack([r["position"] for r in found])
    assert np.abs(positions - np.stack([east, north], 1)).max() < 0.01
    assert np.abs([r["heading"] for r in found] - yaw).max() < 1e-3
    inside = (slice(2, -2), slice(2, -2))
    for i in (0, 33, 69):
        assert np.abs(decoded(found[i])[inside].astype(int) - raw.colour(i)[inside]).max() <= 1
    notes = metadata(tmp_path)
    assert notes["pose_source"] == "INS, interpolated" and notes["position_unit"] == "m"
    assert notes["counts"]["train"] == {"found": 70, "kept": 70, "dropped": {}}
    assert notes["poses"]["train"]["gps_median_m"] == pytest.approx(0.5, abs=0.01)


def test_folder_tar_and_zips_give_the_same_records(tmp_path):
    files = raw.traversal(40)
    trees = []
    for kind in ("folder", "tar", "zip", "zip-stored"):
        root = tmp_path / kind
        if kind == "folder":
            raw.write_folder(root / "raw", ONE, files)
        else:
            raw.write_archives(root / "raw" / "deep", ONE, files, kind)
        assert build(root) == 0
        trees.append(tree(root / "out"))
    assert trees[0] == trees[1] == trees[2] == trees[3]


def test_the_papers_splits_and_counts(tmp_path, capsys):
    for seed, name in enumerate(PAPER.values()):
        raw.write_archives(tmp_path / "raw", name, raw.traversal(5 + seed, seed=seed))
    assert command("build", "robotcar", tmp_path / "raw", tmp_path / "out") == 0
    warnings = capsys.readouterr().err
    for number, (split, name) in enumerate(PAPER.items()):
        found = records(built(tmp_path, "paper"), split)
        assert len(found) == 5 + number
        assert decoded(found[0]).shape == (256, 256, 3) and found[0]["image"][:2] == b"\xff\xd8"
        count = PAPER_COUNTS[split]
        sentence = (
            f"{split} ({name}): {5 + number} images found, the paper's Table I has {count} "
            f"({5 + number - count:+d}); {5 + number} kept"
        )
        assert sentence in metadata(tmp_path, "paper")["warnings"] and sentence in warnings


@pytest.mark.parametrize("camera", ["mono_rear", "stereo_left", "stereo_right"])
def test_other_cameras_and_the_older_set(tmp_path, camera):
    files = raw.traversal(3, ["mono_left", "mono_rear", "stereo"])
    raw.write_archives(tmp_path / "raw", TWO, files)
    assert build(tmp_path, camera=camera, traversals={"query": TWO}) == 0
    found = records(built(tmp_path), "query")
    assert len(found) == 3
    inside = (slice(2, -2), slice(2, -2))
    assert np.abs(decoded(found[1])[inside].astype(int) - raw.colour(1)[inside]).max() <= 1


def test_chunks_of_one_sensor_in_several_tars(tmp_path):
    files = raw.traversal(8)
    images = [path for path in files if path.startswith("mono_left/")]
    first = {path: files[path] for path in files if path not in images[4:]}
    second = {path: files[path] for path in (*images[4:], "mono_left.timestamps")}
    raw.write_archives(tmp_path / "raw", TWO, first)
    raw.write_archives(tmp_path / "more", TWO, second)
    (tmp_path / f"more/{TWO}_mono_left.tar").rename(tmp_path / f"raw/{TWO}_mono_left_02.tar")
    assert build(tmp_path, traversals={"query": TWO}) == 0
    assert len(records(built(tmp_path), "query")) == 8


def test_drops_are_counted_with_their_reasons(tmp_path):
    files = raw.traversal(40)
    times = raw.image_times(40)
    # Poses from before image 3 to after image 36, with a bad stretch and a gap of 0.3 s.
    log = raw.pose_times(times[-1])
    log = log[(log > times[2]) & (log < times[37])]
    bad = np.flatnonzero((log > times[10]) & (log < times[12]))
    hole = (log > times[20] + 2000) & (log < times[20] + 300_000)
    keep = np.flatnonzero(~hole)
    files["gps/ins.csv"] = raw.ins_rows(log[keep], set(np.flatnonzero(np.isin(keep, bad)))).encode()
    del files[f"mono_left/{times[30]}.png"]  # listed, but its chunk was not downloaded
    raw.write_archives(tmp_path / "raw", ONE, files)
    assert build(tmp_path, max_gap=0.2) == 0
    found = {r["timestamp"] for r in records(built(tmp_path), "train")}
    after = keep[np.searchsorted(log[keep], times.clip(log[0], log[-1]))]
    before = keep[np.searchsorted(log[keep], times.clip(log[0], log[-1])) - 1]
    outside = (times < log[0]) | (times > log[-1])
    gap = ~outside & (log[after] - log[before] > 200_000)
    poor = ~outside & (np.isin(after, bad) | np.isin(before, bad))
    lost = np.arange(40) == 30
    assert outside.sum() >= 5 and gap.sum() >= 3 and poor.sum() >= 2
    assert found == set(times[~(outside | gap | poor | lost)].tolist())
    assert metadata(tmp_path)["counts"]["train"] == {
        "found": 39,
        "kept": len(found),
        "dropped": {
            "bad pose status": int(poor.sum()),
            "gap in the pose log": int(gap.sum()),
            "outside the pose log": int(outside.sum()),
        },
    }
    assert metadata(tmp_path)["poses"]["train"]["images_listed_without_a_file"] == 1


@pytest.mark.parametrize("pose", ["gps", "radar_odometry"])
def test_other_pose_sources(tmp_path, pose):
    raw.write_folder(tmp_path / "raw", ONE, raw.traversal(30))
    assert build(tmp_path, pose=pose) == 0
    found = records(built(tmp_path), "train")
    times = np.array([r["timestamp"] for r in found])
    east, north, yaw = raw.route(times)
    positions = np.stack([r["position"] for r in found])
    # GPS lies 0.5 m east; a chord of up to 3.75 m (0.375 s) cuts the curve by up to 2.2 cm.
    shift = 0.5 if pose == "gps" else 0.0
    assert np.abs(positions - np.stack([east + shift, north], 1)).max() < 0.022
    headings = np.array([r["heading"] for r in found])
    assert np.isnan(headings).all() if pose == "gps" else np.abs(headings - yaw).max() < 2e-3
    assert metadata(tmp_path)["pose_source"].lower().startswith(pose.replace("_", " "))


def test_radar_odometry_of_several_traversals_needs_their_ins(tmp_path, capsys):
    several = {"train": ONE, "test": TWO}
    for name in several.values():
        raw.write_folder(tmp_path / "raw", name, raw.traversal(20))
    assert build(tmp_path, pose="radar_odometry", traversals=several) == 0
    (tmp_path / "raw" / TWO / "gps/ins.csv").unlink()
    shutil.rmtree(tmp_path / "out")
    assert build(tmp_path, pose="radar_odometry", traversals=several) == 2
    assert f"radar odometry of traversal {TWO} cannot be moved onto" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    # Alone it is sound: its positions are compared with nobody else's.
    assert build(tmp_path, pose="radar_odometry", traversals={"test": TWO}) == 0


def test_archives_may_lie_in_a_folder_named_as_their_traversal(tmp_path):
    raw.write_archives(tmp_path / "raw" / ONE, ONE, raw.traversal(5))
    assert build(tmp_path) == 0 and len(records(built(tmp_path), "train")) == 5
    shutil.rmtree(tmp_path / "out")
    assert command("build", "robotcar", tmp_path / "raw" / ONE, tmp_path / "out", option()) == 0


def test_lost_images_are_warned_of(tmp_path, capsys):
    files = raw.traversal(20)
    times = raw.image_times(20)
    for first in times[:3]:
        del files[f"mono_left/{first}.png"]
    log = raw.pose_times(times[-1])
    bad = set(np.flatnonzero((log > times[10]) & (log < times[13])))
    files["gps/ins.csv"] = raw.ins_rows(log, bad).encode()
    raw.write_folder(tmp_path / "raw", ONE, files)
    assert build(tmp_path) == 0
    said = capsys.readouterr().err
    assert f"warning: train ({ONE}): 3 of 20 listed images are not there" in said
    left = len(records(built(tmp_path), "train"))
    assert left < 15 and f"{17 - left} of 17 images have no usable pose" in said


def test_rows_out_of_order_are_sorted_and_counted(tmp_path, capsys):
    """As in the published archives; "images found" counts files, not rows of a list."""
    files = raw.traversal(8)
    images = [path for path in files if path.endswith(".png")]
    raw.write_folder(tmp_path / "sorted/raw", ONE, files)
    assert build(tmp_path / "sorted") == 0
    for table in ("gps/ins.csv", "mono_left.timestamps"):
        files = _edit(files, table, _shuffle_lines)
    files = _edit(files, "gps/ins.csv", lambda text: text + "\n" + text.splitlines()[-1])
    raw.write_folder(tmp_path / "raw", ONE, files)
    assert build(tmp_path) == 0
    for a, b in zip(
        *(records(built(root), "train") for root in (tmp_path / "sorted", tmp_path)), strict=True
    ):
        assert a["timestamp"] == b["timestamp"]
        np.testing.assert_array_equal(a["position"], b["position"])
    said = capsys.readouterr().err
    assert f"train ({ONE}): 1 pose rows out of time order are sorted, and 1 that repeat" in said
    assert "1 rows of the image times are out of order or repeated" in said
    notes = metadata(tmp_path)["poses"]["train"]
    assert (notes["unsorted_rows"], notes["repeated_times"]) == (1, 1)
    for path in images[2:4]:
        (tmp_path / "raw" / ONE / path).unlink()
    shutil.rmtree(tmp_path / "out")
    assert build(tmp_path) == 0
    assert "6 images found, the paper's Table I has" in capsys.readouterr().err
    assert metadata(tmp_path)["counts"]["train"] == {"found": 6, "kept": 6, "dropped": {}}


def test_thinning(tmp_path):
    raw.write_folder(tmp_path / "raw", ONE, raw.traversal(40))
    assert build(tmp_path, every_metres=5.0) == 0
    positions = np.stack([r["position"] for r in records(built(tmp_path), "train")])
    steps = np.linalg.norm(np.diff(positions, axis=0), axis=1)
    assert steps.min() >= 5.0 and steps.max() < 5.8 and 4 <= len(positions) <= 6
    assert metadata(tmp_path)["counts"]["train"]["dropped"] == {
        "within 5 m of the last kept image": 40 - len(positions)
    }


def test_undistortion_and_size(tmp_path):
    raw.write_folder(tmp_path / "raw", ONE, raw.traversal(2))
    v, u = np.mgrid[:32, :40].astype(np.float64)
    np.stack([39 - u, v]).tofile(tmp_path / "lut.bin")  # mirrors
    assert build(tmp_path, undistort=str(tmp_path / "lut.bin"), height=16, width=20) == 0
    found = decoded(records(built(tmp_path), "train")[0]).astype(int)
    mirrored = raw.colour(0)[:, ::-1].astype(float).reshape(16, 2, 20, 2, 3).mean((1, 3))
    assert np.abs(found - mirrored)[2:-2, 2:-2].max() <= 1.5


def _cut(path, share):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


def _edit(files, path, change):
    return files | {path: change(files[path].decode()).encode()}


def _shuffle_lines(text):
    lines = text.splitlines()
    return "\n".join([*lines[:2], lines[3], lines[2], *lines[4:]])


FAULTS = {
    "missing traversal": (lambda f: None, {}, r"holds nothing of traversal 2019.*put its archives"),
    "missing gps archive": (
        lambda f: {k: v for k, v in f.items() if not k.startswith("gps")}, {},
        r"has no gps/ins\.csv .* download that archive",
    ),
    "missing camera archive": (
        lambda f: {k: v for k, v in f.items() if not k.startswith("mono")}, {},
        r"has no images mono_left/<time>\.png",
    ),
    "missing column": (
        lambda f: _edit(f, "gps/ins.csv", lambda t: t.replace("easting", "eastings", 1)), {},
        r"gps/ins\.csv:1: no column easting",
    ),
    "malformed timestamps": (
        lambda f: _edit(f, "mono_left.timestamps", lambda t: "time,chunk\n" + t), {},
        r"mono_left\.timestamps:1: 'time,chunk' is no",
    ),
    "truncated image": (
        lambda f: f | {k: v[: len(v) // 2] for k, v in list(f.items())[4:5]}, {},
        r"mono_left/\d+\.png is a truncated PNG",
    ),
    "colour image": (
        lambda f: f | {list(f)[4]: cv2.imencode(".png", raw.colour(0))[1].tobytes()}, {},
        r"no 8-bit one-channel Bayer image",
    ),
    "JPEG of the pattern": (
        lambda f: f | {list(f)[4]: cv2.imencode(".jpg", cv2.imdecode(
            np.frombuffer(f[list(f)[4]], np.uint8), cv2.IMREAD_UNCHANGED))[1].tobytes()}, {},
        r"mono_left/\d+\.png is a JPEG, which mixes the colours of a Bayer pattern",
    ),
    "no good status": (
        lambda f: _edit(f, "gps/ins.csv", lambda t: t.replace("SOLUTION_GOOD", "NONE")), {},
        r"has no image with a usable pose",
    ),
    "wrong camera": (lambda f: f, {"camera": "mono_front"}, r"'camera' is 'mono_front'; known: mono"),
    "wrong pose": (lambda f: f, {"pose": "slam"}, r"'pose' is 'slam'; known: ins, gps, radar_odometry"),
    "no table": (lambda f: f, {"undistort": "none.bin"}, r"'undistort': none\.bin does not exist"),
    "bad split": (lambda f: f, {"traversals": {"a b": ONE}}, r"'a b' cannot name a split"),
    "bad number": (lambda f: f, {"max_gap": "1"}, r"'max_gap' is '1'; give a number"),
    "no traversals": (lambda f: f, {"traversals": {}}, r"'traversals' must map split names"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_bad_input(tmp_path, capsys, fault):
    change, values, says = FAULTS[fault]
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/notes.txt").write_text("nothing")
    files = change(raw.traversal(6))
    if files:
        raw.write_archives(tmp_path / "raw", ONE, files)
    assert build(tmp_path, **values) == 2
    text = capsys.readouterr().err
    assert text.startswith("error: ") and re.search(says, text), text
    assert not (tmp_path / "out").exists()


def test_a_pose_log_that_spans_half_of_the_images(tmp_path, capsys):
    files = raw.traversal(40)
    times = raw.image_times(40)
    log = raw.pose_times(times[19] + 20_000)
    files["gps/ins.csv"] = raw.ins_rows(log[log < times[20]]).encode()
    raw.write_archives(tmp_path / "raw", ONE, files)
    assert build(tmp_path) == 2
    assert "gps/ins.csv spans 50% of the 40 images of traversal" in capsys.readouterr().err
    assert build(tmp_path, min_coverage=0.4) == 0
    assert len(records(built(tmp_path), "train")) == 20


@pytest.mark.parametrize("kind", ["tar", "zip"])
@pytest.mark.parametrize("share", [0.3, 0.6])
def test_truncated_archives(tmp_path, capsys, kind, share):
    raw.write_archives(tmp_path / "raw", ONE, raw.traversal(6), kind)
    _cut(tmp_path / f"raw/{ONE}_mono_left.{kind}", share)
    assert build(tmp_path) == 2
    assert f"{ONE}_mono_left.{kind} is truncated" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_tar_cut_between_two_members(tmp_path, capsys):
    raw.write_archives(tmp_path / "raw", ONE, raw.traversal(6))
    path = tmp_path / f"raw/{ONE}_mono_left.tar"
    with tarfile.open(path) as tar:
        end = tar.getmembers()[4].offset
    path.write_bytes(path.read_bytes()[:end])
    assert build(tmp_path) == 2
    assert "is truncated or damaged (after 4 files)" in capsys.readouterr().err


def test_every_traversals_fault_is_named(tmp_path, capsys):
    raw.write_archives(tmp_path / "raw", ONE, raw.traversal(2))
    assert command("validate", "robotcar", tmp_path / "raw", tmp_path / "out") == 2
    text = capsys.readouterr().err
    assert all(name in text for name in list(PAPER.values())[1:])


def test_ten_kills_at_random_moments(tmp_path):
    raw.write_archives(tmp_path / "raw", ONE, raw.traversal(200, size=(240, 320)))
    assert build(tmp_path) == 0
    whole = tree(tmp_path / "out")
    (tmp_path / "out").rename(tmp_path / "whole")
    args = [sys.executable, "-m", "tfds_builders", "build", "robotcar", option()]
    args += [f"--manual_dir={tmp_path / 'raw'}", f"--data_dir={tmp_path / 'out'}"]
    work = built(tmp_path).with_name("1.0.0.work")
    moments, killed = random.Random(0), 0
    for _ in range(10):
        process = subprocess.Popen(
            args, cwd=ROOT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        while not work.exists() and process.poll() is None:  # importing is not yet building
            time.sleep(0.005)
        time.sleep(moments.uniform(0, 0.5))
        process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
        if built(
            tmp_path
        ).exists():  # too late: what looks complete is, and the next one starts anew
            assert tree(built(tmp_path)) == tree(tmp_path / "whole/robotcar/mine/1.0.0")
            shutil.rmtree(tmp_path / "out")
    assert killed >= 5
    # In another process than the undisturbed build: protobuf orders fields by a per-process seed.
    subprocess.run(args, cwd=ROOT, check=True, capture_output=True)
    assert tree(tmp_path / "out") == whole


def test_reading_needs_only_tfds(tmp_path):
    raw.write_folder(tmp_path / "raw", ONE, raw.traversal(2))
    assert build(tmp_path) == 0
    builder = tfds.builder_from_directory(built(tmp_path))
    image = builder.as_data_source(split="train")[0]["image"]
    assert image.shape == (32, 40, 3) and image.dtype == np.uint8
