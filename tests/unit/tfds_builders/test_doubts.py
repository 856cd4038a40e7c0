"""Warnings about figures that are in another unit than they should be."""

import json

import pytest

from tests.helpers.raw_places import command, write_raw


@pytest.mark.parametrize(
    ("rows", "config", "warned"),
    [
        (
            ["0,0,90", "20,0,270.5", "20,0,"],
            {},
            [
                "headings are radians; 2 of 3 are beyond 2 pi, up to 270.5: if these are degrees, "
                "write radians"
            ],
        ),
        (
            ["0,0,1.5", "20,0,-999", "20,0,-999"],
            {},
            [
                "2 of 3 headings are -999: where that stands for an unknown one, leave it empty",
            ],
        ),
        (
            ["0,0,1.5", "20,0,-1", "20,0,-1"],
            {},
            [
                "2 of 3 headings are -1: where that stands for an unknown one, leave it empty",
            ],
        ),
        (["0,0,-1.5", "20,0,-1", "20,0,-1"], {}, []),
        (["0,0,6.2832", "20,0,-6.284", "20,0,"], {}, []),
        (
            ["-1.26,51.75,", "-1.2525,51.752,"],
            {},
            ["positions span only 0.0075 m: degrees of longitude and latitude?"],
        ),
        (["-1.26,51.75,", "-1.2525,51.752,"], {"position_unit": "degrees"}, []),
        (  # two towns
            ["-1.26,51.75,", "-1.2601,51.7501,", "-1.2602,51.7502,", "0.12,52.2,"],
            {},
            ["positions of train are only 0.000141421 m apart: degrees of longitude and latitude?"],
        ),
        (
            ["620.021,5735.011,", "620.026,5735.012,"],
            {},
            ["positions span only 0.005 m: kilometres?"],
        ),
        (["620000,5735000,", "620000,5735000,"], {}, ["positions span only 0 m: rounded?"]),
        (
            ["620021,5735011,", "620026,5735012,", "0,0,", "0,0,"],
            {},
            [
                "2 of 4 images lie at 0, 0, 5.76843e+06 m and more from all others: where a query's "
                "position is unknown, leave it empty; leave other images out"
            ],
        ),
        (["0,0,", "0,1,", "900,40,"], {}, []),
        (["0,0,", "0,1,"], {}, []),
        (["0,0,"], {}, []),
    ],
)
def test_degrees_are_warned_of(tmp_path, capsys, rows, config, warned):
    raw = write_raw(tmp_path / "raw", ["train"], count=len(rows))
    rows = [f"train,train/{i:03d}.png,{row}" for i, row in enumerate(rows)]
    (raw / "places.csv").write_text("\n".join(["sequence,image,x,y,heading", *rows]))
    option = f"--config={json.dumps({'name': 'mine'} | config)}"
    for verb in ("validate", "build"):
        assert command(verb, "places_csv", raw, tmp_path / "out", option) == 0
        told = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
        assert [line.removeprefix("warning: ") for line in told] == warned
    info = json.loads((tmp_path / "out/places_csv/mine/1.0.0/metadata.json").read_text())
    assert info["warnings"] == warned


@pytest.mark.parametrize(("stuck", "warned"), [(6, 1), (5, 0)])
def test_a_receiver_that_keeps_its_position_is_told(tmp_path, capsys, stuck, warned):
    raw = write_raw(tmp_path / "raw", count=10)
    lines = (raw / "places.csv").read_text().splitlines()
    kept = [",".join([*line.split(",")[:2], "620000.5", "7"]) for line in lines[11 : 11 + stuck]]
    (raw / "places.csv").write_text("\n".join([*lines[:11], *kept, *lines[11 + stuck :]]))
    assert command("validate", "places_csv", raw, tmp_path / "out") == 0
    said = "6 of 10 images of test01 lie at one position, 620000.50, 7.00: where a receiver kept it"
    assert capsys.readouterr().err.count(said) == warned
