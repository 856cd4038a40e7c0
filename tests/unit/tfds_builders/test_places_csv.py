"""places_csv through the command line: records, order, sizes, and every kind of bad input."""

import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
import tensorflow_datasets as tfds

from tests.helpers.commands import ROOT
from tests.helpers.raw_places import command, decoded, image, records, tree, write_raw
from tfds_builders import discover
from tfds_builders.__main__ import main
from tfds_builders.builder import PlacesBuilder, work_dir


def test_records_follow_the_schema(tmp_path):
    raw = write_raw(tmp_path / "raw", columns="heading,time,label")
    out = tmp_path / "out"
    assert command("build", "places_csv", raw, out) == 0
    folder = out / "places_csv" / "default" / "1.0.0"
    found = records(folder, "train")
    # `time` falls with the row number, so time order is the reverse of the file's.
    assert [r["image_id"].decode() for r in found] == [
        f"train/train/{i:03d}.png" for i in (2, 1, 0)
    ]
    assert [r["timestamp"] for r in found] == [998_000_000, 999_000_000, 1_000_000_000]
    np.testing.assert_array_equal([r["position"] for r in found], [[2.5, -2], [1.5, -1], [0.5, 0]])
    np.testing.assert_array_equal([r["heading"] for r in found], [0.2, 0.1, 0.0])
    assert [r["label"].decode() for r in found] == ["room2", "room1", "room0"]
    # No size asked for: the file's own bytes, untouched.
    assert found[0]["image"] == (raw / "train/002.png").read_bytes()
    assert found[0]["position"].dtype == np.float64
    info = tfds.builder_from_directory(folder).info
    assert list(info.splits) == ["train", "test01"]
    assert info.metadata["counts"]["train"] == {"found": 3, "kept": 3, "dropped": {}}
    assert info.metadata["pose_source"] == "places.csv" and info.metadata["position_unit"] == "m"


def test_optional_columns_default(tmp_path):
    raw = write_raw(tmp_path / "raw", ["train"])
    assert command("build", "places_csv", raw, tmp_path / "out") == 0
    found = records(tmp_path / "out/places_csv/default/1.0.0", "train")
    assert [r["timestamp"] for r in found] == [0, 1, 2]
    assert all(np.isnan(r["heading"]) for r in found)
    assert all(r["label"] == b"" for r in found)


def test_positions_keep_all_their_digits(tmp_path):
    raw = write_raw(tmp_path / "raw", ["train"], count=1)
    _break(raw, 2, "train,train/000.png,620021.3337,5735011.9041")
    assert command("build", "places_csv", raw, tmp_path / "out") == 0
    (record,) = records(tmp_path / "out/places_csv/default/1.0.0", "train")
    # float32 would give 620021.3125, 5735012.0.
    np.testing.assert_array_equal(record["position"], [620021.3337, 5735011.9041])


@pytest.mark.parametrize(("image_format", "magic"), [("png", b"\x89PNG"), ("jpeg", b"\xff\xd8")])
def test_images_are_resized_once(tmp_path, image_format, magic):
    raw = write_raw(tmp_path / "raw", ["train"])
    config = {"name": "small", "height": 6, "width": 8, "image_format": image_format, "quality": 95}
    assert (
        command("build", "places_csv", raw, tmp_path / "out", f"--config={json.dumps(config)}") == 0
    )
    record = records(tmp_path / "out/places_csv/small/1.0.0", "train")[1]
    assert record["image"].startswith(magic)
    # Halving averages 2x2 blocks (with halves rounded either way).
    exact = image(1).astype(np.float64).reshape(6, 2, 8, 2, 3).mean((1, 3))
    if image_format == "png":
        assert np.abs(decoded(record) - exact).max() <= 0.5
    else:
        again = cv2.imencode(
            ".jpg", np.round(exact).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 95]
        )
        difference = decoded(record).astype(float) - cv2.imdecode(again[1], cv2.IMREAD_COLOR)
        assert np.abs(difference).max() <= 8


def test_jpeg_keeps_its_format_and_bytes(tmp_path):
    raw = write_raw(tmp_path / "raw", ["train"], suffix=".jpg")
    assert command("build", "places_csv", raw, tmp_path / "out") == 0
    record = records(tmp_path / "out/places_csv/default/1.0.0", "train")[0]
    assert record["image"] == (raw / "train/000.jpg").read_bytes()


