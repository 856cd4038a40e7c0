"""Frames of a video with a GPX track or a CSV of times, as a user types the command."""

import json
import math

import cv2
import numpy as np
import pyproj
import pytest

from tfds_builders.__main__ import main
from tfds_builders.poses.times import clock

RATE, COUNT = 10, 50  # frames a second, frames
START = 1_709_204_400  # 2024-02-29T11:00:00Z


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """Five seconds in which frame i has the grey level 5 i."""
    path = tmp_path_factory.mktemp("film") / "ride.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), RATE, (64, 48))
    for i in range(COUNT):
        writer.write(np.full((48, 64, 3), 5 * i, np.uint8))
    writer.release()
    return path


def gpx(points, head='<gpx version="1.1" creator="a" xmlns="http://www.topografix.com/GPX/1/1">'):
    """A GPX file of (latitude, longitude, elevation, second) points."""
    rows = "".join(
        f'<trkpt lat="{lat}" lon="{lon}"><ele>{ele}</ele>'
        f"<time>2024-02-29T11:00:{second:02d}Z</time></trkpt>"
        for lat, lon, ele, second in points
    )
    return f"<?xml version='1.0'?>{head}<trk><trkseg>{rows}</trkseg></trk></gpx>"


def run(tmp_path, film, track, *more):
    """The command's exit status; `track` is a name and a text."""
    (tmp_path / track[0]).write_text(track[1])
    options = [f"--track={tmp_path / track[0]}", f"--frames={tmp_path / 'frames'}"]
    return main(["positions", str(film), f"--out={tmp_path / 'o.json'}", *options, *more])


def found(tmp_path):
    written = json.loads((tmp_path / "o.json").read_text())
    return written, written["splits"]["ride"]


def level(tmp_path, image):
    return cv2.imread(str(tmp_path / "frames" / image["image"]))[24, 32].mean()


def test_frames_per_second_of_a_gpx_track(tmp_path, film):
    pytest.importorskip("gpxpy")
    points = [(50, 5, 10, 0), (50.0004, 5.0001, 20, 2), (50.0004, 5.0009, 60, 6)]
    start = "--start=2024-02-29T12:00:01+01:00"
    assert run(tmp_path, film, ("ride.gpx", gpx(points)), "--fps=2", start) == 0
    written, images = found(tmp_path)
    assert [image["image"] for image in images] == [f"ride_{5 * i:06d}.jpg" for i in range(10)]
    assert sorted(path.name for path in (tmp_path / "frames").iterdir()) == [
        i["id"] for i in images
    ]
    assert [image["time"] for image in images] == [START + 1 + 0.5 * i for i in range(10)]
    to = pyproj.Transformer.from_crs(4326, 32631)
    a, b, c = (np.array(to.transform(lat, lon)) for lat, lon, *_ in points)
    for image, moment in zip(images, np.arange(1, 6, 0.5), strict=True):
        expected = a + (b - a) * moment / 2 if moment < 2 else b + (c - b) * (moment - 2) / 4
        assert math.dist(expected, (image["x"], image["y"])) < 0.01
        assert image["altitude"] == pytest.approx(np.interp(moment, [0, 2, 6], [10, 20, 60]))
        assert image["heading"] is None
    for i in (0, 3, 9):
        assert level(tmp_path, images[i]) == pytest.approx(25 * i, abs=4)
    assert (written["layout"], written["crs"]) == ("video", "EPSG:32631")
    assert written["root"] == str(tmp_path / "frames") and not written["warnings"]


def test_frames_per_metre_of_a_csv(tmp_path, film):
    """Two metres a second, then a stop, then four."""
    rows = "time,x,y\n0,0,0\n2,0,4\n3,0,4\n5,8,4\n"
    assert run(tmp_path, film, ("ride.csv", rows), "--metres=2", "--start=0") == 0
    written, images = found(tmp_path)
    assert [(round(i["x"], 6), round(i["y"], 6)) for i in images] == [
        (0, 0), (0, 2), (0, 4), (2, 4), (4, 4), (6, 4)
    ]  # fmt: skip
    assert [image["time"] for image in images] == [0, 1, 2, 3.5, 4, 4.5]
    assert written["crs"] is None and images[0]["lat"] is None and images[0]["altitude"] is None


