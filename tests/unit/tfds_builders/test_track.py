"""A video's track as JSON, as a user types the command."""

import json

import pytest

from tfds_builders.__main__ import main

ROWS = "time,x,y\n0,0,0\n2,3,4\n4,3,4\n"


def run(tmp_path, *more, text=ROWS):
    (tmp_path / "a.csv").write_text(text)
    return main(["track", str(tmp_path / "a.csv"), f"--out={tmp_path / 'o.json'}", *more])


def test_points_and_their_way(tmp_path):
    for _ in range(2):  # its own file is written again
        assert run(tmp_path, "--start=1.5") == 0
    assert json.loads((tmp_path / "o.json").read_text()) == {
        "track": str(tmp_path / "a.csv"),
        "crs": None,
        "warnings": [],
        "start": 1.5,
        "times": [0.0, 2.0, 4.0],
        "x": [0.0, 3.0, 3.0],
        "y": [0.0, 4.0, 4.0],
        "metres": [0.0, 5.0, 5.0],
    }


def test_degrees_become_metres_and_doubts_are_kept(tmp_path):
    rows = "time,lat,lon\n2024-02-29T11:00:00,50,3\n2024-02-29T11:01:00Z,50.001,3\n"
    assert run(tmp_path, text=rows) == 0
    found = json.loads((tmp_path / "o.json").read_text())
    assert found["crs"] == "EPSG:32631" and found["x"][0] == pytest.approx(500_000)
    assert found["metres"][1] == pytest.approx(111.2, abs=0.1)
    assert found["start"] == found["times"][0] == 1_709_204_400
    for words in ("no Z and no offset", "no point for up to 60 s", "taken to start when the track"):
        assert any(words in said for said in found["warnings"])


@pytest.mark.parametrize(
    ("more", "text", "said"),
    [
        (["--start=noon"], ROWS, "--start=noon is no time"),
        ([], "time,x\n0,0\n", "its columns are time,x; give time,x,y or time,lat,lon"),
        (["--out=no/such/o.json"], ROWS, "must name a file in a folder that exists"),
    ],
)
def test_what_is_wrong_leaves_nothing(tmp_path, capsys, more, text, said):
    assert run(tmp_path, *more, text=text) == 2
    assert said in capsys.readouterr().err and not (tmp_path / "o.json").exists()


def test_files_of_others_stay(tmp_path, capsys):
    (tmp_path / "o.json").write_text('{"layout": "csv"}')
    assert run(tmp_path) == 2
    assert "o.json is a file that `track` did not write; name another" in capsys.readouterr().err
    assert (tmp_path / "o.json").read_text() == '{"layout": "csv"}'
