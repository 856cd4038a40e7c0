"""`positions` writes as JSON where images were taken: every layout, found by itself, and quickly."""

import json
import math
import os
import resource
import subprocess
import sys

import pyproj
import pytest
from PIL.ExifTags import GPS
from PIL.TiffImagePlugin import IFDRational

from tests.helpers.commands import ROOT
from tests.helpers.raw_photos import place, taken, write_photo
from tests.helpers.raw_places import write_raw
from tests.reliability.test_fuzz_tables import mat_of
from tests.unit.tfds_builders.test_layouts import write
from tfds_builders.__main__ import main

KEYS = {"image", "id", "x", "y", "lat", "lon", "altitude", "heading", "time"}


def positions(raw, *more):
    """The JSON of a raw folder, as a user types the command."""
    out = raw.parent / "out.json"
    assert main(["positions", str(raw), f"--out={out}", *more]) == 0
    assert sorted(path.name for path in raw.parent.iterdir() if "out.json" in path.name) == [
        "out.json"
    ]
    return json.loads(out.read_text())


def unknown(images, *keys):
    return all(image[key] is None for image in images for key in keys)


def test_photos(tmp_path, capsys):
    raw, where = tmp_path / "raw", (50.001, 5.002)
    heading = {GPS.GPSImgDirectionRef: "T", GPS.GPSImgDirection: IFDRational(270, 1)}
    height = {GPS.GPSAltitudeRef: b"\0", GPS.GPSAltitude: IFDRational(25, 2)}
    clock = taken("2024:02:29 12:00:00", "25", "+01:00")
    write_photo(raw / "monday/b.jpg", place(*where) | heading | height, clock)
    write_photo(raw / "tuesday/a.jpg", place(*where))
    write_photo(raw / "tuesday/b.jpg")
    found = positions(raw)
    x, y = pyproj.Transformer.from_crs(4326, 32631).transform(*where)
    (first,), (second,) = found["splits"]["monday"], found["splits"]["tuesday"]
    assert set(first) == set(second) == KEYS
    assert first["image"] == first["id"] == "monday/b.jpg"
    assert math.dist((first["x"], first["y"]), (x, y)) < 0.01
    assert (first["lat"], first["lon"]) == pytest.approx(where, abs=1e-8)
    assert (first["altitude"], first["time"]) == (12.5, 1_709_204_400.25)
    assert first["heading"] == pytest.approx(-math.pi / 2)
    assert unknown([second], "altitude", "heading", "time")
    assert (found["layout"], found["crs"], found["position_unit"]) == ("photos", "EPSG:32631", "m")
    assert found["root"] == str(raw) and found["pose_source"] == "GPS of the photos' EXIF data"
    left = {"split": "tuesday", "image": "tuesday/b.jpg", "reason": "no GPS position"}
    assert found["left_out"] == [left]
    said = capsys.readouterr()
    assert "2 images, 2 with a position (layout photos)" in said.out
    assert [f"warning: {text}" for text in found["warnings"]] == [
        line for line in said.err.splitlines() if line.startswith("warning")
    ]
    assert "1 of 3 photos are left out, with no GPS position: tuesday/b.jpg" in said.err


def test_images_without_positions_are_all_kept(tmp_path):
    raw = tmp_path / "raw"
    for name in ("b.jpg", "a.png", "c.jpg"):
        write_photo(raw / name)
    found = positions(raw)
    images = found["splits"]["images"]
    assert [image["image"] for image in images] == ["a.png", "b.jpg", "c.jpg"]
    assert unknown(images, *KEYS - {"image", "id"})
    assert found["crs"] is None and found["pose_source"] is None
    without = "no position is known: none of 3 images has one (3 with no GPS position)"
    assert without in found["warnings"]
    assert positions(raw, '--config={"layout": "photos"}') == found


def test_a_table(tmp_path):
    raw = write_raw(tmp_path / "raw", ["train"], columns="heading,time")
    found = positions(raw)
    assert (found["layout"], found["crs"], found["pose_source"]) == ("csv", None, "places.csv")
    images = found["splits"]["train"]
    assert [image["image"] for image in images] == [f"train/00{i}.png" for i in (2, 1, 0)]
    assert (images[0]["x"], images[0]["y"], images[0]["time"]) == (2.5, -2.0, 998.0)
    assert images[0]["heading"] == 0.2 and images[0]["id"] == "train/train/002.png"
    assert unknown(images, "lat", "lon", "altitude")


