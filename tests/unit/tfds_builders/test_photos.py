"""Photos with EXIF GPS, and latitudes in places.csv, become frames in metres of one UTM zone."""

import json
import math
import re

import numpy as np
import pyproj
import pytest
from PIL.ExifTags import GPS
from PIL.TiffImagePlugin import IFDRational

from tests.helpers.raw_photos import angle, place, taken, write_photo
from tests.helpers.raw_places import command, decoded, image, metadata, records, write_raw
from tests.unit.tfds_builders.test_layouts import build, built
from tfds_builders.__main__ import main
from tfds_builders.errors import RawDataError
from tfds_builders.places_csv import exif
from tfds_builders.places_csv.layouts import photos
from tfds_builders.places_csv.layouts.variant import Told

BORDER = 6.0  # degrees east, between zones 31 and 32
# Beside the border of two zones: the first four are in zone 31, the fifth is in zone 32.
NEAR = {f"{i}.jpg": (50.0 + 0.001 * i, BORDER - 0.0035 + 0.001 * i) for i in range(5)}


def project(latitude, longitude, epsg) -> tuple[float, float]:
    return pyproj.Transformer.from_crs("EPSG:4326", epsg).transform(latitude, longitude)


def read(folder):
    told = Told()
    return photos.read_photos(folder, told), told


def twelve(folder):
    """Twelve photos around the border, of which five have a place."""
    for name, where in NEAR.items():
        write_photo(folder / name, place(*where), turn=6 if name == "1.jpg" else 1)
    here = place(50, 5.999)
    write_photo(folder / "no_gps.jpg")
    write_photo(folder / "zero.jpg", here | {GPS.GPSLatitude: (*angle(50)[:2], IFDRational(0, 0))})
    write_photo(folder / "no_fix.jpg", place(0, 0))
    write_photo(folder / "half.jpg", {tag: here[tag] for tag in (1, 2)})
    write_photo(folder / "side.jpg", {tag: here[tag] for tag in (1, 2, 4)})
    write_photo(folder / "polar.jpg", place(-89.5, 5.999))
    write_photo(folder / "plain.png")
    return folder


def test_twelve_photos(tmp_path, capsys):
    twelve(tmp_path / "raw")
    config = {"name": "mine", "layout": "photos", "height": 16, "width": 12}
    option = f"--config={json.dumps(config)}"
    assert command("build", "places_csv", tmp_path / "raw", tmp_path / "out", option) == 0
    found = {r["image_id"].decode(): r for r in built(tmp_path, "images")}
    assert sorted(found) == sorted(NEAR)
    for name, where in NEAR.items():
        apart = np.hypot(*(found[name]["position"] - project(*where, 32631)))
        assert apart < 0.01, (name, "in the zone of the others, whichever its own is")
    upright = np.rot90(image(sum(map(ord, "1.jpg"))), -1)
    assert np.abs(decoded(found["1.jpg"]) - upright.astype(float)).mean() < 12, (
        "EXIF turns the pixels"
    )
    saved = metadata(tmp_path, builder="places_csv")
    assert saved["crs"] == "EPSG:32631"
    counts = saved["counts"]["images"]
    assert (counts["found"], counts["kept"], sum(counts["dropped"].values())) == (12, 5, 7)
    warned = "\n".join(saved["warnings"])
    for told in (
        "3 of 12 photos are left out, with no GPS position: half.jpg, no_gps.jpg, plain.png\n",
        "1 of 12 photos are left out, with a GPS position that holds no number or a denominator of 0: zero",
        "with the GPS position 0, 0 of a receiver without a fix: no_fix.jpg",
        "with a GPS position that does not tell its hemisphere: side.jpg",
        "with a GPS position beyond 84 degrees of latitude or 180 of longitude: polar.jpg",
        "positions of 1 images in UTM zone 32 north are projected into zone 31 north",
        "images: images are in the order of their file names, not of time",
    ):
        assert told in warned
    capsys.readouterr()
    option = ["--config=mine", f"--data_dir={tmp_path / 'out'}", f"--out={tmp_path}"]
    assert main(["show", "places_csv", *option]) == 0
    shown = capsys.readouterr().out
    assert 'crs: "EPSG:32631"' in shown
    assert "dropped from images: 3 of 12: no GPS position" in shown


