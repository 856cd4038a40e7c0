"""Frames of a query video along its track: which, what is left out, and what is refused."""

import contextlib
import io
import json
import subprocess

import cv2
import numpy as np
import pytest

from tests.helpers import made_up_model
from tests.helpers.made_up_model import drive
from tfds_builders.__main__ import main as builders_main
from vprjax.errors import DataError
from vprjax.localize import along, builders
from vprjax.localize.__main__ import main
from vprjax.localize.along import Along, Track
from vprjax.localize.map import Map

RATE, COUNT = 10, 60  # frames a second, frames
STOP = "time,x,y\n0,0,0\n2,0,4\n3,0,4\n5,8,4\n"  # two metres a second, a stop, then four


def made(times, positions, start=0.0, warnings=()):
    positions = np.asarray(positions, np.float64).T
    steps = np.hypot(*np.diff(positions, axis=1))
    metres = np.concatenate([[0.0], np.cumsum(steps)])
    return Track(np.asarray(times, np.float64), positions, metres, start, warnings)


def taken(track, metres, seconds):
    """The seconds of the frames that are taken."""
    found = Along(track, metres)
    return [float(one) for one in seconds if found(one)]


def test_a_steady_drive_gives_a_frame_every_so_many_metres():
    track = made([0, 100], [[0, 0], [1000, 0]])  # 10 m/s
    found = taken(track, 5, np.arange(0, 60, 0.1).round(6))
    np.testing.assert_allclose(found, np.arange(0, 60, 0.5), atol=1e-9)
    assert taken(track, 30, np.arange(0, 10, 1.0)) == [0, 3, 6, 9]
    assert taken(track, 3, np.arange(0, 10, 1.0)) == list(range(10))  # each frame once


def test_a_standing_vehicle_gives_none_though_its_receiver_wanders():
    rng, times = np.random.default_rng(0), np.arange(200.0)
    x = np.concatenate([10 * np.arange(50), np.full(100, 490), 490 + 10 * np.arange(1, 51)])
    places = np.stack([x, np.zeros(200)], axis=1)
    places[50:150] += rng.normal(scale=0.4, size=(100, 2))
    track = made(times, places)
    assert track.metres[150] - track.metres[49] > 40  # metres that nobody went
    found = np.array(taken(track, 5, np.arange(0, 199, 0.1)))
    assert ((found > 49.6) & (found < 149)).sum() == 0
    assert len(found) == pytest.approx(2 * 99, abs=4)


def test_a_roundabout_counts_as_way():
    turn = np.linspace(0, 4 * np.pi, 241)  # two rounds of 8 m radius
    track = made(np.linspace(0, 24, 241), 8 * np.stack([np.cos(turn), np.sin(turn)], axis=1))
    assert len(taken(track, 5, np.arange(0, 24, 0.02))) == int(4 * np.pi * 8 / 5) + 1


def test_frames_outside_the_track_are_counted():
    found = Along(made([2, 4], [[0, 0], [20, 0]], 1.0, ("mind the gap",)), 5)
    assert found.notes == ["mind the gap"] and found.left_out == ""
    assert [one for one in np.arange(0, 5, 0.5) if found(one)] == [1.0, 1.5, 2.0, 2.5, 3.0]
    assert (found.inside, found.outside) == (5, 5)
    words = "5 of 10 frames are left out, before the track begins or after it ends"
    assert found.left_out == words and found.notes == ["mind the gap", words]
    found.check("ride.mp4")
    found = Along(made([2, 4], [[0, 0], [20, 0]], 10.0), 5)
    assert not found(0.0)
    with pytest.raises(
        DataError, match=r"no frame of ride\.mp4 is inside the track, which runs from 2"
    ):
        found.check("ride.mp4")


def test_a_gpx_track_is_read_in_metres(tmp_path):
    pytest.importorskip("gpxpy")
    rows = "".join(
        f'<trkpt lat="{50 + i * 1e-4}" lon="5"><time>2024-02-29T11:00:{5 * i:02d}Z</time></trkpt>'
        for i in range(3)
    )
    gpx = tmp_path / "ride.gpx"
    gpx.write_text(f'<gpx version="1.1" creator="a"><trk><trkseg>{rows}</trkseg></trk></gpx>')
    found = along.read(str(gpx), "2024-02-29T12:00:01+01:00")
    assert found.start - found.times[0] == 1.0 and not found.warnings
    np.testing.assert_allclose(found.metres, [0, 11.12, 22.25], atol=0.02)
    assert np.hypot(*(found.positions[:, 2] - found.positions[:, 0])) == pytest.approx(
        22.25, abs=0.02
    )


