"""Drives as their owners bring them: odd but valid files, read right or refused in one sentence."""

import json

import numpy as np
import pyproj
import pytest

from tests.helpers import raw_drives, raw_gsv_cities, raw_kitti, raw_models, raw_trajectories
from tests.helpers.raw_places import built, command, records
from tests.unit.tfds_builders import (
    test_dbstruct_sets,
    test_mapillary,
    test_nordland,
    test_st_lucia,
)
from tests.unit.tfds_builders.test_layouts import write, write_dbstruct
from tfds_builders import tracks
from tfds_builders.errors import RawDataError
from tfds_builders.frame import Frame
from tfds_builders.frames import Frames
from tfds_builders.poses import models

NANOS = 1_305_031_098_665_900_000
HEAD = '<gpx version="1.1" creator="a" xmlns="http://www.topografix.com/GPX/1/1">'


def dense(count=40):
    made = raw_drives.drive(count=count, first=NANOS)
    return made, made.nanos[1:-1:2] + 37_123_000


def told(tmp_path, layout, capsys, **config) -> str:
    """What `validate` says of a tree that it refuses."""
    assert raw_drives.build(tmp_path, layout, verb="validate", **config) == 2
    return capsys.readouterr().err


def bag_of(tmp_path, made, taken, **more):
    raw_bags = pytest.importorskip("tests.helpers.raw_bags", exc_type=ImportError)
    bag = raw_bags.Bag(2)
    bag.pictures(taken, **more)
    return raw_bags, bag


def test_tum_numbers_with_exponents(tmp_path):
    made, taken = dense()
    raw_trajectories.tum(tmp_path / "raw/room", made, taken)
    path = tmp_path / "raw/room/groundtruth.txt"
    rows = [line.split() for line in path.read_text().splitlines()[1:]]
    lines = [
        " ".join([f"{t[:1]}.{t[1:].replace('.', '')}e+09", *(f"{float(v):.18e}" for v in rest)])
        for t, *rest in rows
    ]
    path.write_text("\n".join(lines))
    assert raw_drives.build(tmp_path, "tum") == 0
    found = records(built(tmp_path, builder="places_csv"), "room")
    raw_drives.check(found, raw_drives.between(made, taken))


def test_tum_lists_of_another_machine(tmp_path, capsys):
    made, taken = dense()
    raw_trajectories.tum(tmp_path / "raw/room", made, taken)
    path = tmp_path / "raw/room/rgb.txt"
    path.write_text(path.read_text().replace(" rgb/", " /home/her/drive/rgb/"))
    said = told(tmp_path, "tum", capsys)
    assert "rgb.txt:4: /home/her/drive/rgb/1305031098.803023.png is not below " in said
    assert "as 19 of 19 paths; write them from " in said


def test_euroc_with_the_line_ends_of_windows(tmp_path):
    made, taken = dense()
    raw_trajectories.euroc(tmp_path / "raw/flight", made, taken)
    for name in ("state_groundtruth_estimate0/data.csv", "cam0/sensor.yaml"):
        path = tmp_path / "raw/flight/mav0" / name
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n") + b"\r\n")
    assert raw_drives.build(tmp_path, "euroc") == 0
    found = records(built(tmp_path, builder="places_csv"), "flight")
    raw_drives.check(found, raw_drives.between(made, taken))


def test_colmap_with_comments_blanks_in_names_and_images_without_points(tmp_path):
    made = raw_drives.drive(count=6)
    names = [f"my photos/img {i}, front.jpg" for i in range(6)]
    raw_models.colmap(tmp_path / "raw", made, raw_drives.NORTHWARD.T, names)
    path = tmp_path / "raw/sparse/0/images.txt"
    head, *pairs = path.read_text().split("\n1 ", 1)
    lines = ("1 " + pairs[0]).rstrip("\n").split("\n")
    lines[1::2] = [""] * len(lines[1::2])
    lines.insert(4, "#   IMAGE_ID, QW, QX, QY, QZ, TX, TY, TZ, CAMERA_ID, NAME")
    path.write_bytes("\r\n".join([head, *lines, "", ""]).encode())
    found, poses = models.read_images_txt(path)
    assert found == names
    np.testing.assert_allclose(poses.places, made.places @ raw_drives.NORTHWARD, atol=1e-6)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("columns", "00.txt:3: 11 fields where the format has 12"),
        ("epoch", "s after the start; give seconds from the first image on, not since 1970"),
    ],
)
def test_kitti_odometry_of_ones_own(tmp_path, capsys, damage, said):
    raw_kitti.odometry(tmp_path / "raw", raw_drives.drive(count=12))
    path = tmp_path / "raw" / ("poses/00.txt" if damage == "columns" else "sequences/00/times.txt")
    lines = path.read_text().splitlines()
    if damage == "columns":
        lines[2] = lines[2].rpartition(" ")[0]
    else:
        lines = [repr(1.7e9 + float(line)) for line in lines]
    path.write_text("\n".join(lines))
    assert said in told(tmp_path, "kitti_odometry", capsys)