def test_a_table_by_its_path_and_of_degrees(tmp_path):
    raw = write_raw(tmp_path / "raw", ["train"])
    rows = ["sequence,image,lat,lon", "q,train/000.png,50,5", "q,train/001.png,,"]
    (raw / "other.csv").write_text("\n".join(rows))
    out = tmp_path / "o.json"
    assert main(["positions", str(raw / "other.csv"), f"--out={out}"]) == 0
    found = json.loads(out.read_text())
    assert found["root"] == str(raw) and found["crs"] == "EPSG:32631"
    first, second = found["splits"]["q"]
    assert (first["lat"], first["lon"]) == pytest.approx((50, 5), abs=1e-9)
    assert unknown([second], "x", "y", "lat", "lon", "time")


def test_doubts_about_positions_are_told(tmp_path):
    raw = write_raw(tmp_path / "raw", ["train"])
    rows = ["sequence,image,x,y,heading", *(f"q,train/00{i}.png,-1.2{i},51.7,90" for i in range(2))]
    (raw / "places.csv").write_text("\n".join(rows))
    turned, near = positions(raw)["warnings"]
    assert turned.startswith("headings are radians; 2 of 2 are beyond 2 pi")
    assert near == "positions span only 0.01 m: degrees of longitude and latitude?"


def test_utm_names_dbstructs_and_numbers(tmp_path):
    raw = tmp_path / "utm/raw"
    write(raw / "a", "@620021.33@5735011.90@30@U@@@@@90@@@@20190110_114631@@.png")
    found = positions(raw)
    (one,) = found["splits"]["a"]
    assert (found["layout"], found["crs"]) == ("utm", "EPSG:32630")
    assert (one["x"], one["y"], one["time"]) == (620021.33, 5735011.9, 1547120791.0)
    back = pyproj.Transformer.from_crs(4326, 32630).transform(one["lat"], one["lon"])
    assert back == pytest.approx((620021.33, 5735011.9), abs=1e-3)
    raw = tmp_path / "mat/raw"
    write(raw, "000/000.jpg", "queries/000/000.jpg")
    (raw / "val.mat").write_bytes(mat_of(["000/000.jpg"], False))
    found = positions(raw)
    assert found["layout"] == "dbstruct" and unknown(found["splits"]["val_queries"], "time", "lat")
    assert found["splits"]["val_queries"][0]["image"] == "queries/000/000.jpg"
    raw = tmp_path / "aligned/raw"
    write(raw, "summer/7.png", "summer/10.png")
    found = positions(raw, '--config={"layout": "aligned", "pose_source": "counted"}')
    assert [image["x"] for image in found["splits"]["summer"]] == [7, 10]
    assert unknown(found["splits"]["summer"], "time", "lat")
    assert (found["position_unit"], found["pose_source"]) == ("frames", "counted")


def test_a_name_that_is_no_utf8_is_refused(tmp_path):
    raw = tmp_path / "raw"
    write_photo(raw / "a.jpg")
    os.rename(raw / "a.jpg", os.fsencode(raw / "a") + b"\xe9.jpg")
    out = tmp_path / "o.json"
    assert main(["positions", str(raw), f"--out={out}"]) == 2
    assert not out.exists()


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["nowhere"], "nowhere is no folder, .csv or video; give the folder of the images"),
        (["raw", "--config={"], "--config={ is not JSON"),
        (["raw", "--config=[]"], "--config=[] is no JSON object; give layout, position_unit, pose_source"),
        (["raw", '--config={"height": 3}'], "--config has no key height; positions knows layout, "),
        (["raw", '--config={"layout": 3}'], "config key 'layout' is 3; give a text"),
        (["raw", '--config={"layout": "x"}'], "config key 'layout' is 'x'; known: csv, utm, "),
        (["raw", '--config={"layout": "csv"}'], "places.csv does not exist; write it"),
        (["raw", "--out=no/such/o.json"], "--out=no/such/o.json must name a file in a folder that exists"),
        (["raw", "--out=raw/a.jpg"], "--out=raw/a.jpg is a file that `positions` did not write; name"),
        (["empty"], "holds no images"),
        (["raw", "--fps=1"], "--fps is for a video, and raw is none; leave it out"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_writes_nothing(tmp_path, monkeypatch, capsys, more, told):
    monkeypatch.chdir(tmp_path)
    write_photo(tmp_path / "raw/a.jpg")
    (tmp_path / "empty").mkdir()
    assert main(["positions", "--out=o.json", *more]) == 2
    assert told in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "raw"]


def test_it_starts_quickly_and_imports_no_tfds(tmp_path):
    write_photo(tmp_path / "raw/a.jpg", place(50, 5))
    program = (
        "import sys; from tfds_builders.__main__ import main; "
        f"main(['positions', {str(tmp_path / 'raw')!r}, '--out={tmp_path}/o.json']); "
        "print(sorted({'tensorflow_datasets', 'tensorflow', 'jax', 'cv2', 'scipy'} & set(sys.modules)))"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.stdout.splitlines()[-1] == "[]"
    assert after.ru_utime - before.ru_utime < 2
