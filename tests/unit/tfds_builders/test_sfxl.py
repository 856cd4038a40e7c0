"""SF-XL through the command line: its real names, and headings from the crops' left edges."""

import json
import pathlib

import numpy as np
import pyproj
import pytest

from tests.helpers.raw_places import command, metadata, records
from tests.unit.tfds_builders.test_layouts import write

REAL = pathlib.Path(__file__).parents[4] / "shared/formats/sfxl/names.txt"
CROPS = [  # real names
    "@0543037.38@4180974.80@10@S@037.77510@-122.51130@1ooZhwTQyuNt0xiue5YhLg@@134@@@@201311@@.jpg",
    "@0543194.44@4181590.30@10@S@037.78064@-122.50948@eCTaveq9DNYVSPZwEAfgAw@@352@@@@201312@@.jpg",
    "@0554201.88@4178302.36@10@S@037.75042@-122.38473@JNhJBdxf5TcEvXULeJ0gQA@@0@@@@201709@@.jpg",
]
OTHER = (
    "@0544388.51@4172758.25@10@S@037.70098@-122.49646@kPnABhWJ1kA61eMNPLs1vQ@@210@@@@201606@@.jpg"
)
NIGHT = "@0543030.55@4180984.98@10@S@37.775128@-122.51158@31760538811@@@@@@20161226@@.jpg"


def build(tmp_path, layout="sfxl") -> dict[str, list[dict]]:
    option = f"--config={json.dumps({'name': 'mine', 'layout': layout})}"
    assert command("build", "places_csv", tmp_path / "raw", tmp_path / "out", option) == 0
    folder = tmp_path / "out/places_csv/mine/1.0.0"
    splits = json.loads((folder / "dataset_info.json").read_text())["splits"]
    return {split["name"]: records(folder, split["name"]) for split in splits}


def write_sfxl(raw) -> None:
    write(raw / "train/37.70", OTHER)
    write(raw / "train/37.77", *CROPS, first=10)
    write(raw / "val/database", *CROPS[:2], first=20)
    write(raw / "test/queries_night", NIGHT, first=30)


def middle_of_crop(left: float) -> float:
    """Degrees of the middle column of a crop whose left column looks `left`, column by column."""
    return left + (np.arange(512) + 0.5).mean() / 3328 * 360


def test_headings_are_the_optical_axes(tmp_path):
    write_sfxl(tmp_path / "raw")
    found = build(tmp_path)
    assert sorted(found) == ["test_queries_night", "train", "val_database"]
    assert len(found["train"]) == 4  # of all its folders
    for record in found["train"]:
        fields = record["image_id"].decode().rpartition("/")[2].split("@")
        turn = np.degrees(record["heading"]) - middle_of_crop(float(fields[9]))
        assert abs((turn + 180) % 360 - 180) < 0.01
        place = [float(fields[6]), float(fields[5])]
        onto = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:32610", always_xy=True)
        np.testing.assert_allclose(
            record["position"], onto.transform(*place), atol=1.5
        )  # 5 decimals
        np.testing.assert_array_equal(record["position"], [float(fields[1]), float(fields[2])])
    (night,) = found["test_queries_night"]
    assert np.isnan(night["heading"])
    told = metadata(tmp_path, builder="places_csv")
    assert told["crs"] == "EPSG:32610" and told["protocol"]["name"] == "sfxl_25m"


def test_other_at_names_keep_their_headings(tmp_path):
    """The same names in the layout `utm` turn by nothing: 27.7 degrees are SF-XL's crops' alone."""
    write(tmp_path / "raw/val/database", *CROPS)
    (split,) = build(tmp_path, "utm").values()
    assert sorted(np.degrees([r["heading"] for r in split]).round(6) % 360) == [0, 134, 352]


def test_panoramas_are_refused(tmp_path, capsys):
    write(tmp_path / "raw/raw/37.77", CROPS[0])
    write(tmp_path / "raw/processed/train/37.77", CROPS[0])
    option = '--config={"name": "mine", "layout": "sfxl"}'
    assert command("validate", "places_csv", tmp_path / "raw", tmp_path / "out", option) == 2
    assert (
        "holds SF-XL's panoramas, whose headings mean their middle; give" in capsys.readouterr().err
    )


@pytest.mark.skipif(not REAL.is_file(), reason="no shared samples")
def test_the_names_are_the_real_ones():
    assert {*CROPS, OTHER, NIGHT} < {*REAL.read_text().split()}