def test_frames_outside_the_track_are_listed(tmp_path, film, capsys):
    rows = "time,lat,lon\n" + "".join(
        f"2024-02-29T11:00:{s:02d}Z,{50 + s * 1e-5},5\n" for s in (1, 2, 3)
    )
    assert run(tmp_path, film, ("r.csv", rows), "--fps=1", "--start=2024-02-29T11:00:00") == 0
    written, images = found(tmp_path)
    assert [image["time"] - START for image in images] == [1, 2, 3]
    reason = "before the track begins or after it ends"
    assert written["left_out"] == [
        {"split": "ride", "image": f"ride_{n:06d}.jpg", "reason": reason} for n in (0, 40)
    ]
    assert len(list((tmp_path / "frames").iterdir())) == 3
    assert (
        f"warning: 2 frames are left out, {reason}, e.g. ride_000000.jpg" in capsys.readouterr().err
    )


def test_without_a_start_it_is_the_tracks(tmp_path, film, capsys):
    rows = "time,x,y\n100,0,0\n110,100,0\n180,100,0\n"
    assert run(tmp_path, film, ("r.csv", rows), "--fps=1") == 0
    _, images = found(tmp_path)
    assert [image["x"] for image in images] == pytest.approx([0, 10, 20, 30, 40])
    told = capsys.readouterr().err
    assert "the video is taken to start when the track does; else give --start" in told
    assert "r.csv has no point for up to 70 s" in told


GOOD = ("r.csv", "time,x,y\n0,0,0\n9,9,9\n")


@pytest.mark.parametrize(
    ("track", "more", "told"),
    [
        (GOOD, [], "a video needs either --fps or --metres; see positions --help"),
        (GOOD, ["--fps=1", "--metres=1"], "a video needs either --fps or --metres"),
        (GOOD, ["--fps=0"], "--fps=0 must be more than 0"),
        (GOOD, ["--fps=1", "--start=noon"], "--start=noon is no time; write 2024-02-29T12:00:00+01:00"),
        (GOOD, ["--fps=1", "--start=1e6"], "no frame is inside the track, which runs from 0.000 to 9.0"),
        (GOOD, ["--fps=1", "--frames=no/such"], "/no is no folder; make it"),
        (("r.csv", "time,x\n0,0\n"), ["--fps=1"], "its columns are time,x; give time,x,y or time,lat,lon"),
        (("r.csv", "time,x,y\n0,0,a\n"), ["--fps=1"], "r.csv:2: time and position are no numbers ("),
        (("r.csv", "time,lat,lon\n0,99,5\n"), ["--fps=1"], "r.csv:2: [99.0, 5.0] is beyond 84, 180"),
        (("r.csv", "time,x,y\n0,0\n"), ["--fps=1"], "r.csv:2: time and position are no numbers"),
        (("r.csv", "time,x,y\n0,0,\"" + "0" * 140_000), ["--fps=1"], "r.csv:2: broken CSV (field larger"),
        (("r.csv", "time,x,y\n0,0,0\n0,1,1\n"), ["--fps=1"], "holds 1 points of different times; give two"),
    ],
)  # fmt: skip
def test_what_is_wrong_leaves_nothing(tmp_path, monkeypatch, capsys, film, track, more, told):
    monkeypatch.chdir(tmp_path)
    assert run(tmp_path, film, track, *more) == 2
    assert told in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [track[0]]


BOMB = '<!DOCTYPE gpx [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><gpx version="1.1">'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (gpx([(50, 5, 0, 0)], BOMB), "declares XML entities; export the track again"),
        ("<gpx><trk>", "is no readable GPX file"),
        (gpx([]), "holds no track points with a time; record one with times"),
        (gpx([("nan", 5, 0, 0)]), "has a point beyond 84 degrees of latitude or 180 of longitude"),
    ],
)
def test_bad_gpx_files(tmp_path, film, capsys, text, told):
    pytest.importorskip("gpxpy")
    assert run(tmp_path, film, ("r.gpx", text), "--fps=1") == 2
    assert told in capsys.readouterr().err


def test_what_is_no_video(tmp_path, capsys):
    (tmp_path / "a.mp4").write_bytes(b"text")
    assert run(tmp_path, tmp_path / "a.mp4", GOOD, "--fps=1") == 2
    assert "a.mp4 is no video that OpenCV reads; convert it to MP4" in capsys.readouterr().err
    assert not (tmp_path / "frames").exists()


def test_frames_of_another_run_are_kept(tmp_path, film, capsys):
    (tmp_path / "frames").mkdir()
    (tmp_path / "frames/mine.jpg").touch()
    assert run(tmp_path, film, GOOD, "--fps=1") == 2
    assert "holds something; name a new or empty folder" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "frames").iterdir()] == ["mine.jpg"]


@pytest.mark.parametrize("text", ["nan", "inf", "noon", ""])
def test_what_is_no_time(text):
    with pytest.raises(ValueError):
        clock(text)