@pytest.mark.parametrize(
    ("where", "epsg"),
    [
        ((51.7521, -1.2578), 32630),
        ((-33.8568, 151.2153), 32756),
        ((-22.9519, -43.2105), 32723),
        ((35.6586, 139.7454), 32654),
        ((-16.7, 180.0), 32701),
        ((-16.7, 179.9999), 32760),
        ((60.39, 5.32), 32632),  # Bergen
        ((78.22, 15.65), 32633),  # Svalbard
        ((0.0, 6.6), 32632),
    ],
)
def test_positions_of_every_hemisphere_and_zone(tmp_path, where, epsg):
    write_photo(tmp_path / "a.jpg", place(*where))
    splits, told = read(tmp_path)
    assert told.crs == f"EPSG:{epsg}" and not told.left_out
    apart = np.subtract(splits["images"][0].position, project(*where, epsg))
    assert np.abs(apart).max() < 0.01


def test_a_walk_over_180_degrees_is_continuous(tmp_path):
    for i, longitude in enumerate((179.998, 179.999, 180.0, -179.999, -179.998, -179.997)):
        write_photo(tmp_path / f"{i}.jpg", place(-16.7, longitude))
    splits, told = read(tmp_path)
    steps = np.diff([frame.position for frame in splits["images"]], axis=0)
    assert told.crs == "EPSG:32701"
    np.testing.assert_allclose(np.hypot(*steps.T), 106.64, rtol=0.002)


def test_photos_of_two_continents_are_refused(tmp_path, capsys):
    for i in range(2):
        write_photo(tmp_path / f"raw/{i}.jpg", place(51.75, -1.25))
    write_photo(tmp_path / "raw/holiday.jpg", place(-33.86, 151.2))
    assert build(tmp_path, "photos") == 2
    told = capsys.readouterr().err
    assert "UTM zone 56 south lie too far from zone 30 north" in told
    assert "(1 images there, e.g. holiday.jpg); build a dataset per zone" in told
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("ref", "degrees", "radians"),
    [("T", 90.0, 0.5), ("M", 270.0, -0.5), ("T", 0.0, 0.0), ("T", 180.0, 1.0)],
)
def test_headings_are_clockwise_from_north(tmp_path, ref, degrees, radians):
    tags = {GPS.GPSImgDirectionRef: ref, GPS.GPSImgDirection: IFDRational(int(degrees * 10), 10)}
    write_photo(tmp_path / "a.jpg", place(50, 5) | tags)
    write_photo(tmp_path / "b.jpg", place(50, 5) | {GPS.GPSImgDirection: IFDRational(1, 0)})
    splits, told = read(tmp_path)
    first, second = splits["images"]
    assert first.heading == pytest.approx(radians * math.pi) and math.isnan(second.heading)
    magnetic = "headings of 1 of 2 photos are from magnetic north"
    assert [text.startswith(magnetic) for text in told.warnings] == [True] * (ref == "M")


def test_altitudes_above_and_below_the_sea(tmp_path):
    height = {GPS.GPSAltitude: IFDRational(125, 10)}
    write_photo(tmp_path / "a.jpg", place(50, 5) | height | {GPS.GPSAltitudeRef: b"\0"})
    write_photo(tmp_path / "b.jpg", place(50, 5) | height | {GPS.GPSAltitudeRef: b"\1"})
    write_photo(tmp_path / "c.jpg", place(50, 5) | {GPS.GPSAltitude: IFDRational(1, 0)})
    write_photo(tmp_path / "d.jpg", place(50, 5) | height | {GPS.GPSAltitudeRef: b"\3"})
    write_photo(tmp_path / "e.jpg", place(50, 5) | height | {GPS.GPSAltitudeRef: b"\2"})
    own = {"a.jpg": 12.5, "b.jpg": -12.5, "d.jpg": -12.5, "e.jpg": 12.5}
    assert read(tmp_path)[1].altitudes == own


