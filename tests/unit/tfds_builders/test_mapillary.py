"""Photos described by mapillary_tools: positions, headings, times, what has no description."""

import json

import numpy as np
import pyproj

from tests.helpers.raw_places import command, metadata, records
from tests.unit.tfds_builders.test_layouts import write
from tfds_builders import positions

OPTION = '--config={"name": "mine", "layout": "mapillary"}'


def entry(name, number, **more):
    """A description in the tool's form, of made-up values; times fall while numbers rise."""
    return {
        "filename": name,
        "filetype": "image",
        "MAPLatitude": -33.9 + number / 1000,
        "MAPLongitude": 18.4 + number / 1000,
        "MAPAltitude": 9.5,
        "MAPCaptureTime": f"2024_02_29_12_00_0{9 - number}_25{number}",
        "MAPCompassHeading": {"TrueHeading": 350.0 + number, "MagneticHeading": 350.0 + number},
        "MAPSequenceUUID": "0",
    } | more


def write_raw(raw, *more) -> None:
    write(raw, *(f"ride/{n}.jpg" for n in range(3)))
    entries = [entry(f"/home/other/RIDES/ride/{n}.jpg", n) for n in range(3)]
    (raw / "mapillary_image_description.json").write_text(json.dumps([*entries, *more]))


def test_positions_headings_and_times(tmp_path, capsys):
    raw = tmp_path / "raw"
    error = {
        "filename": "/x/bad.jpg",
        "filetype": "image",
        "error": {"type": "NoGPS", "message": ""},
    }
    write_raw(raw, error, {"filename": "ride.mp4", "filetype": "video"})
    assert command("build", "places_csv", raw, tmp_path / "out", OPTION) == 0
    found = records(tmp_path / "out/places_csv/mine/1.0.0", "ride")
    onto = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:32734", always_xy=True)
    for record, number in zip(found, (2, 1, 0), strict=True):  # in the order of time
        assert record["image_id"] == f"ride/{number}.jpg".encode()
        place = onto.transform(18.4 + number / 1000, -33.9 + number / 1000)
        np.testing.assert_allclose(record["position"], place, atol=0.01)
        assert abs(np.degrees(record["heading"]) % 360 - 350 - number) < 1e-6
        assert record["timestamp"] == 1_709_208_009_250_000 - 1_000_000 * number + 1000 * number
    assert metadata(tmp_path, builder="places_csv")["crs"] == "EPSG:32734"
    assert positions.find_layout(raw) == "mapillary"
    said = capsys.readouterr().err
    assert "1 of 5 photos are left out, with mapillary_tools' error NoGPS: bad.jpg" in said
    assert "1 of 5 photos are left out, with a video's description: ride.mp4" in said


def test_faults(tmp_path, capsys):
    raw = tmp_path / "raw"
    write_raw(raw, entry("ride/9.jpg", 3), entry("ride/0.jpg", 4, MAPLatitude=118.4))
    table = raw / "mapillary_image_description.json"
    entries = json.loads(table.read_text())
    entries[1]["MAPCaptureTime"] = "2024-02-29T12:00:00Z"
    del entries[2]["MAPLongitude"]
    table.write_text(json.dumps(entries))
    assert command("validate", "places_csv", raw, tmp_path / "out", OPTION) == 2
    said = capsys.readouterr().err
    assert "entry 4: ride/9.jpg is not below" in said
    assert "entry 3: MAPLatitude is 118.4" in said
    assert "entry 1: MAPCaptureTime is '2024-02-29T12:00:00Z', no YYYY_MM_DD" in said
    assert "entry 2: it has no MAPLongitude" in said
    for text, sentence in (
        ("{}", "is no list of descriptions"),
        ("[", "cannot be read"),
        ('[{"filename": "a.jpg", "error": {}}]', "describes no photo but 1 with an error"),
    ):
        table.write_text(text)
        assert command("validate", "places_csv", raw, tmp_path / "out", OPTION) == 2
        assert sentence in capsys.readouterr().err
