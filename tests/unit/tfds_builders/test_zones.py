"""`utm` names of several UTM zones end in one map."""

import numpy as np
import pytest

from tests.unit.tfds_builders.test_layouts import build, built, metadata, write
from tfds_builders.errors import RawDataError
from tfds_builders.places_csv import zones
from tfds_builders.places_csv.layouts import utm
from tfds_builders.places_csv.layouts.variant import Told

# One kilometre from west to east over the border of zones 30 and 31, at 0 E 51.5 N, every 100 m. PROJ gives
# the coordinates: 0.00144 degrees a step.
STEP = 0.0014405


def project(longitude: float, latitude: float, epsg: int) -> tuple[float, float]:
    pyproj = pytest.importorskip("pyproj")
    to = pyproj.Transformer.from_crs(4326, epsg, always_xy=True)
    return to.transform(longitude, latitude)


def drive(latitude=51.5, border=0.0, west=30, letter="U"):
    """Names of a drive over a zone border, each in its own zone, and their longitudes."""
    names, longitudes = [], border + STEP * (np.arange(-5, 5) + 0.5)
    for i, longitude in enumerate(longitudes):
        zone = west if longitude < border else west % 60 + 1
        side = 32600 if letter >= "N" else 32700
        east, north = project((longitude + 180) % 360 - 180, latitude, side + zone)
        time = f"20190110_1146{i:02d}"
        names.append(f"@{east:.3f}@{north:.3f}@{zone}@{letter}@@@@@90@@@@{time}@@.png")
    return names


def read(root, **folders):
    for split, names in folders.items():
        for name in names:
            (root / split).mkdir(parents=True, exist_ok=True)
            (root / split / name).touch()
    told = Told()
    return utm.read_utm(root, told), told.warnings


@pytest.mark.parametrize(
    "case",
    [
        {},
        {"latitude": -33.0, "border": 18.0, "west": 33, "letter": "H"},
        {"latitude": -16.5, "border": 180.0, "west": 60, "letter": "K"},
    ],
)
def test_a_drive_over_a_border_is_continuous(tmp_path, case):
    splits, warnings = read(tmp_path, train=drive(**case))
    positions = np.array([frame.position for frame in splits["train"]])
    steps = np.linalg.norm(np.diff(positions, axis=0), axis=1)
    length = STEP * 111_320 * np.cos(np.radians(case.get("latitude", 51.5)))
    np.testing.assert_allclose(steps, length, rtol=0.004)
    assert np.ptp(steps) < 0.01
    (warning,) = warnings
    assert (
        "positions of 5 images in UTM zone" in warning
        and "changes distances there by up" in warning
    )


def test_the_zone_of_most_images_keeps_its_digits(tmp_path):
    names = drive()
    splits, warnings = read(tmp_path, map=names[:5], queries=names[4:5] + names[5:7])
    for name, frame in zip(names[:5], splits["map"], strict=True):
        assert frame.position == tuple(map(float, name.split("@")[1:3]))
    first, *others = splits["queries"]
    assert first.position == splits["map"][4].position
    for name, frame, n in zip(names[5:7], others, (0.5, 1.5), strict=True):
        assert name.split("@")[3] == "31"
        np.testing.assert_allclose(frame.position, project(n * STEP, 51.5, 32630), atol=0.002)
    assert (
        "positions of 2 images in UTM zone 31 north are projected into zone 30 north" in warnings[0]
    )


def test_two_towns_never_share_places(tmp_path):
    """Equal numbers in two zones are 420 km apart."""
    write(tmp_path / "raw/map", *(f"@620000@573501{i}@30@U@.png" for i in range(3)))
    write(tmp_path / "raw/queries", *(f"@620000@573501{i}@31@U@.png" for i in range(2)))
    assert build(tmp_path, "utm") == 0
    apart = built(tmp_path, "queries")[0]["position"] - built(tmp_path, "map")[0]["position"]
    assert 410_000 < np.linalg.norm(apart) < 430_000
    assert any("projected into zone 30 north" in line for line in metadata(tmp_path)["warnings"])