NOON = "2024:02:29 12:00:00"
UTC_NOON = 1_709_208_000_000_000
SATELLITES = {
    GPS.GPSDateStamp: "2024:02:29",
    GPS.GPSTimeStamp: (IFDRational(11, 1), IFDRational(59, 1), IFDRational(119, 2)),
}


@pytest.mark.parametrize(
    ("own", "time"),
    [
        (taken(NOON, "25", "+09:00"), UTC_NOON - 9 * 3600 * 10**6 + 250_000),
        (taken(NOON, "", "-03:30"), UTC_NOON + 12_600 * 10**6),
        (taken(NOON, "1234567"), UTC_NOON + 123_456),
        (taken(NOON, "7 ", "   :  "), UTC_NOON + 700_000),
        (taken("    :  :     :  :  "), UTC_NOON - 500_000),
        (taken("0000:00:00 00:00:00"), UTC_NOON - 500_000),
        (taken("2024:02:30 12:00:00"), UTC_NOON - 500_000),
        ({}, UTC_NOON - 500_000),
    ],
)
def test_times(tmp_path, own, time):
    write_photo(tmp_path / "a.jpg", place(50, 5) | SATELLITES, own)
    splits, told = read(tmp_path)
    assert splits["images"][0].timestamp == time
    local = "do not tell their clock's offset from UTC, so times are local ones"
    assert bool(re.search(local, "".join(told.warnings))) == (UTC_NOON <= time < UTC_NOON + 10**6)


@pytest.mark.parametrize("clock", [(24, 0, 0), (11, 60, 0), (-1, 0, 0), (11, 59)])
def test_what_is_no_time_of_day(clock):
    odd = {GPS.GPSTimeStamp: tuple(IFDRational(value, 1) for value in clock)}
    assert exif._satellite_time({GPS.GPSDateStamp: "2024:02:29"} | odd) is None


def test_one_clock_orders_a_split(tmp_path):
    """With an offset and without: the camera's clock counts for both. Without any: names."""
    here = place(50, 5)
    write_photo(tmp_path / "a/1.jpg", here, taken("2024:01:01 12:00:02", "", "+09:00"))
    write_photo(tmp_path / "a/2.jpg", here, taken("2024:01:01 12:00:01"))
    write_photo(tmp_path / "b/1.jpg", here, taken("2024:01:01 12:00:02"))
    write_photo(tmp_path / "b/2.jpg", here)
    splits, told = read(tmp_path)
    assert [frame.image_id for frame in splits["a"]] == ["a/2.jpg", "a/1.jpg"]
    assert [(frame.image_id, frame.timestamp) for frame in splits["b"]] == [
        ("b/1.jpg", 0),
        ("b/2.jpg", 1),
    ]
    assert [text.partition(":")[0] for text in told.warnings] == ["a"]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.jpg", b"text", "a.jpg: it cannot be opened (no image); replace the file or leave it out"),
        ("a.jpg", b"", "a.jpg: it cannot be opened (no image)"),
        ("a.heic", b"", "holds 1 photos; HEIC is not read; export them as JPEG with their location"),
        ("a.txt", b"", "holds no images (.jpg, "),
    ],
)  # fmt: skip
def test_what_is_no_photo(tmp_path, name, content, told):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RawDataError, match=re.escape(told)):
        read(tmp_path)


def test_heic_beside_others_is_counted(tmp_path):
    write_photo(tmp_path / "a.jpg", place(50, 5))
    (tmp_path / "b.HEIC").touch()
    _, told = read(tmp_path)
    assert told.warnings[0].startswith("1 photos are left out: b.HEIC: HEIC is not read")
    assert [(left.split, left.image) for left in told.left_out] == [("images", "b.HEIC")]