def gpx(tmp_path, *segments):
    """A GPX file of segments of (second, longitude)."""
    pytest.importorskip("gpxpy")
    rows = "".join(
        "<trkseg>"
        + "".join(
            f'<trkpt lat="-17.5" lon="{lon}"><time>2024-02-29T11:00:{s:02d}Z</time></trkpt>'
            for s, lon in points
        )
        + "</trkseg>"
        for points in segments
    )
    path = tmp_path / "ride.gpx"
    path.write_text(f"<?xml version='1.0'?>{HEAD}<trk>{rows}</trk></gpx>")
    return path


def test_a_track_of_segments_over_the_date_line(tmp_path):
    """The second segment begins with the point that ends the first, as after a pause."""
    first = [(0, 179.999), (10, 180.0)]
    track = tracks.read_track(gpx(tmp_path, [(10, -180.0), (20, -179.998)], first), warnings := [])
    assert "1 images in UTM zone 60 south" in "".join(warnings) and track.crs == "EPSG:32701"
    onto = pyproj.Transformer.from_crs("EPSG:4326", track.crs, always_xy=True)
    for second, longitude in ((5, 179.9995), (15, -179.999)):
        x, y, *_ = track.at(track.times[0] + second)
        np.testing.assert_allclose([x, y], onto.transform(longitude, -17.5), atol=0.01)


def test_tracks_of_two_receivers_are_never_mixed(tmp_path):
    path = gpx(tmp_path, [(0, 5.0), (10, 5.001)], [(9, 6.0), (20, 6.001)])
    with pytest.raises(RawDataError, match="segments 1 and 2 both run at 2024-02-29T11:00:09Z"):
        tracks.read_track(path, [])


@pytest.mark.parametrize(("factor", "unit"), [(10**3, "milliseconds"), (10**9, "nanoseconds")])
def test_a_track_in_another_unit_of_time(tmp_path, factor, unit):
    """Without --start a video would lie at the first point from end to end."""
    path = tmp_path / "ride.csv"
    rows = [f"{(1_709_204_400 + i) * factor},{i},{i}" for i in range(3)]
    path.write_text("\n".join(["time,x,y", *rows]))
    with pytest.raises(RawDataError, match=rf"ride.csv:2: time is \d+; it looks like {unit}"):
        tracks.read_track(path, [])


def test_a_frame_with_two_parents(tmp_path, capsys):
    """Two localisers that both place the body would be read as one zigzag."""
    made, taken = dense()
    raw_bags, bag = bag_of(tmp_path, made, taken)
    bag.mount(NANOS)
    for moment, place, turn in zip(made.nanos, *raw_bags.body(made), strict=True):
        bag.transform(moment, "odom", "base_link", place, turn)
        bag.transform(moment + 50_000_000, "map", "base_link", place + 100, turn)
    bag.write(tmp_path / "raw", "monday")
    said = told(tmp_path, "rosbag", capsys)
    assert "monday: tf places base_link in odom and in map, and a position would jump" in said


def test_a_driver_whose_clock_stands_still(tmp_path, capsys):
    made, taken = dense()
    taken[5:9] = taken[5]
    _, bag = bag_of(tmp_path, made, taken)
    bag.odometry(made)
    bag.mount(NANOS)
    bag.write(tmp_path / "raw", "monday")
    assert raw_drives.build(tmp_path, "rosbag", verb="validate") == 0
    said = capsys.readouterr().err
    assert "monday: 3 of 19 pictures of /camera/image_raw have the header stamp of another" in said


