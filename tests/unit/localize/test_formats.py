"""Files of answers, read back by what reads such files."""

import csv
import dataclasses
import io
import json

import numpy as np
import pyproj
import pytest

from tests.helpers import made_up_model
from tests.helpers.made_up_model import drive, picture
from vprjax.errors import DataError
from vprjax.localize.formats import FORMATS, table
from vprjax.localize.formats.variant import known
from vprjax.localize.inputs import Asked
from vprjax.localize.map import Map


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """A map of twelve pictures, one of which has no position."""
    folder = tmp_path_factory.mktemp("map")
    found = Map.build(made_up_model.model(), drive(folder / "monday"))
    found.add(drive(folder / "lost", [50], x=None, y=None, heading=None, altitude=None))
    return found


@pytest.fixture
def answered(places):
    asked = [Asked('a, "b".png', picture(3)), Asked("v.mp4@1.500", picture(50), 1.5)]
    return [*zip(asked, places.query([one.picture for one in asked], k=2), strict=True)]


def test_csv_has_a_line_per_picture(places, answered):
    rows = [*csv.DictReader(io.StringIO(FORMATS[".csv"].text(places, answered)))]
    assert [row["image"] for row in rows] == ['a, "b".png', "v.mp4@1.500"]
    assert (rows[0]["match"], rows[0]["x"], rows[0]["y"]) == ("003.png", "500030.0", "5700000.0")
    assert (rows[0]["located"], rows[0]["time"], rows[1]["time"]) == ("unknown", "", "1.5")
    assert (rows[1]["match"], rows[1]["x"], rows[1]["y"]) == ("050.png", "", "")
    second = np.float32(rows[0]["distance_2"])
    assert second == answered[0][1].distances[1] and rows[0]["confidence"] == "1.0"
    assert rows[0]["match_2"] == answered[0][1].image_ids[1]
    nothing = FORMATS[".csv"].text(places, [])
    assert nothing == "image,time,located,confidence,match,x,y,distance\n"


def test_a_position_beyond_the_projection_is_null(places, answered):
    far = answered[0][1]
    far = dataclasses.replace(far, positions=np.full_like(far.positions, 1e12))
    written = FORMATS[".geojson"].text(places, [(answered[0][0], far)])
    assert "Infinity" not in written and json.loads(written)["features"][0]["geometry"] is None
    assert known(np.inf) is None and known(np.float64(2.5)) == 2.5


def test_located_in_words():
    assert table.WORDS[True] == "yes" and table.WORDS[False] == "no"


def test_json_says_null_for_what_is_unknown(places, answered):
    def refuse(constant):
        raise AssertionError(constant)

    first, second = json.loads(FORMATS[".json"].text(places, answered), parse_constant=refuse)
    assert first["image"] == 'a, "b".png' and first["located"] is first["rule"] is None
    assert first["queries"] == 0
    match = first["matches"][0]
    assert (match["x"], match["altitude"], match["heading"]) == (500030.0, 40.0, 0.5)
    assert second["matches"][0]["x"] is None and second["matches"][0]["heading"] is None
    assert np.float32(first["matches"][1]["distance"]) == answered[0][1].distances[1]
    assert json.loads(FORMATS[".json"].text(places, [])) == []


def test_geojson_is_longitude_and_latitude(places, answered):
    FORMATS[".geojson"].check(places)
    document = json.loads(FORMATS[".geojson"].text(places, answered))
    assert document["type"] == "FeatureCollection"
    first, second = document["features"]
    assert first["type"] == "Feature" and first["geometry"]["type"] == "Point"
    back = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:32631", always_xy=True)
    np.testing.assert_allclose(
        back.transform(*first["geometry"]["coordinates"]), (500030.0, 5700000.0), atol=0.002
    )
    assert first["properties"]["matches"][0]["image"] == "003.png"
    assert second["geometry"] is None


def test_geojson_needs_to_know_the_system(tmp_path):
    flat = Map.build(made_up_model.model(), drive(tmp_path / "flat", crs=None))
    with pytest.raises(DataError, match="does not know what its positions are coordinates of"):
        FORMATS[".geojson"].check(flat)
    odd = Map.build(made_up_model.model(), drive(tmp_path / "odd", crs="EPSG:1"))
    with pytest.raises(DataError, match="no way from EPSG:1 to WGS84"):
        FORMATS[".geojson"].check(odd)