def test_the_equator_is_no_border(tmp_path):
    north, south = project(9.0, 0.0005, 32632), project(9.0, -0.0005, 32732)
    names = [f"@{x:.3f}@{y:.3f}@32@{z}@.png" for (x, y), z in ((north, "N"), (south, "M"))]
    splits, _ = read(tmp_path, a=names)
    (x1, y1), (x2, y2) = (frame.position for frame in splits["a"])
    assert abs(x1 - x2) < 0.01 and abs(y1 - y2) == pytest.approx(110.5, abs=0.3)


@pytest.mark.parametrize("letters", ["UU", "TU", ("", "")])
def test_one_zone_stays_as_it_is(tmp_path, letters):
    zone = "30" if letters[0] else ""
    names = [f"@62002{i}.33@5735011.9@{zone}@{letter}@.png" for i, letter in enumerate(letters)]
    splits, warnings = read(tmp_path, a=names)
    assert [frame.position for frame in splits["a"]] == [
        (620020.33, 5735011.9),
        (620021.33, 5735011.9),
    ]
    assert not warnings


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["@1@2@61@U@.png"], "zone '61' and letter 'U' are no UTM zone; write a zone of 1 to 60"),
        (["@1@2@x@@.png"], "zone 'x' and letter '' are no UTM zone"),
        (["@1@2@30@I@.png"], "zone '30' and letter 'I' are no UTM zone"),
        (["@1@2@30@@.png"], "zone '30' has no letter"),
        (["@5e5@5e6@30@U@.png", "@5e5@5e6@31@U@.png", "@1@2@.png"], "@1@2@.png: the name has no UTM zone"),
        (["@5e5@5e6@30@U@.png", "@5e5@5e6@54@U@.png"], "zone 54 north lie too far from zone 30 north"),
    ],
)  # fmt: skip
def test_what_no_map_can_hold_is_refused(tmp_path, names, told):
    with pytest.raises(RawDataError) as caught:
        read(tmp_path, a=names)
    assert told in str(caught.value)


def test_names_without_a_zone_beside_one_zone(tmp_path):
    splits, (warning,) = read(tmp_path, a=["@5e5@5e6@30@U@.png", "@5e5@5e6@.png"])
    assert len(splits["a"]) == 2
    assert (
        "1 images, e.g. @5e5@5e6@.png, name no UTM zone; they are taken to be in zone 30" in warning
    )


@pytest.mark.parametrize(
    ("fields", "zone"),
    [
        (("30", "U", ""), (30, True)),
        (("30U", "", ""), (30, True)),
        (("04", "m", ""), (4, False)),
        (("56", "S", "-33.9"), (56, False)),
        (("30", "", "51.5"), (30, True)),
        (("", "", "51.5"), None),
    ],
)
def test_zones_in_names(fields, zone):
    assert zones.parse(*fields, 0.0) == zone


@pytest.mark.parametrize(
    ("latitude", "border", "west", "side"),
    [(-33.9, 18.0, 33, "south"), (37.7, -120.0, 10, "north")],
)
def test_an_s_is_the_south_or_a_band_by_the_northing(tmp_path, latitude, border, west, side):
    letter = "H" if latitude < 0 else "S"
    names = [name.replace(f"@{letter}@", "@S@") for name in drive(latitude, border, west, letter)]
    splits, (warning,) = read(tmp_path, train=names)
    positions = np.array([frame.position for frame in splits["train"]])
    assert np.ptp(np.linalg.norm(np.diff(positions, axis=0), axis=1)) < 0.01
    assert f"zone {west} {side}" in warning