def test_two_cameras_of_one_bag_are_two_splits(tmp_path):
    made, taken = dense()
    raw_bags, bag = bag_of(tmp_path, made, taken)
    bag.pictures(taken + 20_000_000, topic="/right/image_raw", encoding="jpeg", frame="right_link")
    bag.odometry(made)
    bag.mount(NANOS)
    ahead = np.array(
        [[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]]
    )  # a link that looks along x, to the right
    bag.transform(NANOS, "base_link", "right_link", (0.5, -0.9, 1.2), ahead.T, "/tf_static")
    bag.write(tmp_path / "raw", "monday")
    splits = {"left": "monday/camera/image_raw", "right": "monday/right/image_raw"}
    assert raw_drives.build(tmp_path, "rosbag", splits=splits) == 0
    folder = built(tmp_path, builder="places_csv")
    left = raw_drives.between(made, taken)
    raw_drives.check(records(folder, "left"), raw_bags.camera(left))
    right = raw_drives.between(made, taken + 20_000_000)
    places, turns = raw_bags.body(right)
    found = records(folder, "right")
    expected = places + turns @ (0.5, -0.9, 1.2)
    np.testing.assert_allclose([r["position"] for r in found], expected[:, :2], atol=0.01)
    axis = (turns @ ahead.T)[:, :, 0]
    turn = np.array([r["heading"] for r in found]) - np.arctan2(axis[:, 0], axis[:, 1])
    assert np.degrees(np.abs(np.angle(np.exp(1j * turn)))).max() < 0.1


def test_a_blank_line_in_fgps_would_shift_all_later_frames(tmp_path, capsys):
    test_st_lucia.write_recording(tmp_path / "raw", "190809_0845")
    path = tmp_path / "raw/190809_0845/fGPS.txt"
    lines = path.read_text().splitlines()
    path.write_text("\r\n".join([*lines, "", ""]))
    assert command("validate", "places_csv", tmp_path / "raw", tmp_path, test_st_lucia.OPTION) == 0
    path.write_text("\n".join([*lines[:3], "", *lines[3:]]))
    assert "fGPS.txt:4: '' is no latitude,longitude" in told(tmp_path, "st_lucia", capsys)


def test_lists_that_an_editor_saved_with_a_mark_of_utf_8(tmp_path):
    raw = tmp_path / "raw"
    test_nordland.write_seasons(raw)
    path = raw / "cleanImageNames.txt"
    mark = b"\xef\xbb\xbf"
    plain = raw_drives.build(tmp_path, "nordland", protocol="nordland_10_frames")
    count = len(records(built(tmp_path, builder="places_csv"), "database"))
    path.write_bytes(mark + path.read_bytes())
    option = raw_drives.option("nordland", protocol="nordland_10_frames", name="marked")
    assert plain == command("build", "places_csv", raw, tmp_path / "out", option) == 0
    assert len(records(built(tmp_path, "marked", builder="places_csv"), "database")) == count
    other = tmp_path / "rides"
    test_mapillary.write_raw(other)
    table = other / "mapillary_image_description.json"
    table.write_bytes(mark + json.dumps(json.loads(table.read_text())).encode())
    assert command("validate", "places_csv", other, tmp_path, test_mapillary.OPTION) == 0


def test_hidden_files_of_a_mac_are_no_tables(tmp_path, capsys):
    """An archive made there holds a `._x` beside each file."""
    raw_gsv_cities.write(tmp_path / "raw", {"London": raw_gsv_cities.LONDON})
    (tmp_path / "raw/Dataframes/._London.csv").write_bytes(b"\0\1")
    assert raw_drives.build(tmp_path, "gsv_cities", verb="validate") == 0
    tokyo = tmp_path / "tokyo"
    test_dbstruct_sets.write_tokyo(tokyo / "raw")
    for path in (tokyo / "raw/247query_subset_v2").glob("*.jpg"):
        path.rename(path.with_suffix(".JPG"))
        path.with_name(f"._{path.name}").write_bytes(b"\0\1")
    assert raw_drives.build(tokyo, "tokyo247", verb="validate", protocol="tokyo247_315") == 0
    assert "247query_subset_v2: 3 queries" in capsys.readouterr().err