def test_split_names(tmp_path):
    raw = write_raw(tmp_path / "raw", ["2019-01-10 run", "test01"])
    assert command("build", "places_csv", raw, tmp_path / "out") == 0
    folder = tmp_path / "out/places_csv/default/1.0.0"
    assert (
        records(folder, "2019_01_10_run")[0]["image_id"] == b"2019-01-10 run/2019-01-10 run/000.png"
    )


def test_order_of_equal_times_is_the_files(tmp_path):
    raw = write_raw(tmp_path / "raw", ["train"], count=4)
    rows = [f"train,train/{i:03d}.png,{i},0,{t}" for i, t in enumerate([5, 3.25, 5, 3.25])]
    (raw / "places.csv").write_text("\n".join(["sequence,image,x,y,time", *rows]))
    assert command("build", "places_csv", raw, tmp_path / "out") == 0
    found = records(tmp_path / "out/places_csv/default/1.0.0", "train")
    assert [r["position"][0] for r in found] == [1, 3, 0, 2]
    assert found[0]["timestamp"] == 3_250_000


def _break(raw, line, new):
    lines = (raw / "places.csv").read_text().splitlines()
    lines[line - 1 : line] = [new] if isinstance(new, str) else new
    (raw / "places.csv").write_text("\n".join(lines))


BAD_ROWS = [
    (2, "train,train/none.png,0,0", ":2: image 'train/none.png' does not exist"),
    (2, "train,train/000.png,nan,0", ":2: x is nan; give a finite number in metres"),
    (3, "train,train/001.png,0,inf", ":3: y is inf"),
    (
        3,
        "train,train/001.png,0,",
        ":3: y is empty; give a number in metres, or leave x and y empty",
    ),
    (3, "train,train/001.png,abc,0", ":3: x is 'abc'; give a number in metres"),
    (
        3,
        "train,train/000.png,1,1",
        ":3: image 'train/000.png' of sequence 'train' is already on line 2",
    ),
    (3, ",train/001.png,1,1", ":3: sequence is empty"),
    (3, "train,,1,1", ":3: image is empty"),
    (3, "train,/etc/hosts,1,1", ":3: image '/etc/hosts' must be a path inside"),
    (3, "train,../001.png,1,1", ":3: image '../001.png' must be a path inside"),
    (3, "train,train/001.png,1", ":3: 3 fields where the header has 4"),
    (5, "all,test01/000.png,1,1", ":5: sequence 'all' cannot name a split"),
    (1, "sequence,image,x", ":1: no column y"),
    (1, "sequence,image,x,y,headng", ":1: unknown column 'headng'; did you mean 'heading'?"),
    (1, "sequence,image,x,y,y", ":1: column 'y' appears twice"),
]


@pytest.mark.parametrize("verb", ["build", "validate"])
@pytest.mark.parametrize(("line", "new", "says"), BAD_ROWS)
def test_bad_rows_are_named(tmp_path, capsys, verb, line, new, says):
    raw, out = write_raw(tmp_path / "raw"), tmp_path / "out"
    _break(raw, line, new)
    assert command(verb, "places_csv", raw, out) == 2
    assert f"{raw}/places.csv{says}" in capsys.readouterr().err
    assert not out.exists()