@pytest.fixture
def in_process(monkeypatch):
    """Runs tfds_builders in this process, which takes no second to start."""

    def ran(command, **options):
        with contextlib.redirect_stderr(io.StringIO()) as said:
            status = builders_main(command[3:])
        return subprocess.CompletedProcess(command, status, "", said.getvalue())

    monkeypatch.setattr(builders.subprocess, "run", ran)


@pytest.fixture
def ride(tmp_path, monkeypatch, in_process):
    """A folder with a video of six seconds, its track, and a map that opens with its model."""
    built = Map.build(made_up_model.model(), drive(tmp_path / "monday"), tmp_path / "map")
    monkeypatch.setattr(Map, "open", lambda *_: built)
    monkeypatch.chdir(tmp_path)
    writer = cv2.VideoWriter("ride.avi", cv2.VideoWriter_fourcc(*"MJPG"), RATE, (64, 48))
    for number in range(COUNT):
        writer.write(np.full((48, 64, 3), 4 * number, np.uint8))
    writer.release()
    (tmp_path / "ride.csv").write_text(STOP)
    return tmp_path


def ask(*flags):
    return main(["query", "--map=map", "--images=ride.avi", *flags])


def times(folder):
    return [one["time"] for one in json.loads((folder / "a.json").read_text())]


def test_the_command_takes_the_frames_that_a_map_of_the_video_takes(ride, capsys):
    flags = ["--metres=2", "--track=ride.csv"]
    assert ask(*flags, "--start=0", "--out=a.json") == 0
    assert times(ride) == [0, 1, 2, 3.5, 4, 4.5, 5]
    said = capsys.readouterr().err.splitlines()
    assert said[-2:] == [
        "9 of 60 frames are left out, before the track begins or after it ends",
        "7 pictures answered in a.json",
    ]
    positions = ["positions", "ride.avi", *flags, "--start=0", "--frames=frames", "--out=o.json"]
    assert builders_main(positions) == 0
    rows = json.loads((ride / "o.json").read_text())["splits"]["ride"]
    assert [row["time"] for row in rows] == times(ride)


def test_doubts_of_the_track_are_told_on_the_page_too(ride, capsys):
    (ride / "gap.csv").write_text("time,x,y\n100,0,0\n101,9,0\n180,9,0\n")
    assert ask("--metres=3", "--track=gap.csv", "--page=a.html", "--out=a.json") == 0
    assert times(ride) == pytest.approx([0, 0.4, 0.7, 1.0], abs=0.01)
    said, page = capsys.readouterr().err, (ride / "a.html").read_text()
    for words in ("gap.csv has no point for up to 79 s", "taken to start when the track does"):
        assert words in said and words in page
    assert ask("--metres=3", "--track=ride.csv", "--start=1", "--page=a.html") == 0
    words = "19 of 60 frames are left out, before the track begins or after it ends"
    assert words in (ride / "a.html").read_text() and words in capsys.readouterr().err


def test_a_drive_is_followed_by_the_times_of_its_frames(ride):
    flags = ("--metres=2", "--track=ride.csv", "--start=0", "--speed=15", "--out=a.json")
    assert ask(*flags) == 0
    assert times(ride) == [0, 1, 2, 3.5, 4, 4.5, 5]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--metres=5"], "--metres=5 counts along the way that the video went: give --track=FILE, its"),
        (["--metres=5", "--fps=2", "--track=ride.csv"], "--fps and --metres both say which frames"),
        (["--metres=0", "--track=ride.csv"], "--metres=0: give metres per frame above 0"),
        (["--metres=nan", "--track=ride.csv"], "--metres=nan: give metres per frame above 0"),
        (["--track=ride.csv"], "--track serves --metres alone: give --metres=5 too, or leave it out"),
        (["--start=0"], "--start serves --metres alone"),
        (["--metres=5", "--track=ride.csv", "--images=monday"], "--metres is for a video's file, and mon"),
        (["--metres=5", "--track=no.gpx"], "the track cannot be read: --track="),
        (["--metres=5", "--track=ride.csv", "--start=noon"], "--start=noon is no time; write 2024"),
        (["--metres=5", "--track=ride.csv", "--start=99"], "no frame of ride.avi is inside the track"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_one_sentence(ride, capsys, flags, said):
    assert ask(*flags, "--out=a.json") == 2
    err = capsys.readouterr().err
    assert said in err and err.startswith("vprjax: error: ") and err.count("\n") == 1
    assert not (ride / "a.json").exists()


def test_help_tells_what_metres_needs(capsys):
    with pytest.raises(SystemExit):
        main(["query", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert (
        "one frame of a video per so many metres of its --track; where the camera stands, none"
        in said
    )