def test_radians_in_the_field_of_degrees_are_told(tmp_path):
    def names(headings):
        return [f"@{i}@5@32@U@@@@@{h}@@@@20190110_11460{i}@.png" for i, h in enumerate(headings)]

    _, (warning,) = read(tmp_path / "a", train=names([-3.1, 0.5, 3.0]))
    assert "between -3.1 and 3: if these are radians, write degrees" in warning
    _, none = read(tmp_path / "b", train=names([-90, 0.5, 3.0]))
    assert not none
    _, none = read(tmp_path / "c", train=names([0, 0, 0]))
    assert not none


def test_queries_without_a_position_are_read(tmp_path):
    unknown = ["@@@@@@@7@@@@@@@@.png", "@@@30@U@@@@@90@@@@20190110_114700@@.png"]
    splits, warnings = read(tmp_path, train=drive(), queries=unknown)
    assert [frame.located for frame in splits["queries"]] == [False, False]
    assert all(frame.located for frame in splits["train"])
    assert len(warnings) == 1 and "projected into zone" in warnings[0], "no word on a missing zone"


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        (1000, "queries: latitudes and longitudes are rounded to 0.001 degrees, 1.1e+02 m of"),
        (3600, "queries: latitudes and longitudes are rounded to whole seconds, 31 m of"),
        (10_000, "queries: latitudes and longitudes are rounded to 0.0001 degrees, 11 m of"),
        (100_000, None),
    ],
)
def test_degrees_with_few_digits_are_told(parts, said):
    degrees = np.array([51.7, -1.25]) + np.random.default_rng(0).normal(0, 0.02, (20, 2))
    told = [*zones.coarse(np.round(degrees * parts) / parts, "queries")]
    assert [sentence.startswith(said) for sentence in told] == [True] * (said is not None)
    assert not [*zones.coarse(np.round(degrees[:9] * parts) / parts, "queries")]


def test_rounded_degrees_of_a_table_and_of_photos_are_told(tmp_path):
    from tests.helpers.raw_places import write_raw
    from tfds_builders.places_csv.layouts import photos, table

    raw, told = write_raw(tmp_path / "raw", ["train", "test01"], count=12), Told()
    lines = [f"{s},{s}/{i:03d}.png" for s in ("train", "test01") for i in range(12)]
    digits = {"train": 7, "test01": 3}
    rows = [
        f"{line},{51.7 + 1.234e-4 * i:.{digits[line.split(',')[0]]}f},-1.25"
        for i, line in enumerate(lines)
    ]
    (raw / "places.csv").write_text("\n".join(["sequence,image,lat,lon", *rows]))
    table.read_table(raw / "places.csv", told)
    assert [w for w in told.warnings if "rounded" in w and w.startswith("test01: ")]
    assert not [w for w in told.warnings if w.startswith("train: ")]
    taken = [_photo(i) for i in range(12)]
    told = Told()
    photos.located(taken, told)
    assert [
        w for w in told.warnings if w.startswith("monday: latitudes and longitudes are rounded to")
    ]


def _photo(number):
    from tfds_builders.places_csv import exif

    empty = dict.fromkeys(exif.Photo._fields)
    return exif.Photo(
        **empty
        | dict(
            image=f"monday/{number}.jpg",
            split="monday",
            degrees=(51.7 + 0.001 * number, -1.25),
            altitude=float("nan"),
            heading=float("nan"),
            magnetic=False,
            fault="",
        )
    )


def test_an_easting_in_the_place_of_the_northing_is_told(tmp_path):
    told = Told()
    for folder, name in (
        ("database", "@620000.5@5735011.2@30@U@.jpg"),
        ("queries", "@5735011.2@620000.5@30@U@.jpg"),
    ):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).touch()
    utm.read_utm(tmp_path, told)
    (said,) = [w for w in told.warnings if "each other's place" in w]
    assert said.startswith(
        "field 1 of 1 of 2 names is beyond 1,000,000 m, where eastings end, e.g. @5735011.2@"
    )