def test_every_bad_row_is_named_at_once(tmp_path, capsys):
    raw = write_raw(tmp_path / "raw")
    _break(raw, 2, "train,train/none.png,abc,nan")
    _break(raw, 6, "test01,test01/000.png,1,1")
    assert command("validate", "places_csv", raw, tmp_path / "out") == 2
    lines = capsys.readouterr().err.splitlines()
    assert [re.search(r"places\.csv:(\d+): (\w+)", line).groups() for line in lines] == [
        ("2", "image"), ("2", "x"), ("2", "y"), ("6", "image"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no column sequence, image, x, y"),
        ("sequence,image,x,y\n", "has a header but no rows"),
        ('sequence,image,x,y\ntrain,"a,0,0\n', "broken CSV"),
        (b"sequence,image,x,y\n\xff\xfe", "is not UTF-8"),
        (None, "is empty; manual_dir holds places.csv"),
    ],
)
def test_bad_tables(tmp_path, capsys, text, says):
    raw = tmp_path / "raw"
    raw.mkdir()
    if text is not None:
        (raw / "places.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    assert command("build", "places_csv", raw, tmp_path / "out") == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_no_table(tmp_path, capsys):
    raw = write_raw(tmp_path / "raw", ["train"])
    (raw / "places.csv").unlink()
    assert command("build", "places_csv", raw, tmp_path / "out") == 2
    assert f"{raw}/places.csv does not exist; write it" in capsys.readouterr().err


def test_some_times_missing(tmp_path, capsys):
    raw = write_raw(tmp_path / "raw", ["train"], columns="time")
    _break(raw, 3, "train,train/001.png,1,1,")
    assert command("build", "places_csv", raw, tmp_path / "out") == 2
    assert (
        "places.csv:3: no time, where other images of sequence 'train'" in capsys.readouterr().err
    )


@pytest.mark.parametrize("verb", ["build", "validate"])
def test_every_image_that_does_not_decode_is_named(tmp_path, capsys, verb):
    raw, out = write_raw(tmp_path / "raw"), tmp_path / "out"
    whole = (raw / "train/001.png").read_bytes()
    (raw / "train/001.png").write_bytes(whole[: len(whole) // 2])
    (raw / "train/002.png").write_bytes(b"no image at all")
    (raw / "test01/000.png").write_bytes(b"")
    assert command(verb, "places_csv", raw, out) == 2
    text = capsys.readouterr().err
    assert f"{raw}/train/001.png is a truncated PNG" in text
    assert f"{raw}/train/002.png is not an image" in text
    assert f"{raw}/test01/000.png is empty" in text
    assert not out.exists()


def test_sizes_must_agree_or_be_given(tmp_path, capsys):
    raw = write_raw(tmp_path / "raw")
    cv2.imwrite(str(raw / "test01/001.png"), image(5, 10, 10))
    assert command("build", "places_csv", raw, tmp_path / "out") == 2
    assert "test01/001.png is 10x10 (height x width) where" in capsys.readouterr().err
    assert command("validate", "places_csv", raw, tmp_path / "out") == 2
    assert "test01/001.png is 10x10 (height x width) where" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    sized = '--config={"name": "sized", "height": 8, "width": 8}'
    assert command("validate", "places_csv", raw, tmp_path / "out", sized) == 0
    assert command("build", "places_csv", raw, tmp_path / "out", sized) == 0


def test_a_full_disk_keeps_what_is_done(tmp_path, capsys, monkeypatch):
    raw, out = write_raw(tmp_path / "raw", ["train"], count=40), tmp_path / "out"

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tfds_builders.writer.write_split", full)
    assert command("build", "places_csv", raw, out) == 1
    text = capsys.readouterr().err
    assert "No space left on device; run the same command again" in text
    assert [p.name for p in (out / "places_csv/default").iterdir()] == ["1.0.0.work"]
    assert len(list(out.rglob("*.chunk"))) == 2
    monkeypatch.undo()
    assert command("build", "places_csv", raw, out) == 0
    assert not list(out.rglob("*.chunk"))


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("nordland", "no config 'nordland'; it has default"),
        ('{"name": "a", "heigth": 3}', "no key heigth"),
        ('{"name": "a", "height": 3}', "height 3 and width 0"),
        ('{"name": "a", "height": -3, "width": 3}', "'height' is -3"),
        ('{"name": "a", "image_format": "gif"}', "'image_format' is 'gif'"),
        ('{"name": "a", "quality": 0}', "'quality' is 0"),
        ('{"height": 3}', 'needs a "name"'),
        ('{"name": "../a"}', 'needs a "name"'),
        ('{"name": "default", "height": 3}', "the predefined config 'default'"),
        ("{name: a}", "is not JSON"),
    ],
)
def test_bad_configs(tmp_path, capsys, option, says):
    raw = write_raw(tmp_path / "raw", ["train"])
    assert command("build", "places_csv", raw, tmp_path / "out", f"--config={option}") == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_bad_names_and_folders(tmp_path, capsys):
    assert main(["build", "places_csv", "--data_dir=gs://bucket"]) == 2
    assert "gs://bucket (--data_dir or" in capsys.readouterr().err
    assert main(["build", "place_csv", f"--data_dir={tmp_path}"]) == 2
    assert "no builder is called 'place_csv'; there are" in capsys.readouterr().err
    assert main(["build", "places_csv", f"--data_dir={tmp_path}"]) == 2
    assert "--manual_dir is missing" in capsys.readouterr().err
    assert command("build", "places_csv", tmp_path / "none", tmp_path) == 2
    assert "is not a folder" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_finished_build_is_kept(tmp_path, capsys, monkeypatch):
    raw, out = write_raw(tmp_path / "raw"), tmp_path / "out"
    assert command("build", "places_csv", raw, out) == 0
    before = tree(out)
    assert command("build", "places_csv", raw, out) == 0
    assert "is already built" in capsys.readouterr().out
    _break(raw, 2, "train,train/000.png,7,7")
    monkeypatch.setenv("HOME", str(tmp_path))
    for given in (raw, "~/raw"):
        assert command("build", "places_csv", given, out) == 2
        assert "was built from another places.csv; delete" in capsys.readouterr().err
    one, two = (f'--config={{"name": "a", "height": {h}, "width": 8}}' for h in (6, 4))
    assert command("build", "places_csv", raw, out, one) == 0
    assert command("build", "places_csv", raw, out, two) == 2
    assert "is already built with height 6, not 4" in capsys.readouterr().err
    assert {k: v for k, v in tree(out).items() if "/a/" not in k} == before


def test_an_error_leaves_other_datasets_alone(tmp_path):
    raw, out = write_raw(tmp_path / "raw"), tmp_path / "out"
    assert command("build", "places_csv", raw, out) == 0
    before = tree(out)
    (raw / "train/001.png").write_bytes(b"")
    other = '--config={"name": "other", "height": 4, "width": 4}'
    assert command("build", "places_csv", raw, out, other) == 2
    assert tree(out) == before
    assert [path.name for path in (out / "places_csv").iterdir() if path.is_dir()] == [
        ".config", "default",
    ] or not (out / "places_csv/other").exists()  # fmt: skip


def test_two_builds_at_once(tmp_path, capsys):
    raw, out = write_raw(tmp_path / "raw"), tmp_path / "out"
    builder = discover.make("places_csv", None, out)
    work = work_dir(builder)
    work.mkdir(parents=True)
    with (work / "lock").open("w") as lock:  # as the other process holds it
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert command("build", "places_csv", raw, out) == 2
    assert "is being built by another process" in capsys.readouterr().err


def test_a_killed_build_goes_on_with_the_same_bytes(tmp_path, monkeypatch):
    raw = write_raw(tmp_path / "raw", ["train"], count=300)
    config = '--config={"name": "big", "height": 240, "width": 320}'
    assert command("build", "places_csv", raw, tmp_path / "whole", config) == 0
    args = [sys.executable, "-m", "tfds_builders", "build", "places_csv", f"--manual_dir={raw}"]
    args += [f"--data_dir={tmp_path / 'killed'}", config]
    final = tmp_path / "killed/places_csv/big/1.0.0"
    work = final.with_name("1.0.0.work")
    # Killed as soon as the first chunk is there, then again once there are more.
    for wanted in (1, 3):
        process = subprocess.Popen(args, cwd=ROOT, stderr=subprocess.DEVNULL)
        while len(list(work.glob("*.chunk"))) < wanted and process.poll() is None:
            time.sleep(0.002)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert not final.exists()
    kept = len(list(work.glob("*.chunk")))
    assert kept
    final.with_name("incomplete.ABCDEF_1.0.0").mkdir()
    encoded = []
    encode = PlacesBuilder.encode
    monkeypatch.setattr(
        PlacesBuilder, "encode", lambda self, frame: encoded.append(1) or encode(self, frame)
    )
    assert command("build", "places_csv", raw, tmp_path / "killed", config) == 0
    assert len(encoded) <= 300 - 32 * kept + 20  # the last of the ten chunks holds 12 images
    assert tree(tmp_path / "killed") == tree(tmp_path / "whole")