def test_other_formats_that_are_not_read_are_counted_once(tmp_path):
    write_photo(tmp_path / "a.tif", place(50, 5))
    for name in ("b.HEIC", "b.dng", "@eaDir/b.heic"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    splits, told = read(tmp_path)
    assert [frame.image_id for frame in splits["images"]] == ["a.tif"]
    (warning,) = told.warnings
    assert warning.startswith(
        "2 photos are left out: b.HEIC, b.dng: DNG, HEIC are not read; export"
    )
    assert [left.reason for left in told.left_out] == [
        "HEIC, which is not read",
        "DNG, which is not read",
    ]


def test_photos_at_one_spot_are_in_no_degrees(tmp_path):
    for name in "ab":
        write_photo(tmp_path / f"raw/{name}.jpg", place(50, 5))
    assert build(tmp_path, "photos") == 0
    doubts = [
        text for text in metadata(tmp_path, builder="places_csv")["warnings"] if "span" in text
    ]
    assert doubts == ["positions span only 0 m: rounded?"]


def test_a_folder_without_any_gps_is_refused(tmp_path, capsys):
    for i in range(7):
        write_photo(tmp_path / f"raw/{i}.jpg")
    assert build(tmp_path, "photos") == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.endswith(
        "none of 7 photos has a GPS position in its EXIF data (7 with no GPS position); write a places.csv "
        "beside them, or choose another layout"
    )


def test_cut_exif_data_leave_one_photo_out(tmp_path):
    for name in "ab":
        write_photo(tmp_path / f"{name}.jpg", place(50, 5))
    raw = bytearray((tmp_path / "a.jpg").read_bytes())

    start = raw.index(b"Exif\0\0") + 6
    raw[start + 4 : start + 8] = b"\xff\xff\xff\x7f"  # where the first directory lies
    (tmp_path / "a.jpg").write_bytes(raw)
    splits, told = read(tmp_path)
    assert [frame.image_id for frame in splits["images"]] == ["b.jpg"]
    assert [left.image for left in told.left_out] == ["a.jpg"]


@pytest.mark.parametrize("names", ["lat,lon", "latitude,longitude", "latitude,lng"])
def test_latitudes_in_places_csv(tmp_path, names):
    raw = write_raw(tmp_path / "raw", ["train", "test01"], count=3)
    rows = [f"sequence,image,{names}"]
    rows += [
        f"train,train/00{i}.png,{lat:.9f},{lon:.9f}"
        for i, (lat, lon) in enumerate([*NEAR.values()][:3])
    ]
    rows += ["test01,test01/000.png,,nan", f"test01,test01/001.png,50,{BORDER + 0.001}"]
    (raw / "places.csv").write_text("\n".join(rows))
    option = '--config={"name": "mine"}'
    assert command("build", "places_csv", raw, tmp_path / "out", option) == 0
    folder = tmp_path / "out/places_csv/mine/1.0.0"
    for record, where in zip(records(folder, "train"), NEAR.values(), strict=False):
        assert np.hypot(*(record["position"] - project(*where, 32631))) < 0.01
    query, other = records(folder, "test01")
    assert np.isnan(query["position"]).all()
    assert np.hypot(*(other["position"] - project(50, BORDER + 0.001, 32631))) < 0.01
    saved = metadata(tmp_path, builder="places_csv")
    assert saved["crs"] == "EPSG:32631"
    assert any("UTM zone 32 north are projected into zone 31" in text for text in saved["warnings"])


def test_latitudes_of_two_continents_name_the_table(tmp_path, capsys):
    raw = write_raw(tmp_path / "raw", ["train"])
    rows = ["sequence,image,lat,lon", "train,train/000.png,51,0.5", "train,train/001.png,-33,151"]
    (raw / "places.csv").write_text("\n".join(rows))
    assert command("validate", "places_csv", raw, tmp_path / "out") == 2
    told = capsys.readouterr().err
    assert f"error: {raw}/places.csv: positions of UTM zone 56 south lie too far" in told
    assert "e.g. train/001.png" in told


@pytest.mark.parametrize(
    ("names", "crs"),
    [
        (["@620021@5735011@30@U@.jpg"], "EPSG:32630"),
        (["@620021@5735011@56@H@.jpg"], "EPSG:32756"),
        (["@620021@5735011@.jpg"], None),
    ],
)
def test_the_zone_of_utm_names_is_kept(tmp_path, names, crs):
    for name in names:
        write_photo(tmp_path / "raw" / name)
    assert build(tmp_path, "utm") == 0
    assert metadata(tmp_path, builder="places_csv").get("crs") == crs
