"""MSLS through the command line: positions, who counts, zones, what is wrong."""

import json

import numpy as np
import pyproj
import pytest

from tests.helpers import raw_msls
from tests.helpers.raw_msls import CITIES, DATABASE, QUERY, place
from tests.helpers.raw_places import command, metadata, records


def option(protocol="msls_25m", **choices) -> str:
    values = {"name": "mine", "layout": "msls", "protocol": protocol, "choices": choices}
    return f"--config={json.dumps(values)}"


def build(tmp_path, split, *, protocol="msls_25m", **choices) -> list[dict]:
    raw, out = tmp_path / "raw", tmp_path / "out"
    assert command("build", "places_csv", raw, out, option(protocol, **choices)) == 0
    return records(out / "places_csv/mine/1.0.0", split)


def keys(found: list[dict]) -> list[str]:
    return [record["image_id"].decode().rpartition("/")[2][:-4] for record in found]


def right(radius: float, subtask: bool) -> list[str]:
    """Keys of the val queries that count, by brute force over the helper's own metres."""
    there = [i for i in DATABASE if not i.pano and (i.subtask or not subtask)]
    return [
        q.key
        for q in QUERY
        if not q.pano
        and (q.subtask or not subtask)
        and min(np.hypot(q.east - d.east, q.north - d.north) for d in there) <= radius
    ]


@pytest.mark.parametrize(
    ("protocol", "subtask", "count"),
    [("msls_25m", "all", 6), ("msls_10m", "all", 4), ("msls_25m", "n2d", 4)],
)
def test_val_queries_that_count(tmp_path, protocol, subtask, count):
    raw_msls.write(tmp_path / "raw", "cph")
    found = build(tmp_path, "val_query", protocol=protocol, subtask=subtask)
    radius = {"msls_25m": 25, "msls_10m": 10}[protocol]
    assert keys(found) == right(radius, subtask == "n2d") and len(found) == count
    told = metadata(tmp_path, builder="places_csv")
    assert told["protocol"]["name"] == protocol and told["protocol"]["radius"] == radius
    dropped = told["counts"]["val_query"]["dropped"]
    assert dropped["a panorama"] == 1 and f"no database image within {radius} m" in dropped
    assert told["counts"]["val_query"]["found"] == len(QUERY)
    assert told["counts"]["val_database"]["dropped"]["a panorama"] == 1


def test_positions_headings_and_labels(tmp_path):
    raw_msls.write(tmp_path / "raw", "cph")
    database = build(tmp_path, "val_database")
    kept = [one for one in DATABASE if not one.pano]
    assert keys(database) == [one.key for one in kept]
    for record, one in zip(database, kept, strict=True):
        np.testing.assert_allclose(record["position"], place("cph", one), atol=0.01)
        turn = np.degrees(record["heading"]) - one.ca
        assert abs((turn + 180) % 360 - 180) < 0.1
        assert record["label"].decode() == f"cph/{one.sequence}"
    assert [record["timestamp"] for record in database] == list(range(len(kept)))
    assert metadata(tmp_path, builder="places_csv")["crs"] == "EPSG:32633"


