"""GSV-Cities through the command line: names, positions, headings, labels, one zone or several."""

import json
import pathlib

import numpy as np
import pyproj
import pytest

from tests.helpers import raw_gsv_cities
from tests.helpers.raw_gsv_cities import BOSTON, LONDON, rows
from tests.helpers.raw_places import command, metadata, records

REAL = pathlib.Path(__file__).parents[4] / "shared/formats/gsv_cities/London_5rows.csv"


def build(tmp_path, **choices) -> list[dict]:
    option = json.dumps({"name": "mine", "layout": "gsv_cities", "choices": choices})
    raw, out = tmp_path / "raw", tmp_path / "out"
    assert command("build", "places_csv", raw, out, f"--config={option}") == 0
    return records(out / "places_csv/mine/1.0.0", "train")


def utm(fields, epsg: int) -> tuple[float, float]:
    """Easting and northing of a row, by pyproj alone."""
    onto = pyproj.Transformer.from_crs("EPSG:4326", f"EPSG:{epsg}", always_xy=True)
    return onto.transform(float(fields[6]), float(fields[5]))


@pytest.mark.parametrize("suffix", [".jpg", ".JPG"])
def test_one_city(tmp_path, suffix):
    raw_gsv_cities.write(tmp_path / "raw", {"London": LONDON}, suffix)
    found, table = build(tmp_path), rows(LONDON)
    assert len(found) == len(table)
    for record, fields in zip(found, table, strict=True):
        np.testing.assert_allclose(record["position"], utm(fields, 32630), atol=0.01)
        turn = np.degrees(record["heading"]) - float(fields[3])
        assert abs((turn + 180) % 360 - 180) < 0.1
        assert record["label"].decode() == f"London/{fields[0]}"
    assert found[0]["image_id"].decode() == (
        "Images/London/London_0000130_2018_04_015_51.4861_-0.0895151_6jFjb3wGyCkcBfq4k559ag"
        + suffix
    )
    told = metadata(tmp_path, builder="places_csv")
    assert told["crs"] == "EPSG:32630" and told["cities"] == {"London": "EPSG:32630"}


@pytest.mark.skipif(not REAL.is_file(), reason="no shared samples")
def test_the_real_rows_are_those_of_the_tests():
    assert REAL.read_text().splitlines() == [raw_gsv_cities.HEADER, *LONDON.splitlines()[:5]]


def test_cities_stand_side_by_side_and_keep_their_labels(tmp_path):
    raw_gsv_cities.write(tmp_path / "raw", {"London": LONDON, "Boston": BOSTON})
    found = build(tmp_path)
    assert [record["label"].decode() for record in found[:2]] == ["Boston/13", "Boston/13"]
    assert np.isnan(found[0]["heading"]) and found[1]["heading"] == pytest.approx(np.radians(7))
    for record, fields, epsg in (
        (found[1], rows(BOSTON)[1], 32619),
        (found[2], rows(LONDON)[0], 32630),
    ):
        east, north = utm(fields, epsg)
        prefixed = east + 1e6 * (epsg - 32600), north
        np.testing.assert_allclose(record["position"], prefixed, atol=0.01)
    told = metadata(tmp_path, builder="places_csv")
    assert "crs" not in told
    assert told["cities"] == {"Boston": "EPSG:32619", "London": "EPSG:32630"}
    assert any("2 cities lie in 2 UTM zones" in warning for warning in told["warnings"])


def test_a_place_keeps_its_label_whatever_cities_are_asked_for(tmp_path):
    raw_gsv_cities.write(tmp_path / "raw", {"London": LONDON, "Boston": BOSTON})
    alone = build(tmp_path, cities="London")
    assert [r["label"] for r in alone] == [f"London/{f[0]}".encode() for f in rows(LONDON)]
    np.testing.assert_allclose(alone[0]["position"], utm(rows(LONDON)[0], 32630), atol=0.01)


def said(tmp_path, capsys, **choices) -> str:
    option = json.dumps({"name": "mine", "layout": "gsv_cities", "choices": choices})
    raw, out = tmp_path / "raw", tmp_path / "out"
    assert command("validate", "places_csv", raw, out, f"--config={option}") == 2
    assert not out.exists()
    return capsys.readouterr().err


def test_faults(tmp_path, capsys):
    raw = tmp_path / "raw"
    raw_gsv_cities.write(raw, {"London": LONDON})
    assert "holds no table Paris.csv; it holds London" in said(tmp_path, capsys, cities="Paris")
    assert "'choices' has 'city'; the layout of GSV-Cities" in said(tmp_path, capsys, city="London")
    gone = next((raw / "Images/London").iterdir())
    gone.rename(raw / "elsewhere.jpg")
    assert "1 rows have no image in Images/London: line" in said(tmp_path, capsys)
    table = raw / "Dataframes/London.csv"
    table.write_text(table.read_text().replace("51.5187", "151.5187"))
    assert "London.csv:3: lat is '151.5187'; the dataset's own" in said(tmp_path, capsys)
    table.write_text(table.read_text().replace("northdeg", "heading"))
    assert "London.csv:1: no column northdeg" in said(tmp_path, capsys)


def test_an_image_in_no_row_is_told(tmp_path, capsys):
    raw_gsv_cities.write(tmp_path / "raw", {"London": LONDON})
    table = tmp_path / "raw/Dataframes/London.csv"
    table.write_text("\n".join(table.read_text().splitlines()[:-1]) + "\n")
    assert len(build(tmp_path)) == len(rows(LONDON)) - 1
    assert "London: 1 images are in no row of the table and are left out" in capsys.readouterr().err