def test_a_season_kept_as_jpeg(tmp_path):
    raw = tmp_path / "raw"
    test_nordland.write_seasons(raw)
    for path in (raw / "winter").glob("*.png"):
        path.rename(path.with_suffix(".jpg"))
    assert raw_drives.build(tmp_path, "nordland", protocol="nordland_10_frames") == 0
    found = records(built(tmp_path, builder="places_csv"), "queries")
    assert [r["image_id"].decode() for r in found] == [
        f"winter/images-{n:05d}.jpg" for n in test_nordland.KEPT
    ]


def test_a_season_kept_under_two_suffixes(tmp_path, capsys):
    """The list names the PNG images, so JPEG copies beside them are left out; alone they would do."""
    raw = tmp_path / "raw"
    test_nordland.write_seasons(raw)
    for path in sorted((raw / "winter").glob("*.png")):
        path.with_suffix(".jpg").write_bytes(path.read_bytes())
    assert raw_drives.build(tmp_path, "nordland", protocol="nordland_10_frames") == 0
    found = records(built(tmp_path, builder="places_csv"), "queries")
    assert [r["image_id"].decode() for r in found] == [
        f"winter/images-{n:05d}.png" for n in test_nordland.KEPT
    ]
    assert [r["position"][0] for r in found] == list(range(len(found)))
    for path in sorted((raw / "winter").glob("*.png")):
        path.rename(path.with_suffix(".jpeg"))
    said = told(tmp_path, "nordland", capsys, protocol="nordland_10_frames")
    assert f"holds {len(found)} frames of cleanImageNames.txt twice, under two suffixes" in said


def test_a_frame_number_beyond_64_bits(tmp_path, capsys):
    write(tmp_path / "raw", *(f"{split}/{n}.png" for split in "ab" for n in (1, 10**24)))
    assert "position (1e+24, 0.0) is not finite or beyond 1e+15" in told(
        tmp_path, "aligned", capsys
    )
    with pytest.raises(
        RawDataError, match="its time or number 9223372036854775808 is beyond 64 bits"
    ):
        Frames.of([Frame("a.png", (0.0, 0.0), timestamp=1 << 63, source="raw/a.png")])


def test_queries_without_positions_before_a_database_with_times(tmp_path, capsys):
    write(tmp_path / "raw", "q/1.png", "q/2.png", "d/1.png", "d/2.png")
    (tmp_path / "raw/places.csv").write_text(
        "sequence,image,x,y,heading,time\n"
        "test01,q/1.png,,,,1\ntest01,q/2.png,,,,2\nreference,d/1.png,0,0,,1\nreference,d/2.png,5,0,,2\n"
    )
    assert raw_drives.build(tmp_path, "csv", verb="validate") == 0, capsys.readouterr().err


def test_an_empty_list_of_frames(tmp_path, capsys):
    test_nordland.write_seasons(tmp_path / "raw")
    (tmp_path / "raw/cleanImageNames.txt").write_text("")
    said = told(tmp_path, "nordland", capsys, protocol="nordland_10_frames")
    assert "cleanImageNames.txt is empty; put the dataset's there, or remove it" in said


def test_a_mapillary_table_of_windows(tmp_path):
    raw = tmp_path / "raw"
    write(raw, *(f"ride/{n}.jpg" for n in range(3)))
    entries = [test_mapillary.entry(rf"C:\Users\ann\ride\{n}.jpg", n) for n in range(3)]
    (raw / "mapillary_image_description.json").write_text(json.dumps(entries))
    assert command("build", "places_csv", raw, tmp_path / "out", test_mapillary.OPTION) == 0
    found = records(built(tmp_path, builder="places_csv"), "ride")
    assert [r["image_id"] for r in found] == [b"ride/2.jpg", b"ride/1.jpg", b"ride/0.jpg"]


def test_pittsburghs_tables_in_a_folder_of_their_own(tmp_path, capsys):
    write(tmp_path / "raw", "000/a.jpg", "datasets/000/c.jpg")
    write_dbstruct(tmp_path / "raw/datasets/p.mat", ["000/a.jpg"], [[1, 2]], ["c.jpg"], [[5, 6]])
    write(tmp_path / "raw/__MACOSX", "a.jpg")
    (tmp_path / "raw/__MACOSX/._p.mat").write_bytes(b"\0\1")
    assert "with a dbStruct; move datasets/p.mat there" in told(tmp_path, "dbstruct", capsys)