def test_cities_of_several_zones_stand_side_by_side(tmp_path):
    raw_msls.write(tmp_path / "raw", "cph", "sf", "goa", "nairobi")
    val = build(tmp_path, "val_database")
    kept = [one for one in DATABASE if not one.pano]
    expected = [
        (x + 1e6 * (CITIES[city][2] % 100), y)
        for city in ("cph", "sf")
        for x, y in (place(city, one) for one in kept)
    ]
    np.testing.assert_allclose([record["position"] for record in val], expected, atol=0.01)
    folder = tmp_path / "out/places_csv/mine/1.0.0"
    train = records(folder, "train_query")
    assert keys(train) == 2 * [
        one.key for one in QUERY if not one.pano
    ]  # whoever has no answer too
    x, y = place("nairobi", QUERY[0])
    np.testing.assert_allclose(train[len(train) // 2]["position"], (x + 37e6, y - 1e7), atol=0.01)
    told = metadata(tmp_path, builder="places_csv")
    assert "crs" not in told and told["cities"]["nairobi"] == "EPSG:32737"
    assert "zone's number" in told["positions"]


def test_test_cities_have_no_positions(tmp_path):
    for side, images in (("database", DATABASE), ("query", QUERY)):
        raw_msls.write_side(tmp_path / "raw/test/sf" / side, "sf", images, secret=True)
    query = build(tmp_path, "test_query")
    assert keys(query) == [one.key for one in QUERY]  # nobody knows the panoramas
    assert np.isnan([record["position"] for record in query]).all()


def test_a_protocol_must_be_named(tmp_path, capsys):
    raw_msls.write(tmp_path / "raw", "cph")
    assert command("validate", "places_csv", tmp_path / "raw", tmp_path / "out", option("")) == 2
    said = capsys.readouterr().err
    assert "config key 'protocol' is missing" in said
    assert "'msls_25m' (a database image of the city within 25 m, whatever" in said
    assert "'msls_10m'" in said
    assert command("validate", "places_csv", tmp_path / "raw", tmp_path / "out", option("x")) == 2
    assert "config key 'protocol' is 'x'; the layout of Mapillary" in capsys.readouterr().err


def validated(tmp_path, capsys, status=0) -> str:
    raw, out = tmp_path / "raw", tmp_path / "out"
    assert command("validate", "places_csv", raw, out, option()) == status
    told = capsys.readouterr()
    assert status or "protocol msls_25m: a database image" in told.out
    return told.err


def rewrite(path, change) -> None:
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], *(change(line.split(",")) for line in lines[1:])]) + "\n")


def test_a_row_in_the_next_zone_is_projected_into_the_city_s(tmp_path, capsys):
    """A city on a border: the tables then hold eastings of both zones."""
    raw = tmp_path / "raw"
    there = [*DATABASE, raw_msls.Image("east", 40_000.0, 0.0)]
    CITIES["edge"] = (51.5, -0.3, 32630)
    try:
        raw_msls.write_side(raw / "train_val/edge/database", "edge", there)
        raw_msls.write_side(raw / "train_val/edge/query", "edge", QUERY)
        lon, lat = raw_msls.degrees("edge", there[-1])
        true = place("edge", there[-1])
        onto = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:32631", always_xy=True)
        x, y = onto.transform(lon, lat)
    finally:
        del CITIES["edge"]
    assert lon > 0 and abs(x - true[0]) > 100_000

    def other_zone(fields):
        return ",".join(
            [*fields[:2], repr(x), repr(y), *fields[4:]] if fields[1] == "east" else fields
        )

    rewrite(raw / "train_val/edge/database/postprocessed.csv", other_zone)
    found = build(tmp_path, "train_database")
    np.testing.assert_allclose(found[-1]["position"], true, atol=0.01)
    said = capsys.readouterr().err
    assert "edge database: 1 of 7 images are given in UTM zone 31 north; they are projected" in said


def test_wrong_tables_are_told(tmp_path, capsys):
    raw_msls.write(tmp_path / "raw", "sf")
    table = tmp_path / "raw/train_val/sf/query/raw.csv"
    right_table = table.read_text()
    rewrite(table, lambda f: ",".join([*f[:2], f[3], f[2], *f[4:]]))
    assert "are lat and lon in each other's column?" in validated(tmp_path, capsys, 2)
    table.write_text(right_table)
    rewrite(table, lambda f: ",".join([*f[:3], repr(float(f[3]) + 0.01), *f[4:]]))
    said = validated(tmp_path, capsys)
    assert "sf query: easting and northing of 8 of 8 images lie up to 1,1" in said
    table.write_text(right_table.replace("False", "no"))
    assert "pano is 'no'; the dataset's has True or False" in validated(tmp_path, capsys, 2)
    table.write_text(right_table)
    (tmp_path / "raw/train_val/sf/query/images/near.jpg").unlink()
    assert "/images lacks 1 of 8 images of the tables: near.jpg" in validated(tmp_path, capsys, 2)


def test_the_sequence_column_of_the_dataset_s_page_is_read_too(tmp_path):
    raw_msls.write(tmp_path / "raw", "goa")
    for side in ("query", "database"):
        table = tmp_path / "raw/train_val/goa" / side / "seq_info.csv"
        table.write_text(table.read_text().replace("sequence_key", "sequence_id"))
    assert build(tmp_path, "train_query")[0]["label"] == b"goa/q1"
